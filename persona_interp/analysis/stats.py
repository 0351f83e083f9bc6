"""How sure is a number? Intervals, permutation nulls and the price of testing many things.

Three units of chance occur here and each has its own tool. *Prompts* of one model: paired
differences, clustered (``cluster_interval``) and tested by flipping signs (``sign_flip``).
*Templates*, where the number is a nonlinear function of their mean: the jackknife. *Seeds*, of
which there are few: a t interval on seed means, because a percentile bootstrap over 3 seeds covers
75 % where 95 % is claimed.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp.errors import SchemaError, unknown

LEVEL = 0.95
# Two sums that differ by less than this, relatively, are the same sum in another order. Without it
# the observed statistic would lose against its own copy among the flips, on some CPUs.
TIE = 1e-9
CELLS = 1 << 24  # numbers in memory at once: 128 MiB
CACHED = 1 << 18  # numbers gathered at once: ten times faster where they stay in the cache
FLIPS = 10_000
"""Random sign flips of every feature, and those in memory at once."""
MOST_FLIPS = 400_000
"""Random sign flips at most: a lone feature among 20,000 can still reach q 0.05."""
AS_LARGE = 100
"""Flips as large as what was observed, from which on a p is known well enough (to 10 %)."""


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


class SignFlip(NamedTuple):
    """Results of sign flips; arrays have one entry a feature.

    Attributes:
        p: Two-sided p.
        p_max: Two-sided p of the feature as the largest of all tested (max-T, controls the
            family-wise error); from the first 10,000 flips.
        null_lo: 2.5 % point of the mean difference under the null, from the same flips.
        null_hi: 97.5 % point.
        p_min: Smallest p that these flips can give: 2 / 2^G where all are enumerated, else 1 / (1 +
            n_flips).
    """

    p: npt.NDArray[np.float64]
    p_max: npt.NDArray[np.float64]
    null_lo: npt.NDArray[np.float64]
    null_hi: npt.NDArray[np.float64]
    p_min: float


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
    .97); one cluster ten times as large as each other, .90 to .95 (CR1 .72 to .94).

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
    x, group, n = _rows_and_clusters(differences, clusters)
    mean = x.mean(axis=0)
    # Rows of one cluster err together, so they are left out together.
    sums, sizes = _sums(x, group, n), np.bincount(group)
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (x.sum(axis=0) - sums).T / (len(x) - sizes)
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
    by = [by] if isinstance(by, str) else list(by)
    for column in (*by, "seed", value):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if table.empty:
        raise SchemaError("this table has no rows, so there is nothing to average over seeds.")
    numbers = list(dict.fromkeys([value, *(c for c in beside if c in table)]))
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


def enough_flips(n_tests: int) -> int:
    """Random sign flips that this many tests take.

    Args:
        n_tests: Features that are corrected together.

    Returns:
        As many as let a lone feature reach q 0.05 with p to spare (smallest p a quarter of 0.05 /
        n_tests), at least 10,000 and at most 400,000.

    >>> [enough_flips(n) for n in (40, 500, 16_384)]
    [10000, 40000, 400000]
    """
    return min(max(FLIPS, round(4 * n_tests / (1 - LEVEL))), MOST_FLIPS)


def sign_flip(
    differences: npt.ArrayLike,
    clusters: npt.ArrayLike,
    *,
    n_flips: int | None = None,
    seed: int = 0,
) -> SignFlip:
    """Two-sided p of mean differences if before and after were exchangeable, by flipping signs.

    Under that null the sign of every cluster's differences is a coin flip. The statistic of a
    feature is its mean difference; for the maximum over features it is studentized, |sum| /
    sqrt(sum of squares of the cluster sums), a monotone function of the paired t (Winkler et al.
    2014, sign flipping; Westfall and Young 1993, max-T). All features flip together, so their
    correlation is kept. With 2^G <= n_flips all flips are enumerated and p is exact; else p = (1 +
    number as large) / (1 + flips) (Phipson and Smyth 2010). Flips come in blocks of 10,000, and a
    feature leaves after the block with which 100 were as large as its own: its p is above 100 / (1
    + flips) and known to a tenth of itself. Such a p holds every level that p <= level is asked
    for (sequential Monte Carlo, Besag and Clifford 1991), and small ones cost no flips of large
    ones.

    Args:
        differences: After minus before; dims (row, feature).
        clusters: A label a row; rows of one cluster flip together.
        n_flips: Random flips at most; by default ``enough_flips`` of the number of features. After
            correction for F features a lone one is found at q only if ``p_min`` is below q / F.
        seed: Of the flips.

    Returns:
        p, p_max and the null's 95 % range of the mean difference, one entry a feature.

    Raises:
        SchemaError: Rows and labels do not match, or there are none.

    >>> x = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    >>> sign_flip(x, "a b c d e f".split()).p.tolist() == [2 / 2**6]
    True
    """
    x, group, n = _rows_and_clusters(differences, clusters)
    x = x.reshape(len(x), -1)
    n_features = x.shape[1]
    sums = _sums(x, group, n)
    # Flips leave the sum of squares alone, so one scale a feature studentizes all of them; without
    # it the feature with the largest activations alone would decide the maximum.
    scale = np.sqrt((sums**2).sum(axis=0))
    scale[scale == 0] = 1.0
    sums = sums / scale
    observed = np.abs(sums.sum(axis=0)) * (1 - TIE)
    n_flips = n_flips or enough_flips(n_features)
    exact = n <= np.log2(n_flips)
    blocks = _all_signs(n, seed) if exact else _random_signs(n, n_flips, seed)
    first = next(blocks)
    count, largest, null = np.empty(n_features), np.zeros(len(first)), np.empty((2, n_features))
    for columns in _columns(np.arange(n_features), len(first)):
        flipped = first @ sums[:, columns]
        null[:, columns] = np.quantile(flipped, [0.025, 0.975], axis=0) * scale[columns] / len(x)
        np.abs(flipped, out=flipped)
        count[columns] = (flipped >= observed[columns]).sum(axis=0)
        np.maximum(largest, flipped.max(axis=1), out=largest)
    count_max = len(largest) - np.searchsorted(np.sort(largest), observed)
    flips = np.full(n_features, len(first))
    open_features = np.arange(n_features)
    for signs in blocks:
        if not exact:
            open_features = open_features[count[open_features] < AS_LARGE]
        if not open_features.size:
            break
        for columns in _columns(open_features, len(signs)):
            as_large = np.abs(signs @ sums[:, columns]) >= observed[columns]
            count[columns] += as_large.sum(axis=0)
        flips[open_features] += len(signs)
    # Where all flips are enumerated the observed signs are among them, and so are their opposites,
    # which are as large: no p is below 2 in all. Random flips need not hold them; counting them
    # once keeps p above 0 and the test valid (Phipson and Smyth 2010).
    own = 0 if exact else 1
    p_min = 2 / 2**n if exact else 1 / (1 + n_flips)
    p = (count + own) / (flips + own)
    own = 0 if len(first) == 2**n else 1
    p_max = (count_max + own) / (len(first) + own)
    return SignFlip(p, np.maximum(p, p_max), null[0], null[1], p_min)


def _rows_and_clusters(
    differences: npt.ArrayLike, clusters: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], int]:
    """Differences, the number of each row's cluster, and how many clusters there are."""
    x, labels = np.asarray(differences, dtype=np.float64), np.asarray(clusters)
    if not len(x) or labels.shape != (len(x),):
        raise SchemaError(
            f"expected one cluster label a row; got {len(x)} rows and labels of shape "
            f"{labels.shape}."
        )
    names, group = np.unique(labels, return_inverse=True)
    return x, group, len(names)


