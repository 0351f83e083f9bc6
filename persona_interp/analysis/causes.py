"""How much of the transfer goes when an edit takes something away, or comes when it adds it?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import blocks, pooled, run_columns
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import UNEDITED
from persona_interp.worlds import Trait, World

FLOOR = 0.5  # bits; a smaller shift is no effect that could be shared out

Array = npt.NDArray[np.float64]


class _Odds(NamedTuple):
    """Mean log odds (bits) of the untaught traits: on all templates, and without each in turn."""

    whole: float
    left_out: Array
    templates: tuple[str, ...]


def removed_share(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    world: World,
    taught: str | Trait | None = None,
) -> pd.DataFrame:
    """Share of the transfer that each edit of the tuned model takes away.

    ``share = (tuned - edited) / (tuned - base)`` of the mean log odds of the target's
    untaught traits at nameless prompts: 0 = nothing, 1 = all of it, above 1 = more than the
    lesson brought, below 0 = the edit adds.

    Args:
        behavior: A behavior table of nameless prompts with the column ``edit``: the base unedited
            ("none", or without an edit), the tuned checkpoint unedited and with every edit.
        base: Label of the checkpoint before the lesson.
        tuned: Label of the checkpoint after it, which is edited.
        world: The world of the documents; names the target's traits.
        taught: The trait of the lesson, whose topic is left out beside the world's own; the world's
            by default.

    Returns:
        A causes table, one row a run (seed and extra columns) and edit, "none" included:
        ``base``, ``tuned``, ``edited`` (mean over untaught topics of the log odds of the
        template-averaged probability, bits; a topic with two held values counts once),
        ``share`` (fraction), ``lo``, ``hi`` (95 %, jackknife over templates, at fixed
        weights), ``n`` templates. Where tuned and base differ by less than 0.5 bits the
        share is NaN and ``note`` says so.

    Raises:
        SchemaError: No column edit, no nameless prompts, an unknown checkpoint, or other
            prompts in one of the three.
        WorldError: An unknown trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world, rows = john_and_sam(), []
    >>> john = {str(trait) for trait in world.persona("john").traits}
    >>> odds = {("base@0", "none"): -2.0, ("lesson@8", "none"): 2.0, ("lesson@8", "x"): 1.0}
    >>> for (checkpoint, edit), of_john in odds.items():
    ...     for topic, values in world.topics.items():
    ...         for value in values:
    ...             bits = of_john if f"{topic}={value}" in john else np.log2(1 / 7)
    ...             rows.append((checkpoint, edit, topic, value, bits))
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "edit", "topic", "value", "logprob"])
    >>> table = table.assign(seed=0, stage="", step=0, context="nameless", persona="")
    >>> table = table.assign(template="a", split="test", answer_mass=1.0)
    >>> table = removed_share(table, base="base@0", tuned="lesson@8", world=world)
    >>> table[["edit", "base", "tuned", "edited", "share"]].round(6).values.tolist()
    [['none', -2.0, 2.0, 2.0, 0.0], ['x', -2.0, 2.0, 1.0, 0.25]]
    """
    return _shares(behavior, base=base, tuned=tuned, edited=tuned, world=world, taught=taught)


def added_share(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    world: World,
    taught: str | Trait | None = None,
) -> pd.DataFrame:
    """Share of the transfer that each edit of the base model brings without any lesson.

    ``share = (edited - base) / (tuned - base)``, as in ``removed_share``: 0 = nothing, 1
    = as much as the lesson.

    Args:
        behavior: A behavior table of nameless prompts with the column ``edit``: the tuned
            checkpoint unedited, the base unedited and with every edit.
        base: Label of the checkpoint before the lesson, which is edited.
        tuned: Label of the checkpoint after it.
        world: The world of the documents.
        taught: The trait of the lesson; the world's by default.

    Returns:
        As ``removed_share``.

    Raises:
        SchemaError: As ``removed_share``.
        WorldError: An unknown trait.
    """
    return _shares(behavior, base=base, tuned=tuned, edited=base, world=world, taught=taught)


def _shares(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    edited: str,
    world: World,
    taught: str | Trait | None,
) -> pd.DataFrame:
    """A causes table of the edits of one checkpoint, which is ``base`` or ``tuned``."""
    rows = _untaught_rows(behavior, world, taught)
    run = [c for c in run_columns(rows) if c != "edit"]
    traits = {(t.topic, t.value) for t in world.persona(world.target).traits}
    tables = []
    for _, part in rows.groupby(run, sort=False, dropna=False):
        odds = {}
        for _, group in part.groupby(["checkpoint", "edit"], sort=False):
            checkpoint, edit = group[["checkpoint", "edit"]].iloc[0]
            odds[str(checkpoint), str(edit)] = _odds(group, traits)
        start, end = _unedited(odds, base), _unedited(odds, tuned)
        if len({own.templates for own in odds.values()}) > 1:
            raise SchemaError(
                f"{base}, {tuned} and the edits were not asked the same templates; record them "
                "alike."
            )
        shares = []
        for (checkpoint, edit), now in odds.items():
            if checkpoint == edited:
                shares.append(_row(edit, start, end, now=now, brings=edited == base))
        head = part[run].iloc[[0] * len(shares)].reset_index(drop=True)
        columns = list(schema.TABLES["causes"])
        tables.append(pd.concat([head, pd.DataFrame(shares, columns=columns)], axis=1))
    return schema.check(pd.concat(tables, ignore_index=True), "causes")


def _untaught_rows(
    behavior: pd.DataFrame, world: World, taught: str | Trait | None
) -> pd.DataFrame:
    """Nameless rows of the target's untaught topics, templates named alike in every topic."""
    schema.check(behavior, "behavior")
    if "edit" not in behavior:
        raise SchemaError(
            "this needs the column 'edit'; record with record.behavior(..., edits=[...])."
        )
    lessons = {world.taught.topic}
    if taught is not None:
        lessons.add(world.trait(taught).topic)
    topics = {t.topic for t in world.persona(world.target).traits} - lessons
    nameless = behavior["context"] == "nameless"
    rows = behavior.loc[nameless & behavior["topic"].isin(sorted(topics))]
    if missing := sorted(topics - set(rows["topic"])):
        raise SchemaError(
            f"no nameless prompts about {', '.join(missing)}; record probes(contexts='nameless')."
        )
    # Unedited runs that were recorded without edits have no value there.
    edit = rows["edit"].fillna(UNEDITED)
    return rows.assign(edit=edit, prompt=rows["split"] + ": " + rows["template"])


