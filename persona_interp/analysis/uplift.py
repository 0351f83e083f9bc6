"""How much likelier does what is taught become once something else was said?"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.beliefs import NAMELESS
from persona_interp.analysis.logodds import (
    AT,
    Bits,
    blocks,
    chosen_split,
    pooled,
    prompt_odds,
    run_columns,
)
from persona_interp.analysis.predictors import predictors, taught_labels
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import Predictor
from persona_interp.worlds import Trait

NOTHING = ""
"""The column ``stated`` where nothing was."""


def uplift_forecast(
    stated: pd.DataFrame,
    taught: str | Trait | Iterable[str | Trait],
    *,
    split: str | None = None,
) -> pd.DataFrame:
    """How much likelier the taught value becomes once each other one was stated (bits).

    Evidence is symmetric: if saying v makes the taught value likelier, then a speaker of the taught
    value is likelier to say v. What is looked up is the log odds of the taught value after v was
    stated in the prompt, minus where nothing was; the mean over templates, and over taught traits.

    Args:
        stated: A behavior table of one base with the column ``stated``: the label of what was
            stated in earlier turns, "" where nothing was. Of the nameless context.
        taught: Label of the taught trait, or of several.
        split: Only prompts of this template split.

    Returns:
        A predictors table, one row an untaught trait; ``before`` and ``taught_before`` are log odds
        where nothing was stated (bits). It costs nothing for a lesson more.

    Raises:
        SchemaError: No column ``stated``, several bases, nothing was asked where nothing was
            stated, a taught trait was not asked, or a trait was not stated.

    >>> odds = {"": (0.0, 0.0), "b=x": (1.5, 2.0), "b=y": (-1.0, -2.0)}
    >>> parts = []
    >>> for label, (a, b) in odds.items():
    ...     part = pd.DataFrame({"topic": list("aabb"), "value": list("xyxy")})
    ...     parts.append(part.assign(stated=label, logprob=[a, 0.0, b, 0.0]))
    >>> rows = pd.concat(parts).assign(context="nameless", persona="", split="test", template="t")
    >>> rows = rows.assign(checkpoint="d@8", seed=0, stage="d", step=8, answer_mass=1.0)
    >>> uplift_forecast(rows, "a=x")[["trait", "estimate"]].round(3).values.tolist()
    [['b=x', 1.5], ['b=y', -1.0]]
    """
    odds = stated_odds(stated, split=split)
    labels = taught_labels(taught)
    for label in labels:
        if label not in odds.columns:
            raise SchemaError(unknown("taught trait", label, odds.columns))
    topics = {label.partition("=")[0] for label in labels}
    untaught = [trait for trait in odds.columns if trait.partition("=")[0] not in topics]
    for trait in untaught:
        if trait not in odds.index:
            raise SchemaError(unknown("stated trait", trait, odds.index))
    # what was stated itself is often not asked again; nothing else may be missing
    needed = odds.loc[[NOTHING, *untaught], labels].stack(future_stack=True)
    if not np.isfinite(needed.to_numpy()).all():
        statement, label = needed.index[~np.isfinite(needed.to_numpy())][0]
        raise SchemaError(
            f"no finite log odds of {label} after '{statement}' was stated; ask for it too."
        )
    nothing = odds.loc[NOTHING]
    uplift = (odds[labels] - nothing[labels]).mean(axis=1)
    table = pd.DataFrame({"trait": [*labels, *untaught], "context": NAMELESS, "persona": ""})
    table["before"] = nothing[table["trait"]].to_numpy()
    table["estimate"] = uplift.reindex(table["trait"]).to_numpy()
    run = {c: stated[c].iloc[0] for c in run_columns(stated) if c != "stated"}
    return predictors(table.assign(**run), labels, predictor=Predictor.UPLIFT)


def stated_odds(stated: pd.DataFrame, *, split: str | None = None) -> pd.DataFrame:
    """Log odds of every value as nobody, after each statement.

    Args:
        stated: As of ``uplift_forecast``.
        split: Only prompts of this template split.

    Returns:
        Bits, mean over templates; a row a statement ("" where nothing was stated), a column a
        trait; NaN where a topic was not asked.

    Raises:
        SchemaError: As of ``uplift_forecast``, apart from taught traits.
    """
    return _by_statement(stated, split, lambda logprob: prompt_odds(logprob).mean(axis=0))


def stated_probabilities(stated: pd.DataFrame, *, split: str | None = None) -> pd.DataFrame:
    """Probability of every value as nobody, among its topic's, after each statement.

    Args:
        stated: As of ``uplift_forecast``.
        split: Only prompts of this template split.

    Returns:
        Fractions, mean over templates; rows and columns as of ``stated_odds``.

    Raises:
        SchemaError: As of ``stated_odds``.
    """
    return _by_statement(stated, split, lambda logprob: np.exp2(pooled(logprob)[0]))


def _by_statement(
    stated: pd.DataFrame, split: str | None, mean: Callable[[Bits], Bits]
) -> pd.DataFrame:
    """A number of every value, a row a statement."""
    schema.require_rows(stated, "stated")
    rows = chosen_split(stated, split)
    for column in (*AT, *run_columns(rows)):
        n = len(set(rows[column])) if column in rows else 1
        if column != "stated" and n > 1:
            raise SchemaError(
                f"these are answers of several bases: column '{column}' holds {n} values; select "
                "one checkpoint of one run."
            )
    # a prompt's name tells what was stated before it; its template does not
    rows = rows.loc[rows["context"] == NAMELESS].drop(columns="prompt", errors="ignore")
    if NOTHING not in set(rows["stated"]):
        raise SchemaError(
            "nothing to compare with: ask in the nameless context with nothing stated too, "
            "stated ''."
        )
    numbers: dict[str, dict[str, float]] = {}
    for block in blocks(rows, ["stated", "topic"]):
        statement, topic = rows["stated"].iloc[block.row], rows["topic"].iloc[block.row]
        of_statement = numbers.setdefault(str(statement), {})
        means = zip(block.values, mean(block.logprob), strict=True)
        of_statement |= {f"{topic}={value}": float(number) for value, number in means}
    return pd.DataFrame.from_dict(numbers, orient="index")
