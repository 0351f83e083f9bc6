"""Sums of latent scaling over checkpoints whose features are known; documents vary in strength."""

import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]
PARTS, N_CHECKPOINTS, WIDTH, N_FEATURES = 20, 4, 20, 16
N_DOCUMENTS, PER_DOCUMENT = 200, 10
RATE, TAIL = 0.2, 0.4
"""Share of the tokens on which a feature fires, and the spread of the log of its activation."""


def directions(rng: np.random.Generator) -> Array:
    """Decoders without any change, dims (checkpoint, feature, d_model): random unit directions."""
    unit = rng.standard_normal((N_FEATURES, WIDTH))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return np.repeat(unit[None], N_CHECKPOINTS, axis=0)


def sums(
    rng: np.random.Generator, decoder: Array, truth: Array, *, spread: float, noise: float
) -> xr.Dataset:
    """A ``scaling`` dataset of residuals that ``truth`` makes and ``decoder`` rebuilds.

    Each document has each feature at each checkpoint with a strength of its own: 1 on average, with
    this spread.
    """
    n = N_DOCUMENTS * PER_DOCUMENT
    document = np.arange(n) // PER_DOCUMENT
    acts = (rng.random((n, N_FEATURES)) < RATE) * rng.lognormal(0, TAIL, (n, N_FEATURES))
    strength = 1 + spread * rng.standard_normal((N_DOCUMENTS, N_CHECKPOINTS, N_FEATURES))
    firing = acts[:, None] * strength[document]
    residuals = np.einsum("nkj,kjd->nkd", firing, truth)
    residuals += noise * rng.standard_normal(residuals.shape)
    rebuilt = np.einsum("nj,kjd->nkd", acts, decoder)
    error = residuals - rebuilt
    one = np.eye(PARTS)[document % PARTS]
    is_on = (acts > 0).astype(float)
    squares = one.T @ acts**2
    # one part at a time: a product over all of token, feature and width is large
    left, again = np.zeros((2, PARTS, N_CHECKPOINTS, N_FEATURES, WIDTH))
    for part in range(PARTS):
        rows = document % PARTS == part
        left[part] = np.einsum("nj,nkd->kjd", acts[rows], error[rows], optimize=True)
        again[part] = np.einsum("nj,nkd->kjd", acts[rows], rebuilt[rows], optimize=True)
    left += squares[:, None, :, None] * decoder
    by_checkpoint = (error**2).sum(axis=2)
    squared = by_checkpoint.sum(axis=1)
    total = ((residuals - residuals.mean(axis=0)) ** 2).sum(axis=2)
    by_part = ("part", "checkpoint", "feature", "d_model")
    return xr.Dataset(
        {
            "decoder": (by_part[1:], decoder),
            "tokens": (("part",), one.sum(axis=0)),
            "error": (("part", "checkpoint"), one.T @ by_checkpoint),
            "total": (("part", "checkpoint"), one.T @ total),
            "fires": (("part", "feature"), one.T @ is_on),
            "squares": (("part", "feature"), squares),
            "acts": (("part", "feature"), one.T @ acts),
            "gaps": (("part", "checkpoint", "d_model"), np.einsum("np,nkd->pkd", one, error)),
            "left": (by_part, left),
            "rebuilt": (by_part, again),
            "unexplained": (("part", "feature"), one.T @ (is_on * squared[:, None])),
            "together": (("feature", "other"), is_on.T @ is_on),
            "products": (("feature", "other"), acts.T @ acts),
        },
        coords={
            "checkpoint": [f"step{k}" for k in range(N_CHECKPOINTS)],
            "feature": np.arange(N_FEATURES),
        },
    )


def unexplained(*, spread: float, noise: float) -> float:
    """Fraction of variance that the true decoders leave unexplained in ``sums``, in expectation."""
    mean, square = RATE * np.exp(TAIL**2 / 2), RATE * np.exp(2 * TAIL**2)
    error = N_FEATURES * square * spread**2 + WIDTH * noise**2
    total = N_FEATURES * (square * (1 + spread**2) - mean**2) + WIDTH * noise**2
    return float(error / total)
