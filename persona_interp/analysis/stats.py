"""How sure is a number? Intervals, and the price of testing many things.

Three units of chance occur here and each has its own tool. *Prompts* of one model: paired
differences, clustered (``cluster_interval``) and tested by flipping signs (``flips.sign_flip``).
*Templates*, where the number is a nonlinear function of their mean: the jackknife. *Seeds*, of
which there are few: a t interval on seed means, because a percentile bootstrap over 3 seeds covers
75 % where 95 % is claimed.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.values import as_tuple

LEVEL = 0.95
# Two sums that differ by less than this, relatively, are the same sum in another order. Without it
# the observed statistic would lose against its own copy among the flips, on some CPUs.
TIE = 1e-9
CACHED = 1 << 18  # numbers gathered at once: ten times faster where they stay in the cache


class Interval(NamedTuple):
    """An estimate and its 95 % interval.

    Attributes:
        estimate: The number, or one number a column.
        lo: Lower end; NaN where the interval is undefined.
        hi: Upper end.
        n: Number of independent units behind it.
    """

    estimate: npt.NDArray[np.float64]
    lo: npt.NDArray[np.float64]
    hi: npt.NDArray[np.float64]
    n: int

    def row(self) -> dict[str, float]:
        """Columns ``estimate``, ``lo`` and ``hi`` of a single number."""
        return {"estimate": float(self.estimate), "lo": float(self.lo), "hi": float(self.hi)}


def _interval(estimate: npt.ArrayLike, se: npt.ArrayLike, *, n: int) -> Interval:
    """The t interval with n - 1 degrees of freedom; NaN ends for a single unit."""
    estimate, se = np.asarray(estimate), np.asarray(se)
    if n > 1:
        half = stats.t.ppf(0.5 + LEVEL / 2, n - 1) * se
    else:
        half = np.full_like(estimate, np.nan)
    with np.errstate(invalid="ignore"):  # an infinite estimate has no interval
        # [()] makes a number of a 0-d array.
        return Interval(estimate[()], estimate - half, estimate + half, n)


def t_interval(values: npt.ArrayLike) -> Interval:
    """Mean and t interval of independent values.

    Args:
        values: One value a unit (seed, topic), at least one.

    Returns:
        Mean and t interval with n - 1 degrees of freedom; one value gives NaN bounds. Measured
        coverage: .95 of normal and of heavy-tailed (t3) values, .87 to .90 of exponential ones (3,
        5, 10 values).

    Raises:
        SchemaError: There is no value.

    >>> mean, lo, hi, n = t_interval([1.0, 2.0, 3.0])
    >>> round(float(mean), 2), round(float(lo), 2), round(float(hi), 2), n
    (2.0, -0.48, 4.48, 3)
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if not x.size:
        raise SchemaError("an interval needs at least one value; got none.")
    with np.errstate(invalid="ignore"):
        se = x.std(ddof=1) / np.sqrt(x.size) if x.size > 1 else np.float64(np.nan)
        return _interval(x.mean(), se, n=x.size)


def cluster_interval(differences: npt.ArrayLike, clusters: npt.ArrayLike) -> Interval:
    """Mean difference and its interval, where rows of one cluster are not independent.

    ``se^2 = (G - 1) / G * sum_g (mean without cluster g - mean)^2``: the cluster jackknife, CV3
    (MacKinnon, Nielsen and Webb 2023), with t quantiles of G - 1 degrees of freedom. With clusters
    of equal size it is the t interval of the cluster means. With unequal ones the usual CR1
    (Liang and Zeger 1986) is too short.

    Measured coverage (4,000 simulations each, 3 to 30 clusters): equal sizes .95 to .98, .92 to .93
    where clusters are skewed (exponential); sizes that fall like 1 / i^1.2, .89 to .98 (CR1 .81 to
    .97), but .76 where they are skewed too (lognormal); one cluster ten times as large as each
    other, .90 to .95 (CR1 .72 to .94).

    Args:
        differences: After minus before; dims (row) or (row, feature).
        clusters: A label a row.

    Returns:
        Mean over rows and its interval, one entry a feature; n is the number of clusters G. One
        cluster: NaN bounds.

    Raises:
        SchemaError: Rows and labels do not match, or there are none.

    >>> mean, lo, hi, n = cluster_interval([1.0, 1.0, 3.0, 3.0], ["a", "a", "b", "b"])
    >>> round(float(mean), 2), round(float(hi - mean), 2), n
    (2.0, 12.71, 2)
    """
    sums, sizes = cluster_sums(differences, clusters)
    n = len(sizes)
    mean = sums.sum(axis=0) / sizes.sum()
    # Rows of one cluster err together, so they are left out together.
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (sums.sum(axis=0) - sums).T / (sizes.sum() - sizes)
        deviations = left_out.T - mean
        se = np.sqrt((n - 1) / n * (deviations**2).sum(axis=0))
    return _interval(mean, se, n=n)


