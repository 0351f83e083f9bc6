"""Along which persona's direction did a finetune move, and is it that persona's afterwards?"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.features import prompt_clusters, select_checkpoint
from persona_interp.analysis.lengths import squared_length
from persona_interp.analysis.stats import Interval, cluster_interval, cluster_sums, jackknife
from persona_interp.errors import SchemaError, unknown

Array = npt.NDArray[np.float64]


def direction_shift(
    acts: xr.Dataset | Iterable[xr.Dataset],
    directions: xr.DataArray,
    *,
    before: str | None = None,
    after: str | None = None,
    cluster: str | tuple[str, ...] = ("topic", "template"),
) -> pd.DataFrame:
    """Cosine and projection of the mean shift of residuals on each direction, by rank.

    Args:
        acts: Dataset of ``record.activations``, or several at distinct hooks.
        directions: Of ``record``, dims (name, hook, d_model), with the hooks of the activations.
        before: Label of a checkpoint; the first by default.
        after: Label of a checkpoint; the last by default.
        cluster: Coordinate(s) along ``prompt`` whose prompts move together.

    Returns:
        A direction_shift table, one row a hook and name, by rank. ``cosine`` of the mean
        shift s (after minus before, over prompts) with the vector v, with ``lo``, ``hi``
        (95 %, jackknife over clusters). What noise adds to the length of s is taken off
        (``lengths.squared_length``), so that a noisy cosine is not biased to 0 and may lie
        beyond 1; it is NaN where no more than noise is left. ``projection`` = <s, v> / <v, v>:
        0 = stayed, 1 = moved as far as v is long; ``projection_lo``, ``projection_hi`` (95 %,
        clustered). ``rank`` by cosine among the names (1 = largest), ``best_other`` the
        largest cosine of another name, ``n`` prompts, ``n_clusters``.

    Raises:
        SchemaError: No activations or directions, an unknown checkpoint, hook or
            coordinate, or widths that differ.

    >>> act = np.array([[[0.0, 0], [1, 1]], [[3, 0], [4, 1]]])
    >>> data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
    >>> data = data.assign_coords(checkpoint=["base@0", "lesson@8"], prompt=list("ab"))
    >>> v = xr.DataArray(np.eye(2)[:, None] * 2, dims=("name", "hook", "d_model"))
    >>> v = v.assign_coords(name=["john", "sam"], hook=["h"])
    >>> table = direction_shift(data, v, cluster="prompt")
    >>> table[["name", "rank", "cosine", "projection", "best_other"]].values.tolist()
    [['john', 1, 1.0, 1.5, 0.0], ['sam', 2, 0.0, 0.0, 1.0]]
    """
    schema.check(directions, "directions")
    parts = schema.list_datasets(acts)
    tables = [
        _at_hook(part, directions, before=before, after=after, cluster=cluster) for part in parts
    ]
    if not tables:
        raise SchemaError("a shift needs activations; got none.")
    return schema.check(pd.concat(tables, ignore_index=True), "direction_shift")


def _at_hook(
    acts: xr.Dataset,
    directions: xr.DataArray,
    *,
    before: str | None,
    after: str | None,
    cluster: str | tuple[str, ...],
) -> pd.DataFrame:
    """A direction_shift table of one hook."""
    hook = str(schema.check(acts, "activations").attrs.get("hook", ""))
    if hook not in directions["hook"]:
        raise SchemaError(unknown("hook of the directions", hook, directions["hook"].to_numpy()))
    labels = [str(c) for c in acts["checkpoint"].to_numpy()]
    first, last = select_checkpoint(labels, before, 0), select_checkpoint(labels, after, -1)
    start = acts["act"].sel(checkpoint=first).to_numpy().astype(np.float64)
    end = acts["act"].sel(checkpoint=last).to_numpy().astype(np.float64)
    v = directions.sel(hook=hook).to_numpy().astype(np.float64)
    if v.shape[1] != start.shape[1]:
        raise SchemaError(
            f"the directions are {v.shape[1]} wide, the activations {start.shape[1]}; use one "
            "model."
        )
    shift, clusters = end - start, prompt_clusters(acts, cluster)
    cosines = _mean_cosine(shift, v, clusters)
    # The projection is a mean over prompts, so clusters give its interval straight away;
    # the cosine of a mean is none, and takes the jackknife.
    along = cluster_interval(shift @ v.T / (v**2).sum(1), clusters)
    rank = stats.rankdata(-cosines.estimate, method="min")
    rank = np.where(np.isnan(cosines.estimate), len(v), rank).astype(int)
    others = np.where(np.eye(len(v), dtype=bool), -np.inf, cosines.estimate)
    table = pd.DataFrame(
        {
            "hook": hook,
            "name": directions["name"].to_numpy(),
            "rank": rank,
            "cosine": cosines.estimate,
            "lo": cosines.lo,
            "hi": cosines.hi,
            "projection": along.estimate,
            "projection_lo": along.lo,
            "projection_hi": along.hi,
            "best_other": others.max(1) if len(v) > 1 else np.nan,
            "n": len(shift),
            "n_clusters": along.n,
        }
    )
    return table.sort_values("rank", kind="stable", ignore_index=True)


def _mean_cosine(shift: Array, v: Array, clusters: npt.NDArray[np.str_]) -> Interval:
    """Cosine of the mean row with each vector; the jackknife leaves out one cluster."""
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    sums, sizes = cluster_sums(shift @ unit.T, clusters)
    square = squared_length(shift, clusters)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = sums.sum(axis=0) / len(shift) / _length(square.whole)
        left_out = (sums.sum(axis=0) - sums) / (len(shift) - sizes)[:, None]
        left_out = left_out / _length(square.left_out)[:, None]
    return jackknife(whole, left_out if len(sizes) > 1 else [])


def _length(square: npt.ArrayLike) -> Array:
    """Root of a squared length; NaN where it is not positive."""
    values = np.asarray(square, dtype=np.float64)
    return np.sqrt(np.where(values > 0, values, np.nan))


def cosine(one: Array, other: Array) -> Array:
    """Cosine of every row with every other row.

    Args:
        one: Dims (row, d_model).
        other: Dims (other row, d_model).

    Returns:
        Dims (row, other row); NaN with a row of zeros.

    >>> cosine(np.array([[2.0, 0]]), np.array([[1.0, 0], [-3, 0]])).tolist()
    [[1.0, -1.0]]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
        return a @ b.T