def _sums(
    x: npt.NDArray[np.float64], group: npt.NDArray[np.intp], n: int
) -> npt.NDArray[np.float64]:
    """Sums over rows, by cluster: dims (cluster, ...)."""
    sums = np.zeros((n, *x.shape[1:]))
    np.add.at(sums, group, x)
    return sums


def _all_signs(n: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Every pattern of n signs, dims (flip, cluster), in blocks: the bits of 0 to 2^n - 1."""
    numbers = np.arange(2**n)
    if len(numbers) > FLIPS:
        # The first block stands for all in the null's range, so it must be a sample of them.
        numbers = np.random.default_rng(seed).permutation(numbers)
    for start in range(0, len(numbers), FLIPS):
        bits = numbers[start : start + FLIPS, None] >> np.arange(n)
        yield np.where(bits & 1, -1.0, 1.0)


def _random_signs(n: int, n_flips: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Random patterns of n signs, dims (flip, cluster), in blocks."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_flips, FLIPS):
        size = min(FLIPS, n_flips - start)
        yield np.where(rng.random((size, n)) < 0.5, -1.0, 1.0)


def _columns(features: npt.NDArray[np.intp], n_flips: int) -> Iterator[npt.NDArray[np.intp]]:
    """The features in parts whose flips fit into memory."""
    step = max(1, CELLS // n_flips)
    for start in range(0, len(features), step):
        yield features[start : start + step]
