"""How long is the mean of noisy rows, when noise adds to every length?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_interp.analysis.stats import cluster_sums

Array = npt.NDArray[np.float64]


class Squares(NamedTuple):
    """The squared length of a mean.

    Attributes:
        whole: Of all rows.
        left_out: Without each cluster, for a jackknife; empty with one cluster.
    """

    whole: float
    left_out: Array


def squared_length(rows: Array, clusters: npt.ArrayLike) -> Squares:
    """Squared length of the population's mean row, without what noise adds to that of a sample.

    ``sum <r_i, r_j> / number of pairs`` over pairs of rows of different clusters: noise of one
    cluster is independent of that of another, so their products have the mean ``|mean|^2`` (a
    U-statistic, Hoeffding 1948). The plain ``|mean of rows|^2`` is larger by the variance over n.

    Args:
        rows: Dims (row, d).
        clusters: A label a row.

    Returns:
        Squared lengths; one of noise alone is as often negative as positive. With a single cluster
        noise cannot be told from the mean: the plain square, nothing left out.

    >>> squared_length(np.array([[3.0, 1], [3, -1]]), ["a", "b"]).whole
    8.0
    >>> squared_length(np.array([[3.0, 1], [3, -1]]), ["a", "a"])
    Squares(whole=9.0, left_out=array([], dtype=float64))
    """
    sums, sizes = cluster_sums(rows, clusters)
    total = sums.sum(axis=0)
    if len(sizes) == 1:
        return Squares(float((total / len(rows)) @ (total / len(rows))), np.empty(0))
    own = (sums**2).sum(axis=1)
    # Of three clusters two are left, which is one pair; of two only one, which is none.
    left = total - sums
    products = (left**2).sum(axis=1) - (own.sum() - own)
    pairs = (len(rows) - sizes) ** 2 - ((sizes**2).sum() - sizes**2)
    with np.errstate(invalid="ignore"):
        left_out = products / np.where(pairs > 0, pairs, np.nan)
    whole = (total @ total - own.sum()) / (len(rows) ** 2 - (sizes**2).sum())
    return Squares(float(whole), left_out)
