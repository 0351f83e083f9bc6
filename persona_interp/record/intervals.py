"""How sure is a mean over independent values? Student's t."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Interval(NamedTuple):
    """Mean, and the ends of its 95 % interval."""

    mean: float
    lo: float
    hi: float


def t_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Mean and 95 % t interval of values that are independent.

    Args:
        values: At least one.

    Returns:
        The interval; of one value its ends are NaN.

    >>> t_interval(np.array([1.0, 2.0, 3.0])).hi.__round__(3)
    4.484
    """
    from scipy import stats  # takes half as long to import as torch

    n, mean = len(values), float(values.mean())
    if n < 2:
        return Interval(mean, np.nan, np.nan)
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)
