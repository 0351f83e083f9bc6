"""What is a row of the calibration, and what does its share of simulations say?

A row is one estimator on one kind of data. Its function draws a data set with a known truth, or
several at once where the estimator takes many runs in one table, asks the estimator, and says for
each quantity whether it came out (1 or 0; a share where many claims are made of one data set; NaN
where the estimator gave no answer). The verdict is decided by the 99 % interval of
the share over all simulations, never by the share itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from persona_interp.schema.words import Calibration

CONFIDENCE = 0.99
"""Of the interval of a share: with a hundred rows a 95 % interval would be wrong in five."""


class Quantity(StrEnum):
    """What is counted over simulated data sets."""

    COVERAGE = "coverage"
    LEVEL = "level"
    FALSE = "false discoveries"
    POWER = "power"


class Bounds(NamedTuple):
    """Where a share has to lie; NaN = no bound on this side."""

    least: float
    most: float


FREE = Bounds(np.nan, np.nan)
"""No bound: a number to be read, not judged."""

BOUNDS = {
    Quantity.COVERAGE: Bounds(0.92, 0.98),
    Quantity.LEVEL: Bounds(np.nan, 0.08),
    Quantity.FALSE: Bounds(np.nan, 0.08),
    Quantity.POWER: FREE,
}
"""Three points from what is promised; no power is right or wrong unless a row states it."""

BELOW = {Quantity.COVERAGE: Calibration.NARROW, Quantity.POWER: Calibration.WEAK}
ABOVE = {
    Quantity.COVERAGE: Calibration.WIDE,
    Quantity.LEVEL: Calibration.LIBERAL,
    Quantity.FALSE: Calibration.LIBERAL,
}

Outcome = Mapping[Quantity, float | np.ndarray]
"""By quantity, one number for each data set that was drawn."""


@dataclass(frozen=True)
class Row:
    """One estimator on one kind of data: its name is ``module.function`` of the package.

    ``simulations`` is the most that are drawn; a row that is decided before gets fewer.
    """

    estimator: str
    setting: str
    draw: Callable[[np.random.Generator], Outcome]
    simulations: int = 2_000
    at_once: int = 1
    bounds: Mapping[Quantity, Bounds] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Estimator and setting."""
        return f"{self.estimator}: {self.setting}"

    def bound(self, quantity: Quantity) -> Bounds:
        """Where the share of this quantity has to lie."""
        return self.bounds.get(quantity, BOUNDS[quantity])


def share_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of outcomes from 0 to 1, and its 99 % interval (Clopper and Pearson 1934).

    Outcomes that are shares themselves count as the number of hits that would vary as much
    (Korn and Graubard 1998).
    """
    n, share = float(len(values)), float(values.mean())
    if len(values) > 1 and 0 < share < 1 and not np.isin(values, (0, 1)).all():
        n *= share * (1 - share) / values.var(ddof=1)
    hits = n * share
    tail = (1 - CONFIDENCE) / 2
    lo = stats.beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    hi = stats.beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return share, float(lo), float(hi)


def judge(quantity: Quantity, lo: float, hi: float, bounds: Bounds) -> Calibration:
    """What the interval of a share says, beside its bounds."""
    least, most = bounds
    if np.isnan(least) and np.isnan(most):
        return Calibration.FREE
    if hi < least:
        return BELOW[quantity]
    if lo > most:
        return ABOVE[quantity]
    above_least = np.isnan(least) or lo >= least
    below_most = np.isnan(most) or hi <= most
    if above_least and below_most:
        return Calibration.CALIBRATED
    return Calibration.UNDECIDED


def coverage(lo: npt.ArrayLike, hi: npt.ArrayLike, truth: float) -> Outcome:
    """1 where an interval holds the truth, 0 where not, NaN where there is no interval."""
    low, high = np.asarray(lo, dtype=float), np.asarray(hi, dtype=float)
    holds = (low <= truth) & (truth <= high)
    return {Quantity.COVERAGE: np.where(np.isnan(low) | np.isnan(high), np.nan, holds)}


def rejects(p: npt.ArrayLike, *, quantity: Quantity = Quantity.LEVEL) -> Outcome:
    """1 where p is at most 5 %, 0 where not, NaN where there is no p."""
    values = np.asarray(p, dtype=float)
    return {quantity: np.where(np.isnan(values), np.nan, values <= 0.05)}


def false_share(found: np.ndarray, planted: np.ndarray) -> Outcome:
    """Of the discoveries the share that is false, and of the planted effects the share found."""
    outcome = {Quantity.FALSE: float((found & ~planted).sum() / max(found.sum(), 1))}
    if planted.any():
        outcome[Quantity.POWER] = float(found[planted].mean())
    return outcome