def jackknife(estimate: npt.ArrayLike, left_out: npt.ArrayLike) -> Interval:
    """Interval of a number that is no plain mean, by leaving out one unit at a time.

    ``se^2 = (n - 1) / n * sum_i (theta_i - mean theta)^2`` (Tukey 1958; Efron and Tibshirani 1993,
    chapter 11), with t quantiles of n - 1 degrees of freedom. For a mean it is exactly the t
    interval.

    Args:
        estimate: The number on all units; a scalar, or dims (column).
        left_out: The same number without unit i; dims (unit) or (unit, column).

    Returns:
        The estimate and its interval; fewer than 2 units give NaN bounds.

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> mean, lo, hi, n = jackknife(x.mean(), [x[1:].mean(), x[[0, 2]].mean(), x[:2].mean()])
    >>> round(float(mean), 2), round(float(lo), 2), round(float(hi), 2), n
    (2.0, -0.48, 4.48, 3)
    """
    theta, whole = np.asarray(left_out, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    n = len(theta)
    if n < 2:
        return _interval(whole, whole, n=1)
    # Numbers that leave out one unit each differ n - 1 times less than the units do, so the factor
    # is (n - 1) / n where a variance of units has 1 / (n (n - 1)).
    with np.errstate(invalid="ignore"):
        se = np.sqrt((n - 1) / n * ((theta - theta.mean(axis=0)) ** 2).sum(axis=0))
    return _interval(whole, se, n=n)


def across_seeds(
    table: pd.DataFrame,
    *,
    value: str = "estimate",
    by: str | Iterable[str],
    beside: Iterable[str] = ("pmi", "bayes_certain", "bayes_mixing"),
) -> pd.DataFrame:
    """Mean over training runs with its t interval over seeds, for each group.

    Args:
        table: Any table with ``seed``; several rows of one seed are averaged first.
        value: Column to average.
        by: Columns that tell the groups apart.
        beside: Predictions to average as well, where the table has them.

    Returns:
        One row a group: ``by``, ``estimate``, ``lo``, ``hi`` (t interval on seed means; one seed:
        NaN), ``sd`` over seeds, ``n_seeds``, and the predictions. A NaN value makes its group NaN:
        seeds are never dropped in silence.

    Raises:
        SchemaError: A column does not exist, or the table has no rows.

    >>> runs = pd.DataFrame({"arm": "lesson", "seed": [0, 1, 2], "estimate": [1.0, 2.0, 3.0]})
    >>> across_seeds(runs, by="arm").round(2).values.tolist()
    [['lesson', 2.0, -0.48, 4.48, 1.0, 3]]
    """
    by, beside = list(as_tuple(by)), as_tuple(beside)
    schema.require(table, *by, "seed", value)
    numbers = list(dict.fromkeys([value, *(c for c in beside if c in table)]))
    if table["seed"].isna().to_numpy().any():
        raise SchemaError("every row needs the seed of its training run; some have none.")
    # Rows of one seed share its training run, so they are one unit: averaged first.
    seeds = table.groupby([*by, "seed"], sort=False, dropna=False)[numbers].agg(
        lambda x: x.mean(skipna=False)
    )
    rows = []
    for _, group in seeds.reset_index().groupby(by, sort=False, dropna=False):
        interval = t_interval(group[value])
        row = {**group[by].iloc[0].to_dict(), **interval.row()}
        row |= {"sd": group[value].std(skipna=False), "n_seeds": interval.n}
        row |= {c: group[c].mean(skipna=False) for c in numbers if c != value}
        rows.append(row)
    return pd.DataFrame(rows)


def benjamini_hochberg(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """False discovery rate at which each of these tests would be a discovery.

    Args:
        p: p values; NaN = not tested, and not counted.

    Returns:
        Adjusted p (q) of Benjamini and Hochberg 1995, in the same order; NaN stays NaN.

    >>> benjamini_hochberg([0.01, 0.04, np.nan]).tolist()
    [0.02, 0.04, nan]
    """
    values = np.asarray(p, dtype=np.float64)
    q = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        # The price of many tests is the number of those that were made: NaN does not raise it.
        q[tested] = stats.false_discovery_control(values[tested])
    return q


def cluster_sums(
    rows: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Sums over the rows of each cluster, and how many rows it has.

    Args:
        rows: Dims (row, ...).
        clusters: A label a row.

    Returns:
        Sums, dims (cluster, ...), and sizes, by label in sorted order.

    Raises:
        SchemaError: Rows and labels do not match, or there are none.

    >>> cluster_sums([1.0, 2.0, 4.0], ["a", "b", "a"])
    (array([5., 2.]), array([2, 1]))
    """
    x, labels = np.asarray(rows, dtype=np.float64), np.asarray(clusters)
    if not len(x) or labels.shape != (len(x),):
        raise SchemaError(
            f"expected one cluster label a row; got {len(x)} rows and labels of shape "
            f"{labels.shape}."
        )
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), *x.shape[1:]))
    np.add.at(sums, group, x)
    return sums, sizes


def wilson(
    share: npt.ArrayLike, n: npt.ArrayLike, *, df: float = np.inf
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """95 % interval of a share (Wilson 1927): within 0 and 1, and never of width 0.

    Args:
        share: The share, or one a column.
        n: Independent trials that it is worth; any positive number.
        df: Degrees of freedom of the t quantile; a normal one by default.

    Returns:
        Lower and upper end.

    >>> [round(float(end), 3) for end in wilson(0.0, 100)]
    [0.0, 0.037]
    """
    p, n = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = stats.t.ppf(0.5 + LEVEL / 2, df) ** 2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