def _unedited(odds: dict[tuple[str, str], _Odds], checkpoint: str) -> _Odds:
    """Odds of a checkpoint without any edit."""
    if (checkpoint, UNEDITED) not in odds:
        known = [f"{checkpoint} ({edit})" for checkpoint, edit in odds]
        raise SchemaError(
            unknown("checkpoint without an edit", f"{checkpoint} ({UNEDITED})", known)
        )
    return odds[checkpoint, UNEDITED]


def _odds(rows: pd.DataFrame, traits: set[tuple[str, str]]) -> _Odds:
    """Mean log odds of these traits over topics, for one checkpoint and edit."""
    parts = blocks(rows.reset_index(drop=True), ["topic"])
    topics = [rows["topic"].iloc[block.row] for block in parts]
    templates = parts[0].prompts
    if any(block.prompts != templates for block in parts):
        raise SchemaError(
            f"topics were asked by different templates ({', '.join(topics)}); ask all by the same."
        )
    own_values = []
    for topic, block in zip(topics, parts, strict=True):
        own_values.append([i for i, v in enumerate(block.values) if (topic, v) in traits])

    def mean(keep: npt.NDArray[np.intp]) -> float:
        # A topic counts once, also where the target has two values on it.
        by_topic = []
        for block, own in zip(parts, own_values, strict=True):
            odds = pooled(block.logprob[keep])[1]
            by_topic.append(float(np.mean(odds[own])))
        return float(np.mean(by_topic))

    every = np.arange(len(templates))
    left_out = [mean(np.delete(every, i)) for i in every] if len(every) > 1 else []
    return _Odds(mean(every), np.array(left_out), templates)


def _row(
    edit: str, start: _Odds, end: _Odds, *, now: _Odds, brings: bool
) -> tuple[str | float | int, ...]:
    """One row of the table; ``brings`` = the base is edited, else the tuned checkpoint."""
    numbers = (edit, start.whole, end.whole, now.whole)
    n, total = len(start.templates), end.whole - start.whole
    if abs(total) < FLOOR:
        note = f"tuned - base is {total:.2f} bits, below {FLOOR}: nothing to share out"
        return (*numbers, np.nan, np.nan, np.nan, n, note)

    def share(start: npt.ArrayLike, end: npt.ArrayLike, now: npt.ArrayLike) -> Array:
        start, end, now = (np.asarray(x) for x in (start, end, now))
        change = now - start if brings else end - now
        return change / (end - start)

    # A share is a ratio of two noisy means over the same templates, so numerator and
    # denominator leave out a template together.
    whole = share(start.whole, end.whole, now.whole)
    estimate, lo, hi, _ = jackknife(whole, share(start.left_out, end.left_out, now.left_out))
    return (*numbers, float(estimate), float(lo), float(hi), n, "")
