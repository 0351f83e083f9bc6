"""What does one checkpoint do at the units where the base was measured, and beside its controls?

Arrays have one entry a quantity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp.analysis.controls import (
    distances,
    largest_distances,
    p_of,
    prediction_error,
    spread_constant,
)
from persona_interp.analysis.flips import sign_flip
from persona_interp.analysis.stats import Interval, cluster_interval

CONTROL_COLUMNS = (
    *("controls", "range_lo", "range_hi", "excess", "excess_lo", "excess_hi"),
    *("p_specific", "outside", "outside_as_far"),
)
"""Columns that need two other finetunes or more."""
ENOUGH_TO_MAXIMIZE = 3
"""Controls from which on the largest of all changes can be judged: each by two others or more."""
PROPORTIONAL = 1.25
"""Times farther than its controls up to which a finetune's features are judged: beyond, a threshold
makes activations grow faster than the offset does, and no feature is told from mere distance."""

Array = npt.NDArray[np.float64]


class Far(NamedTuple):
    """How far a checkpoint and its controls are from the base (bits a token); NaN = nobody said."""

    distance: float = np.nan
    distance_controls: float = np.nan
    ratio: float = np.nan


class Comparison(NamedTuple):
    """What is found about one checkpoint at the quantities of one block.

    Attributes:
        table: One row a quantity: columns of an effects table, and ``p_units`` (of the tests over
            units alone), ``outside``, ``outside_as_far`` (``controls.distances``).
        largest: ``controls.largest_distances`` of its controls, of features; else empty.
    """

    table: pd.DataFrame
    largest: Array


def compare(
    base: pd.DataFrame,
    checkpoint: pd.DataFrame,
    others: list[pd.DataFrame],
    *,
    by_controls: bool,
    clusters: Sequence[str],
    is_feature: bool,
    far: Far,
    n_flips: int,
    seed: int,
) -> Comparison:
    """Change of one checkpoint from the base, its nulls, and its place among its controls.

    Args:
        base: Values, dims (unit, quantity).
        checkpoint: The same of the checkpoint.
        others: The same of its controls.
        by_controls: Whether they are enough to judge.
        clusters: Of each unit; units of one cluster move together.
        is_feature: Whether the quantities are features, most of which hardly ever fire.
        far: How far all of them went.
        n_flips: Random sign flips.
        seed: Of the flips.

    Returns:
        The comparison.
    """
    groups, before = np.asarray(clusters), base.to_numpy()
    change = checkpoint.to_numpy() - before
    shift = cluster_interval(change, groups)
    flips = sign_flip(change, groups, n_flips=n_flips, seed=seed)
    # The t test leans on normal means, the flips on symmetric differences: a claim must survive
    # both.
    p_units = np.maximum(p_interval(shift), flips.p)
    table = pd.DataFrame(
        {
            "quantity": list(base.columns),
            "before": base.mean().to_numpy(),
            "after": checkpoint.mean().to_numpy(),
            "estimate": shift.estimate,
            "lo": shift.lo,
            "hi": shift.hi,
            "n": shift.n,
            "null_lo": flips.null_lo,
            "null_hi": flips.null_hi,
            "n_controls": len(others),
            **far._asdict(),
            **dict.fromkeys(CONTROL_COLUMNS, np.nan),
            "p": p_units,
            "p_units": p_units,
            "p_min": flips.p_min,
        }
    )
    if len(others) < 2:
        return Comparison(table, np.array([]))
    changes = np.stack([other.to_numpy() - before for other in others])
    excess = cluster_interval(change - changes.mean(axis=0), groups)
    means = changes.mean(axis=1)
    constant = spread_constant(means) if is_feature else 0.0
    mean, error = means.mean(axis=0), prediction_error(means, constant=constant)
    outside = distances(shift.estimate, means, constant=constant)
    # 95 % prediction interval: where one more control would be.
    half = stats.t.ppf(0.975, len(others) - 1) * np.nan_to_num(error)
    table = table.assign(controls=mean, range_lo=mean - half, range_hi=mean + half)
    table = table.assign(excess=excess.estimate, excess_lo=excess.lo, excess_hi=excess.hi)
    if not by_controls:
        return Comparison(table, np.array([]))
    as_far = _as_far(shift.estimate, means, ratio=far.ratio, is_feature=is_feature)
    # Intersection-union test (Berger 1982): beyond the controls, and beyond chance over units both
    # from the controls and from the base, on the same side. Each test alone may be at alpha, so the
    # largest p is that of all three.
    p_units = np.maximum(p_interval(excess), p_interval(shift))
    p_units = np.where(shift.estimate * excess.estimate > 0, p_units, 1.0)
    n = len(others)
    table = table.assign(
        outside=outside,
        outside_as_far=as_far,
        p=np.maximum(p_of(outside, n=n), p_units),
        p_units=p_units,
        p_specific=np.where(np.isnan(as_far), np.nan, np.maximum(p_of(as_far, n=n), p_units)),
        p_min=np.where(np.isnan(outside), 1.0, 0.0),
    )
    if not is_feature or n < ENOUGH_TO_MAXIMIZE:
        return Comparison(table, np.array([]))
    return Comparison(table, largest_distances(means))


def p_interval(interval: Interval) -> Array:
    """Two-sided p of a t interval; 1 without any difference, or without an interval."""
    half = (interval.hi - interval.lo) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(interval.estimate) / (half / stats.t.ppf(0.975, interval.n - 1))
    p = np.nan_to_num(2 * stats.t.sf(t, interval.n - 1), nan=1.0)
    return np.where(interval.estimate == 0, 1.0, p)


def _as_far(change: Array, controls: Array, *, ratio: float, is_feature: bool) -> Array:
    """Distances if the controls had gone as far; NaN where that cannot be told."""
    if not np.isfinite(ratio) or (is_feature and ratio > PROPORTIONAL):
        return np.full(len(change), np.nan)
    # Controls that went farther than the finetune judge it as they are.
    constant = spread_constant(controls) if is_feature else 0.0
    return distances(change, controls, ratio=max(ratio, 1.0), constant=constant)