def refit(base: xr.DataArray, tuned: xr.DataArray) -> pd.DataFrame:
    """Cosine of each direction with the same name's direction, fitted anew in the tuned model.

    Args:
        base: Directions of ``record`` from one checkpoint, dims (name, hook, d_model).
        tuned: The same names and hooks from another.

    Returns:
        One row a hook and name: ``hook``, ``name``, ``cosine`` between both,
        ``norm_ratio`` (tuned over base).

    Raises:
        SchemaError: No directions, or other names, hooks or widths.

    >>> two = xr.DataArray([[[1.0, 0]], [[1, 1]]], dims=("name", "hook", "d_model"))
    >>> two = two.assign_coords(name=["john", "sam"], hook=["h"])
    >>> refit(two, 2 * two)[["name", "cosine", "norm_ratio"]].round(3).values.tolist()
    [['john', 1.0, 2.0], ['sam', 1.0, 2.0]]
    """
    one, other = (schema.check(d, "directions") for d in (base, tuned))
    for dim in ("name", "hook"):
        if set(one[dim].values) != set(other[dim].values):
            raise SchemaError(
                "directions are compared name by name and hook by hook; these have different ones."
            )
    rows = []
    for hook in one["hook"].to_numpy():
        for name in one["name"].to_numpy():
            a, b = (d.sel(name=name, hook=hook).to_numpy().astype(np.float64) for d in (one, other))
            row = {"hook": hook, "name": name, "cosine": cosine(a[None], b[None]).item()}
            row["norm_ratio"] = float(np.linalg.norm(b) / np.linalg.norm(a))
            rows.append(row)
    return pd.DataFrame(rows)
