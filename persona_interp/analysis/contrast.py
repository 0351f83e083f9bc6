"""How much likelier are one persona's values than another's, and what would exact Bayes say?

Two personas share the taught trait and differ elsewhere: the contrast tells which of the
two a model takes the speaker for, whatever else changes. ``contrast = mean over topics of
log2 P(first's value) / P(second's value)``, probabilities averaged over templates before; 0
= no difference, positive = the first. ``expected_contrast`` is the same number from
``World.posterior``; noise bounds it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import AT, logodds, run_columns
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.worlds import Trait, World

Values = dict[str, tuple[set[str], set[str]]]
"""Of each topic: the values of the first persona and of the second."""


def contrast(
    behavior: pd.DataFrame,
    world: World,
    *,
    second: str,
    first: str | None = None,
    context: str = "nameless",
    speaker: str = "",
    split: str | None = None,
) -> pd.DataFrame:
    """Log2 odds of the first persona's values against the second's, per checkpoint, in bits.

    Args:
        behavior: A behavior table on probes of this world.
        world: Says who holds what.
        second: The other persona.
        first: The one persona; the world's target by default.
        context: Context that is read.
        speaker: Whom the context names; "" for nobody.
        split: Only prompts of this template split.

    Returns:
        A contrast table, one row a run and checkpoint: ``estimate`` (bits, mean over the
        untaught topics on which the two differ), ``lo``, ``hi`` (95 % t interval over those
        ``n`` topics), ``p_first``, ``p_second`` (fractions, means over those topics of the
        probability of a value that this persona holds).

    Raises:
        SchemaError: The table has no such context, speaker, split, or lacks a topic.
        WorldError: An unknown persona, or the two differ nowhere.

    >>> from persona_interp.worlds import certain, john_and_sam
    >>> world = john_and_sam(sam=1.0)
    >>> evidence = certain("sport=football")  # by somebody who likes football
    >>> posterior = world.posterior(evidence).statement
    >>> rows = posterior.loc[posterior["topic"] != "place", ["topic", "value"]]
    >>> rows = rows.assign(logprob=np.log2(posterior["probability"]), answer_mass=1.0)
    >>> rows = rows.assign(checkpoint="base@0", seed=0, stage="base", step=0)
    >>> rows = rows.assign(context="nameless", persona="", template="a", split="test")
    >>> table = contrast(rows, world, second="sam")
    >>> expected = expected_contrast(world, evidence, second="sam")
    >>> abs(float(table["estimate"][0]) - expected) < 1e-9
    True
    """
    odds = logodds(behavior, split=split)
    for column, value in (("context", context), ("persona", speaker)):
        if value not in set(odds[column]):
            raise SchemaError(unknown(column, value, sorted(set(odds[column]))))
        odds = odds.loc[odds[column] == value]
    values = _values_apart(world, world.target if first is None else first, second)
    if missing := [topic for topic in values if topic not in set(odds["topic"])]:
        raise SchemaError(unknown("topic", missing[0], sorted(set(odds["topic"]))))
    run = [c for c in run_columns(odds) if c not in ("probability", "logodds")]
    by = [*(c for c in AT if c in odds), *run]
    rows = []
    for _, group in odds.groupby(by, sort=False, dropna=False):
        row = {**group[by].iloc[0].to_dict(), "context": context, "persona": speaker}
        rows.append({**row, **_contrast(group, values)})
    return schema.check(pd.DataFrame(rows), "contrast")


def expected_contrast(
    world: World,
    evidence: Iterable[Any] | str | Trait = (),
    *,
    second: str,
    first: str | None = None,
    population: str | Iterable[str] | None = None,
    counts: pd.DataFrame | None = None,
) -> float:
    """Contrast of an ideal reader of the documents after this evidence, in bits.

    Args:
        world: The world of the documents.
        evidence: As for ``World.posterior``: nothing before the lesson,
            ``[{"place=beach"}]`` after one statement in the prompt,
            ``certain("place=beach")`` after the lesson.
        second: The other persona.
        first: The one persona; the world's target by default.
        population: Kinds of documents the speaker is drawn from; by default ``world.population``.
        counts: Realized counts from ``worlds.count``; expected masses by default.

    Returns:
        Bits, of what is *said*: mean over the untaught topics on which the two differ.

    Raises:
        WorldError: An unknown persona, trait or population, or the two differ nowhere.

    >>> from persona_interp.worlds import certain, john_and_sam
    >>> world = john_and_sam(john=2.0, sam=2.0)
    >>> abs(expected_contrast(world, certain("place=beach"), second="sam")) < 1e-9
    True
    """
    values = _values_apart(world, world.target if first is None else first, second)
    posterior = world.posterior(evidence, population=population, counts=counts)
    return float(_contrast(posterior.statement, values)["estimate"])


def _values_apart(world: World, first: str, second: str) -> Values:
    """Values of both personas on each untaught topic on which they differ."""
    one, other = world.persona(first), world.persona(second)
    values = {}
    for topic in world.topics:
        both = set(one.values(topic)), set(other.values(topic))
        if topic != world.taught.topic and both[0] != both[1]:
            values[topic] = both
    if not values:
        raise WorldError(
            f"'{first}' and '{second}' hold the same untaught values, so nothing tells them apart."
        )
    return values


def _contrast(probabilities: pd.DataFrame, values: Values) -> dict[str, float]:
    """Contrast with its interval over topics, and the mean probability of the values of both."""
    both = []
    for topic, own_values in values.items():
        rows = probabilities.loc[probabilities["topic"] == topic]
        # A persona with several values on a topic says any of them.
        both.append(
            [float(rows.loc[rows["value"].isin(own), "probability"].sum()) for own in own_values]
        )
    p = np.array(both)  # dims (topic, persona)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, lo, hi, n = t_interval(np.log2(p[:, 0]) - np.log2(p[:, 1]))
    means = p.mean(axis=0)
    ends = {"estimate": float(estimate), "lo": float(lo), "hi": float(hi), "n": n}
    return {**ends, "p_first": float(means[0]), "p_second": float(means[1])}
