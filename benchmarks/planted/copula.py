"""Planted checkpoints by a second generator, which shares no line with ``dictionaries.planted``.

Firing is a Gaussian behind a threshold, one factor a block of eight features, magnitudes have an
exponential tail, documents have unequal lengths, turns and sizes of changes vary by feature, and
decoupled features stand at the base as the sum of three others. Results on it were never used to
choose anything in the package.
"""

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm

from persona_interp.dictionaries.planted import Planted
from persona_interp.schema.words import Status

KINDS = {
    "same": (0.5, Status.SHARED, ""),
    "turned": (0.1, Status.ROTATED, ""),
    "less": (0.1, Status.SHRUNK, ""),
    "new": (0.08, Status.BORN, ""),
    "gone": (0.08, Status.DIED, ""),
    "more": (0.06, Status.AMPLIFIED, ""),
    "weak": (0.04, Status.AMPLIFIED, "shrinkage"),
    "composed": (0.04, Status.ROTATED, "decoupling"),
}
"""Share, status and artifact of every kind of feature."""
BLOCK, CHUNK, ACTIVE = 8, 5_000, 5.0


def copula(
    seed: int, *, checkpoints: int, width: int, features: int, tokens: int, correlation: float
) -> Planted:
    """Residuals of checkpoints; ``correlation`` is that of the Gaussian behind the firing."""
    rng = np.random.default_rng(seed)
    shares = [share for share, *_ in KINDS.values()]
    kind = rng.choice(list(KINDS), features, p=shares)
    at = rng.integers(1, checkpoints, features)
    decoders = _decoders(rng, kind, at, checkpoints=checkpoints, width=width)
    scales = rng.uniform(0.7, 4, checkpoints)
    decoders *= scales[:, None, None]
    mean = 4 * rng.standard_normal(width)
    offsets = mean * scales[:, None] + 0.3 * rng.standard_normal((checkpoints, width))
    rates = rng.uniform(0.4, 1.6, features)
    threshold = norm.isf(rates * ACTIVE / rates.sum())
    residuals = np.empty((checkpoints, tokens, width), dtype=np.float32)
    parts = []
    for start in range(0, tokens, CHUNK):
        n = min(CHUNK, tokens - start)
        common = np.repeat(rng.standard_normal((n, -(-features // BLOCK))), BLOCK, axis=1)
        own = rng.standard_normal((n, features))
        gauss = np.sqrt(correlation) * common[:, :features] + np.sqrt(1 - correlation) * own
        acts = (gauss > threshold) * (0.5 + rng.exponential(0.7, (n, features)))
        parts.append(sparse.csr_array(acts))
        for k in range(checkpoints):
            noise = 0.02 * scales[k] * rng.standard_normal((n, width))
            residuals[k, start : start + n] = acts @ decoders[k] + offsets[k] + noise
    lengths = rng.integers(5, 80, tokens)
    documents = np.repeat(np.arange(tokens), lengths)[:tokens]
    truth = pd.DataFrame(
        {
            "feature": range(features),
            "status": [str(KINDS[one][1]) for one in kind],
            "at": np.where(kind == "same", -1, at),
            "artifact": [KINDS[one][2] for one in kind],
            "group": np.arange(features) // BLOCK,
            "rate": rates * ACTIVE / rates.sum(),
        }
    )
    return Planted(residuals, documents, decoders, truth, sparse.csr_array(sparse.vstack(parts)))


def _units(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """Random directions."""
    rows = rng.standard_normal((n, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _decoders(
    rng: np.random.Generator, kind: np.ndarray, at: np.ndarray, *, checkpoints: int, width: int
) -> np.ndarray:
    """Decoders, dims (checkpoint, feature, width)."""
    unit = _units(rng, len(kind), width)
    decoders = np.repeat(unit[None], checkpoints, axis=0)
    decoders *= rng.uniform(0.8, 1.3, len(kind))[None, :, None]
    same = np.flatnonzero(kind == "same")
    for j, what in enumerate(kind):
        before, after = slice(0, at[j]), slice(at[j], None)
        if what == "turned":
            other = _units(rng, 1, width)[0]
            other -= other @ unit[j] * unit[j]
            angle = np.deg2rad(rng.uniform(40, 80))
            turned = np.cos(angle) * unit[j] + np.sin(angle) * other / np.linalg.norm(other)
            decoders[after, j] = np.linalg.norm(decoders[0, j]) * turned
        elif what == "less":
            decoders[after, j] *= rng.choice([0.1, 0.2, 0.3, 0.5])
        elif what == "more":
            decoders[before, j] /= rng.uniform(1.8, 4)
        elif what == "weak":
            decoders[before, j] *= rng.choice([0.1, 0.2])
        elif what == "new":
            decoders[before, j] = 0
        elif what == "gone":
            decoders[after, j] = 0
        elif what == "composed":
            decoders[before, j] = unit[rng.choice(same, 3, replace=False)].sum(axis=0) / 1.7
    return decoders
