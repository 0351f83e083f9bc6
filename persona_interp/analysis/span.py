"""Is the shift of a finetune made of known directions?"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.analysis.lengths import squared_length
from persona_interp.analysis.nulls import chance_range
from persona_interp.analysis.stats import Interval, jackknife
from persona_interp.errors import SchemaError, unknown

Array = npt.NDArray[np.float64]


def span_share(
    acts: xr.Dataset,
    directions: xr.DataArray,
    random: xr.DataArray,
    *,
    base: str,
    n_spans: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of the residuals' mean shift that directions span, beside that of random ones.

    ``|P s|^2 / |s|^2`` with s the mean over prompts of after minus before and P the projection onto
    the span of the directions, both without what noise adds (``lengths.squared_length``: prompts
    are independent). 1 = wholly made of them; the rest is new to them. Random spans have the same
    dimension.

    Args:
        acts: Dataset of ``record.activations``.
        directions: Of ``record``, with the hook of the activations.
        random: Of ``record.random_directions`` at the same hook, at least as many.
        base: Label of the checkpoint before.
        n_spans: Random spans; each is of some of the random directions.
        seed: Of their choice.

    Returns:
        A novelty_share table, one row a later checkpoint; one that moved no farther than noise has
        no share (NaN). A noisy share may lie beyond 0 or 1.

    Raises:
        SchemaError: An unknown checkpoint or hook, or fewer random directions than directions.

    >>> act = np.array([[[0.0, 0, 5]] * 2, [[3, 4, 5]] * 2])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
    >>> data = data.assign_coords(checkpoint=["base", "tuned"], prompt=["a", "b"])
    >>> axes = xr.DataArray(np.eye(3)[:, None], dims=("name", "hook", "d_model"))
    >>> axes = axes.assign_coords(hook=["h"], name=[*"xyz"])
    >>> span_share(data, axes.sel(name=["x"]), axes, base="base")["share"].round(2).tolist()
    [0.36]
    """
    hook = str(schema.check(acts, "activations").attrs.get("hook", ""))
    labels = [str(c) for c in acts["checkpoint"].to_numpy()]
    if base not in labels:
        raise SchemaError(unknown("checkpoint", base, labels))
    vectors = []
    for data in (directions, random):
        if hook not in schema.check(data, "directions")["hook"]:
            raise SchemaError(unknown("hook of the directions", hook, data["hook"].to_numpy()))
        vectors.append(data.sel(hook=hook).to_numpy().astype(np.float64))
    v, others = vectors
    if len(others) < len(v):
        raise SchemaError(
            f"{len(v)} directions need as many random ones to be compared with; got {len(others)}."
        )
    basis = _basis(v)
    # Any k directions span a share of any shift, about k / d_model of it: the null is spans of as
    # many random directions.
    rng = np.random.default_rng(seed)
    random_bases = []
    for _ in range(n_spans):
        random_bases.append(_basis(others[rng.choice(len(others), len(v), replace=False)]))
    start = acts["act"].sel(checkpoint=base).to_numpy().astype(np.float64)
    rows = []
    for label in labels:
        if label == base:
            continue
        shifts = acts["act"].sel(checkpoint=label).to_numpy().astype(np.float64) - start
        # Of the mean shift, not the mean of shares: a prompt's own shift is mostly noise, and noise
        # is new to every span.
        share, lo, hi, _ = _share(shifts, basis)
        null = [_share(shifts, random_basis).estimate for random_basis in random_bases]
        null_lo, null_hi = chance_range(null)
        norm = np.linalg.norm(shifts.mean(0)) / np.linalg.norm(start, axis=1).mean()
        row = {"checkpoint": label, "hook": hook, "share": float(share)}
        row |= {"lo": float(lo), "hi": float(hi), "null_lo": null_lo, "null_hi": null_hi}
        row |= {"n_vectors": basis.shape[1], "n": len(shifts), "relative_norm": float(norm)}
        rows.append(row)
    return schema.check(pd.DataFrame(rows), "novelty_share")


def _basis(vectors: Array) -> Array:
    """Orthonormal, dims (d_model, direction); vectors that depend on others add nothing."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(unit.T, full_matrices=False)
    return u[:, s > 1e-8 * s[0]]


def _share(shifts: Array, basis: Array) -> Interval:
    """Share of the mean shift's squared length within the basis; NaN without a shift."""
    prompts = np.arange(len(shifts))
    inside, whole = squared_length(shifts @ basis, prompts), squared_length(shifts, prompts)
    if whole.whole <= 0:
        return jackknife(np.nan, [])
    with np.errstate(invalid="ignore", divide="ignore"):
        return jackknife(inside.whole / whole.whole, inside.left_out / whole.left_out)
