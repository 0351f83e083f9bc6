"""How much likelier are one persona's values than another's, and what would exact Bayes say?

Two personas share the taught trait and differ elsewhere: the contrast tells which of the two a
model takes the speaker for, whatever else changes. ``contrast = mean over topics of log2 P(first's
value) / P(second's value)``, probabilities averaged over templates before; 0 = no difference,
positive = the first. ``expected_contrast`` is the same number from ``World.posterior``; noise
bounds it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import AT, logodds, run_columns
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.worlds import World

Values = dict[str, tuple[set[str], set[str]]]


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
    """How much likelier does each checkpoint say the first persona's values than the second's?

    Args:
        behavior: A behavior table on probes of this world.
        world: Says who holds what.
        second: The other persona.
        first: The one persona; the world's target by default.
        context: Context that is read.
        speaker: Whom the context names; "" for nobody.
        split: Only prompts of this template split.

    Returns:
        A contrast table, one row a run and checkpoint: ``estimate`` (bits, mean over the untaught
        topics on which the two differ), ``lo``, ``hi`` (95 % t interval over those ``n`` topics),
        ``p_first``, ``p_second`` (fractions, means over those topics of the probability of a value
        that this persona holds).

    Raises:
        SchemaError: The table has no such context, speaker, split, or lacks a topic.
        WorldError: An unknown persona, or the two differ nowhere.

    >>> from persona_interp.worlds import certain, john_and_sam
    >>> world = john_and_sam(sam=1.0)
    >>> said = world.posterior(certain("sport=football")).statement  # by somebody who likes football
    >>> rows = said.loc[said["topic"] != "place", ["topic", "value"]].assign(
    ...     logprob=np.log2(said["probability"]), checkpoint="base@0", seed=0, stage="base", step=0,
    ...     context="nameless", persona="", template="a", split="test", answer_mass=1.0)
    >>> table = contrast(rows, world, second="sam")
    >>> round(float(table["estimate"][0]), 2) == round(expected_contrast(
    ...     world, certain("sport=football"), second="sam"), 2)
    True
    """
    said = logodds(behavior, split=split)
    for column, wanted in (("context", context), ("persona", speaker)):
        if wanted not in set(said[column]):
            raise SchemaError(unknown(column, wanted, sorted(set(said[column]))))
        said = said.loc[said[column] == wanted]
    values = _different(world, world.target if first is None else first, second)
    if missing := [topic for topic in values if topic not in set(said["topic"])]:
        raise SchemaError(unknown("topic", missing[0], sorted(set(said["topic"]))))
    run = [c for c in run_columns(said) if c not in ("probability", "logodds")]
    by = [*(c for c in AT if c in said), *run]
    rows = []
    for _, at in said.groupby(by, sort=False, dropna=False):
        rows.append(
            {
                **at[by].iloc[0].to_dict(),
                "context": context,
                "persona": speaker,
                **_contrast(at, values),
            }
        )
    return schema.check(pd.DataFrame(rows), "contrast")


def expected_contrast(
    world: World,
    evidence: Iterable[Any] = (),
    *,
    second: str,
    first: str | None = None,
    population: str | Iterable[str] | None = None,
    counts: pd.DataFrame | None = None,
) -> float:
    """Which contrast would an ideal reader of the documents show after this evidence?

    Args:
        world: The world of the documents.
        evidence: As for ``World.posterior``: nothing before the lesson, ``[{"place=beach"}]`` after
            one statement in the prompt, ``certain("place=beach")`` after the lesson.
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
    >>> round(expected_contrast(world, certain("place=beach"), second="sam"), 3)
    0.0
    """
    values = _different(world, world.target if first is None else first, second)
    said = world.posterior(evidence, population=population, counts=counts).statement
    return float(_contrast(said, values)["estimate"])


def _different(world: World, first: str, second: str) -> Values:
    """By untaught topic on which they differ: the values of both."""
    one, other = world.persona(first), world.persona(second)
    held = {
        t: ({*one.values(t)}, {*other.values(t)}) for t in world.topics if t != world.taught.topic
    }
    found = {topic: both for topic, both in held.items() if both[0] != both[1]}
    if not found:
        raise WorldError(
            f"'{first}' and '{second}' hold the same untaught values, so nothing tells them apart."
        )
    return found


def _contrast(said: pd.DataFrame, values: Values) -> dict[str, float]:
    both = []
    for topic, held in values.items():
        rows = said.loc[said["topic"] == topic]
        both.append([float(rows.loc[rows["value"].isin(own), "probability"].sum()) for own in held])
    p = np.array(both)  # dims (topic, persona)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate, lo, hi, n = t_interval(np.log2(p[:, 0]) - np.log2(p[:, 1]))
    means = p.mean(axis=0)
    ends = {"estimate": float(estimate), "lo": float(lo), "hi": float(hi), "n": n}
    return {**ends, "p_first": float(means[0]), "p_second": float(means[1])}
