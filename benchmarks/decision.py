"""On which side of its threshold is a number, as far as its interval says?

And how many seeds would it take to say? Nothing here comes from the package that is checked, but
for the words.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from persona_interp.schema.words import Ruling

Interval = tuple[float, float]

LEVEL = 0.95
MOST = 10_000
"""Seeds beyond which nobody goes on counting."""


@dataclass(frozen=True)
class Region:
    """Where a number has to be: between two bounds, of which the lower one may be excluded."""

    lo: float = -math.inf
    hi: float = math.inf
    beyond: bool = False  # strictly above ``lo``

    def holds(self, value: float) -> bool:
        """Whether a number is in here; one that is missing is not."""
        above = value > self.lo if self.beyond else value >= self.lo
        return bool(above and value <= self.hi)

    def rule(self, interval: Interval) -> Ruling:
        """What an interval says: wholly in here, wholly on one wrong side, or neither.

        >>> region = Region(lo=1.0)
        >>> [str(region.rule(ends)) for ends in ((1.5, 2.0), (0.0, 0.5), (0.5, 1.5))]
        ['holds', 'fails', 'undecided']
        """
        lo, hi = interval
        if self.holds(lo) and self.holds(hi):
            return Ruling.HOLDS
        below = hi <= self.lo if self.beyond else hi < self.lo
        if below or lo > self.hi:
            return Ruling.FAILS
        return Ruling.UNDECIDED


def t_interval(values: np.ndarray) -> Interval:
    """95 % t interval of the mean; there is none of a single value (NaN)."""
    if len(values) == 1:
        return math.nan, math.nan
    return t_interval_at(values.mean(), values.std(ddof=1), len(values))


def t_interval_at(mean: float, sd: float, n: int) -> Interval:
    """95 % t interval of the mean of n values that have this mean and standard deviation."""
    half = stats.t.ppf(0.5 + LEVEL / 2, n - 1) * sd / math.sqrt(n)
    return float(mean - half), float(mean + half)


def wilson(share: float, n: int) -> Interval:
    """95 % interval of a share of n trials (Wilson 1927): none of width 0, none beyond 0 and 1.

    >>> tuple(round(end, 3) for end in wilson(0.0, 100))
    (0.0, 0.037)
    """
    z = stats.norm.ppf(0.5 + LEVEL / 2)
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and 1 an end is 0 or 1 exactly, which rounding would miss.
    return max(0.0, float(center - half)), min(1.0, float(center + half))


def needed(region: Region, interval_at: Callable[[int], Interval], *, start: int) -> int | None:
    """The smallest n at which an interval falls on one side of the threshold.

    Args:
        region: The threshold.
        interval_at: The interval at the present mean and spread, were there n values. It narrows
            with n.
        start: The smallest n that has an interval.

    Returns:
        n; None where not even ``MOST`` would do.

    >>> needed(Region(lo=0.0), lambda n: t_interval_at(1.0, 1.0, n), start=2)
    7
    """

    def decides(n: int) -> bool:
        return region.rule(interval_at(n)) != Ruling.UNDECIDED

    if not decides(MOST):
        return None
    low, high = start - 1, MOST  # low does not decide, high does
    while high - low > 1:
        middle = (low + high) // 2
        if decides(middle):
            high = middle
        else:
            low = middle
    return high


def pseudovalues(
    statistic: Callable[[Sequence[Any]], float], items: Sequence[Any]
) -> tuple[float, ...]:
    """What each item adds to a pooled number (Tukey 1958): n all - (n - 1) all but it.

    Their t interval is the jackknife's, so that a number which is no mean over seeds (a pooled
    slope, a rank correlation) is decided over seeds as well. Of a single item: the number.

    >>> pseudovalues(lambda values: sum(values) / len(values), [1.0, 2.0, 6.0])
    (1.0, 2.0, 6.0)
    """
    n = len(items)
    whole = statistic(items)
    if n == 1:
        return (float(whole),)
    rest = [statistic([*items[:i], *items[i + 1 :]]) for i in range(n)]
    return tuple(float(n * whole - (n - 1) * part) for part in rest)
