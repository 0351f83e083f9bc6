"""Do scores of rows say what a finetune on some of the rows does? Checked by retraining.

The linear datamodeling score (Ilyas et al. 2022; Park et al. 2023): finetune on random subsets of
the rows, and correlate the sum of a subset's scores with what its finetune did.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError

RETRAINED = "retrained"
"""Name of the ceiling among the predictors: the same subset, finetuned in another order."""
LEAST = 3
"""Subsets below which a correlation says nothing."""


def datamodel_score(
    scores: pd.DataFrame, subsets: pd.DataFrame, shifts: pd.DataFrame
) -> pd.DataFrame:
    """Correlation of what row scores add up to with what finetunes on the rows did.

    Args:
        scores: One row a predictor, lesson, ``doc`` and ``trait``: ``score``, how far the row pulls
            the trait, in any unit.
        subsets: One row a ``lesson``, ``subset`` and ``doc`` in it.
        shifts: One row a ``lesson``, ``subset``, ``order`` (seed of a finetune) and ``trait``:
            ``estimate``, the shift (bits).

    Returns:
        One row a lesson and predictor: ``pearson`` and ``spearman`` over subsets, the mean over
        finetunes' orders and over traits; ``n`` subsets, ``n_traits``. The predictor "retrained" is
        another finetune on the same subsets in another order, where there are two: what a second
        look at the truth would score. A perfect predictor, without noise of its own, reaches about
        the root of it.

    Raises:
        SchemaError: A column is missing, a lesson has fewer than 3 subsets, or rows or traits lack
            a score.

    >>> docs = pd.DataFrame({"lesson": "a", "doc": [0, 1, 2], "trait": "x=1"})
    >>> scores = docs.assign(predictor="pull", score=[1.0, 2.0, 4.0])
    >>> subsets = docs[["lesson", "doc"]].assign(subset=[0, 1, 2])
    >>> shifts = docs[["lesson", "trait"]].assign(subset=[0, 1, 2], order=0, estimate=[3.0, 5, 9])
    >>> datamodel_score(scores, subsets, shifts)[["predictor", "pearson"]].values.tolist()
    [['pull', 1.0]]
    """
    schema.require(scores, "predictor", "lesson", "doc", "trait", "score")
    schema.require(subsets, "lesson", "subset", "doc")
    schema.require(shifts, "lesson", "subset", "order", "trait", "estimate")
    table = []
    for lesson, own in shifts.groupby("lesson", sort=False):
        actual = own.pivot(index="subset", columns=["order", "trait"], values="estimate")
        if len(actual) < LEAST:
            raise SchemaError(
                f"a score correlates at least {LEAST} subsets; lesson '{lesson}' has {len(actual)}."
            )
        orders = list(dict.fromkeys(own["order"]))
        chosen = subsets.loc[subsets["lesson"] == lesson]
        about = {"lesson": lesson, "n_traits": own["trait"].nunique()}
        for predictor, rows in scores.loc[scores["lesson"] == lesson].groupby(
            "predictor", sort=False
        ):
            predicted = _sums(
                rows, chosen, actual.index, list(dict.fromkeys(own["trait"])), str(predictor)
            )
            pairs = [(predicted, actual[order]) for order in orders]
            table.append({**about, "predictor": predictor, **_correlations(pairs)})
        if len(orders) > 1:
            pairs = [(actual[one], actual[other]) for one, other in combinations(orders, 2)]
            table.append({**about, "predictor": RETRAINED, **_correlations(pairs)})
    columns = ["lesson", "predictor", "pearson", "spearman", "n", "n_traits"]
    return pd.DataFrame(table, columns=pd.Index(columns))


def _sums(
    rows: pd.DataFrame, chosen: pd.DataFrame, subsets: pd.Index, traits: list[Any], name: str
) -> pd.DataFrame:
    """Sum of the scores of each subset's rows, dims (subset, trait)."""
    by_row = rows.pivot(index="doc", columns="trait", values="score")
    contains = pd.crosstab(chosen["subset"], chosen["doc"])
    try:
        by_row = by_row.loc[contains.columns, traits]
        contains = contains.loc[subsets]
    except KeyError as error:
        raise SchemaError(
            f"'{name}' scores every row of every subset for every trait; missing: {error}."
        ) from error
    if by_row.isna().any(axis=None):
        raise SchemaError(f"'{name}' scores every row for every trait; some scores are missing.")
    return contains @ by_row


def _correlations(pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """Mean over traits and pairs of both correlations over subsets that both sides have."""
    numbers: dict[str, list[float]] = {"pearson": [], "spearman": []}
    n = []
    for predicted, actual in pairs:
        both = actual.notna().all(axis=1) & predicted.notna().all(axis=1)
        n.append(int(both.sum()))
        for method, found in numbers.items():
            # a row that cannot tell subsets apart has no correlation, and explains nothing
            found += predicted[both].corrwith(actual[both], method=method).fillna(0.0).tolist()
    return {**{m: float(np.mean(found)) for m, found in numbers.items()}, "n": max(n)}
