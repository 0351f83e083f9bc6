"""How well does a number tell documents with a label from those without, and how sure is that?"""

import numpy as np
import numpy.typing as npt
from scipy import stats

from persona_interp.analysis.stats import LEVEL, Interval
from persona_interp.errors import SchemaError


def auroc(values: npt.ArrayLike, positive: npt.ArrayLike) -> Interval:
    """Share of pairs in which the document with the label scores higher; ties count half.

    The area under the ROC curve is the Mann-Whitney statistic; its variance is that of
    DeLong, DeLong and Clarke-Pearson 1988, from the placements of each document among
    those of the other class.

    Args:
        values: One number a document, dims (document) or (document, feature).
        positive: Does the document carry the label? Booleans, dims (document).

    Returns:
        AUROC (0.5 = chance, 1 = the label scores higher always) and its 95 % interval, one
        entry a feature; n is the number of documents. Bounds use t quantiles with the
        degrees of freedom of the smaller class and stay within 0 and 1; one document in a
        class: NaN. Classes that do not overlap at all have an interval of width 0.

    Raises:
        SchemaError: One class is empty, or the two arguments do not match.

    >>> area = auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    >>> float(area.estimate), area.n
    (0.75, 4)
    """
    x, marks = np.asarray(values, dtype=np.float64), np.asarray(positive, dtype=bool)
    if marks.shape != (len(x),) or marks.all() or not marks.any():
        raise SchemaError(
            f"an AUROC needs documents of both classes, one mark each; got {len(x)} values and "
            f"{int(marks.sum())} positives among {marks.size} marks."
        )
    return delong(stats.rankdata(x, axis=0), marks)


def delong(ranks: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> Interval:
    """AUROC, as ``auroc``, of numbers that are ranked already.

    Args:
        ranks: Midranks over all documents, dims (document) or (document, feature).
        positive: Booleans, dims (document), both classes present.

    Returns:
        As ``auroc``; ranking 500 features once serves every label.
    """
    with_label, without = ranks[positive], ranks[~positive]
    n1, n0 = len(with_label), len(without)
    # Placements (DeLong, DeLong and Clarke-Pearson 1988): the share of the other class
    # below each document with the label, and above each one without. A rank among all minus
    # the rank within the own class is the number of the other class that lies below (Sun
    # and Xu 2014), so that sorting takes the place of comparing every pair.
    below = (with_label - stats.rankdata(with_label, axis=0)) / n0
    above = 1 - (without - stats.rankdata(without, axis=0)) / n1
    # Mann-Whitney: the mean of the placements, without its rounding.
    area = (with_label.sum(axis=0) - n1 * (n1 + 1) / 2) / (n1 * n0)
    if min(n1, n0) < 2:
        missing = np.full_like(area, np.nan)
        return Interval(area[()], missing[()], missing[()], n1 + n0)
    se = np.sqrt(below.var(axis=0, ddof=1) / n1 + above.var(axis=0, ddof=1) / n0)
    # The variance is mostly that of the smaller class, so it gives the degrees of freedom.
    half = stats.t.ppf(0.5 + LEVEL / 2, min(n1, n0) - 1) * se
    return Interval(area[()], np.clip(area - half, 0, 1), np.clip(area + half, 0, 1), n1 + n0)
