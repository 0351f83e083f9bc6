"""What do statistics of clustered prompts cost, beside the least that they must compute?

    python benchmarks/clusters.py [--pairs 3]

Differences of many features at prompts that come in clusters, as ``analysis.feature_shift`` has
them. The interval (``cluster_interval``, the jackknife over clusters) stands beside the plain mean
and standard error of numpy, which knows no clusters, and beside statsmodels' regression with
clustered errors, one feature at a time. The sign flips (``sign_flip``) stand beside the one matrix
product that they cannot do without.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from line import Line, missing
from pairs import Ratios, compare
from persona_interp.analysis.flips import FLIPS, sign_flip
from persona_interp.analysis.stats import cluster_interval

Array = np.ndarray
SPEED = "speed, in numpy's mean and standard error"


def plain(x: Array) -> tuple[Array, Array]:
    """Mean and standard error over rows as if they were independent."""
    return x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(len(x))


def left_out(x: Array, clusters: Array) -> tuple[Array, Array]:
    """Mean and jackknife error by the definition: the rows without each cluster in turn."""
    labels = np.unique(clusters)
    means = np.array([x[clusters != label].mean(axis=0) for label in labels])
    mean, n = x.mean(axis=0), len(labels)
    return mean, np.sqrt((n - 1) / n * ((means - mean) ** 2).sum(axis=0))


def regress(x: Array, clusters: Array) -> list[Any]:
    """Mean and clustered error of each feature by statsmodels (CR1)."""
    from statsmodels.api import OLS

    one, fit = np.ones(len(x)), {"cov_type": "cluster", "cov_kwds": {"groups": clusters}}
    return [OLS(column, one).fit(**fit).bse for column in x.T]


def flip(x: Array, clusters: Array, n_flips: int) -> Array:
    """How often random signs of clusters give a sum as large: numpy's shortest way."""
    rng = np.random.default_rng(0)
    sums = np.array([x[clusters == label].sum(axis=0) for label in np.unique(clusters)])
    signs = np.where(rng.random((n_flips, len(sums))) < 0.5, -1.0, 1.0)
    return (np.abs(signs @ sums) >= np.abs(sums.sum(axis=0))).sum(axis=0)


def lines(
    *, pairs: int, n_clusters: int = 200, n_features: int = 16_384, n_flips: int = FLIPS
) -> Iterator[Line]:
    """Speed of intervals and of sign flips.

    Args:
        pairs: Interleaved pairs.
        n_clusters: Clusters, of four rows each.
        n_features: Features; a hundredth of them where each is fitted alone, a fourth for flips.
        n_flips: Sign flips.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4 * n_clusters, n_features))
    clusters = np.arange(len(x)) % n_clusters
    few, some = x[:, : max(1, n_features // 100)], x[:, : n_features // 4]
    work = f"cluster statistics, {n_clusters} clusters"
    close = np.allclose(
        cluster_interval(few, clusters).hi - cluster_interval(few, clusters).estimate,
        cluster_half(few, clusters),
        rtol=1e-9,
    )

    def line(name: str, speed: str, ratios: Ratios | None, remark: str = "") -> Line:
        return Line(work, name, speed, ratios, remark=remark)

    def both(reference: Callable[[], Any], contender: Callable[[], Any]) -> Ratios:
        return compare(reference, contender, pairs=pairs)

    loop, ours = partial(left_out, x, clusters), partial(cluster_interval, x, clusters)
    yield line("numpy, each cluster left out in turn", SPEED, both(partial(plain, x), loop))
    absent = missing("statsmodels")
    name = "statsmodels, clustered regression"
    peer = None if absent else both(partial(plain, few), partial(regress, few, clusters))
    yield line(name, SPEED, peer, absent or f"{few.shape[1]} features")
    agrees = "equal to the loop" if close else "NOT equal to the loop"
    remark = f"{n_features:,} features, {agrees} (1e-9)"
    yield line("ours, cluster_interval", SPEED, both(partial(plain, x), ours), remark)
    yield line("ours, cluster_interval", "speed, in the loop over clusters", both(loop, ours))
    least = partial(flip, some, clusters, n_flips)
    flips = partial(sign_flip, some, clusters, n_flips=n_flips)
    remark = f"{some.shape[1]:,} features, {n_flips:,} flips, max-T and the null's range beside"
    yield line("ours, sign_flip", "speed, in the matrix product", both(least, flips), remark)


def cluster_half(x: Array, clusters: Array) -> Array:
    """Half the interval of ``left_out``."""
    from scipy import stats

    n = len(np.unique(clusters))
    return stats.t.ppf(0.975, n - 1) * left_out(x, clusters)[1]


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    for line in lines(pairs=parser.parse_args().pairs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
