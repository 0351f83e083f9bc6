"""Could signs alone have made a difference as large? Sign flips of clusters, and how many."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_interp.analysis.stats import LEVEL, TIE, cluster_sums
from persona_interp.errors import SchemaError
from persona_interp.values import check_count

CELLS = 1 << 24  # numbers in memory at once: 128 MiB
FLIPS = 10_000
"""Random sign flips of every feature, and those in memory at once."""
MOST_FLIPS = 400_000
"""Random sign flips at most: a lone feature among 20,000 can still reach q 0.05."""
AS_LARGE = 100
"""Flips as large as what was observed, from which on a p is known well enough (to 10 %)."""


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
        SchemaError: Rows and labels do not match, there are none, or a difference is not finite.

    >>> x = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    >>> sign_flip(x, "a b c d e f".split()).p.tolist() == [2 / 2**6]
    True
    """
    sums, sizes = cluster_sums(differences, clusters)
    if not np.isfinite(sums).all():  # no flip would be as large: the smallest p of all
        raise SchemaError("sign flips need finite differences; got NaN or infinity.")
    n = len(sizes)
    sums = sums.reshape(n, -1)
    n_features = sums.shape[1]
    # Flips leave the sum of squares alone, so one scale a feature studentizes all of them; without
    # it the feature with the largest activations alone would decide the maximum.
    scale = np.sqrt((sums**2).sum(axis=0))
    scale[scale == 0] = 1.0
    sums = sums / scale
    observed = np.abs(sums.sum(axis=0)) * (1 - TIE)
    n_flips = check_count(n_flips or enough_flips(n_features), "n_flips")
    check_count(seed, "seed", least=0)
    exact = n <= np.log2(n_flips)
    n_rows = sizes.sum()
    blocks = _all_signs(n, seed) if exact else _random_signs(n, n_flips, seed)
    first = next(blocks)
    count, largest, null = np.empty(n_features), np.zeros(len(first)), np.empty((2, n_features))
    for columns in _columns(np.arange(n_features), len(first)):
        flipped = first @ sums[:, columns]
        null[:, columns] = np.quantile(flipped, [0.025, 0.975], axis=0) * scale[columns] / n_rows
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
