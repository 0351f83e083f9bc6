"""What would the base say after the lesson? A shift that was estimated becomes a predictor."""

from collections.abc import Iterable

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple
from persona_interp.worlds import Trait

ASIDE = ("value", "topic", "after", "lo", "hi", "n", "checkpoint", "stage", "step")
"""Columns of a shift table that a forecast has no use for."""


def predictors(
    shifts: pd.DataFrame,
    taught: str | Trait | Iterable[str | Trait],
    *,
    predictor: str,
    cost: float = 0.0,
) -> pd.DataFrame:
    """What one predictor foretells of every trait that a lesson does not teach.

    Args:
        shifts: A shift table of one lesson: from the base to what stands for the model after the
            lesson (the base with the lesson in its prompt, after a virtual step, after a pilot).
        taught: Label of the taught trait, or of several. Other values of a taught topic are left
            out with it where the table has topics: they fall because it rises.
        predictor: A word of ``Predictor``, or a name of your own.
        cost: Steps of the finetune that the predictor costs as much as.

    Returns:
        A predictors table, one row a trait; extra columns (base, lesson, world) stay.

    Raises:
        SchemaError: A column is missing, a taught trait is not among the shifts, or two rows of
            one context and persona are one trait.

    >>> rows = {"trait": ["art=opera", "sport=golf"], "before": [-2.0, 1.0], "estimate": [4.0, 0.5]}
    >>> rows = pd.DataFrame(rows).assign(context="nameless", persona="")
    >>> table = predictors(rows, "art=opera", predictor="guess", cost=1.0)
    >>> table[["predictor", "trait", "estimate", "before", "taught_before"]].values.tolist()
    [['guess', 'sport=golf', 0.5, 1.0, -2.0]]
    """
    where = ["context", "persona"]
    schema.require_rows(shifts, *where, "trait", "before", "estimate")
    labels = taught_labels(taught)
    for label in labels:
        if label not in set(shifts["trait"]):
            raise SchemaError(unknown("taught trait", label, shifts["trait"].unique()))
    if shifts.duplicated([*where, "trait"]).any():
        raise SchemaError(
            "two of these shifts are of one context, persona and trait; give those of one lesson "
            "and one predictor."
        )
    is_taught = shifts["trait"].isin(labels)
    levels = shifts.loc[is_taught].groupby(where, sort=False)["before"].mean()
    levels = levels.rename("taught_before")
    topics = {label.partition("=")[0] for label in labels}
    is_beside = shifts["trait"].str.partition("=")[0].isin(topics) | is_taught
    rows = shifts.loc[~is_beside].drop(columns=[c for c in ASIDE if c in shifts])
    rows = rows.join(levels, on=where)
    if rows["taught_before"].isna().to_numpy().any():
        lacking = rows.loc[rows["taught_before"].isna()].iloc[0]
        raise SchemaError(
            f"what is taught was not asked in context {lacking['context']}, persona "
            f"'{lacking['persona']}'; its level before the lesson is needed there too."
        )
    rows = rows.assign(predictor=str(predictor), cost=float(cost)).reset_index(drop=True)
    names = list(schema.TABLES["predictors"])
    extra = [column for column in rows if column not in names]
    return schema.check(rows[[*extra, *names]], "predictors")


def taught_labels(taught: str | Trait | Iterable[str | Trait]) -> list[str]:
    """Labels of what a lesson teaches, each once.

    Args:
        taught: A trait or label, or several.

    Returns:
        The labels, in order.

    Raises:
        SchemaError: There is none.

    >>> taught_labels([Trait("art", "opera"), "art=opera"])
    ['art=opera']
    """
    if isinstance(taught, Trait):
        taught = str(taught)
    labels = [str(label) for label in dict.fromkeys(as_tuple(taught))]  # pyright: ignore[reportArgumentType]
    if not labels:
        raise SchemaError("a lesson teaches at least one trait; got none.")
    return list(dict.fromkeys(labels))
