"""How much of the transfer goes when something inside the model is taken away, or comes when it is put in?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import Block, blocks, pooled, run_columns
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown
from persona_interp.worlds import Trait, World

UNEDITED = "none"
FLOOR = 0.5  # bits; a smaller shift is no effect that could be shared out


class _Said(NamedTuple):
    """Mean log odds (bits) of the untaught traits: on all templates, and without each of them in turn."""

    whole: float
    left_out: npt.NDArray[np.float64]
    templates: tuple[str, ...]


def removed_share(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    world: World,
    taught: str | Trait | None = None,
) -> pd.DataFrame:
    """How much of the transfer does each edit of the tuned model take away?

    ``share = (tuned - edited) / (tuned - base)`` of the mean log odds of the target's untaught
    traits at nameless prompts: 0 = nothing, 1 = all of it, above 1 = more than the lesson brought,
    below 0 = the edit adds.

    Args:
        behavior: A behavior table of nameless prompts with the column ``edit``: the base unedited
            ("none", or without an edit), the tuned checkpoint unedited and with every edit.
        base: Label of the checkpoint before the lesson.
        tuned: Label of the checkpoint after it, which is edited.
        world: The world of the documents; names the target's traits.
        taught: The trait of the lesson, whose topic is left out beside the world's own; the world's
            by default.

    Returns:
        A causes table, one row a run (seed and extra columns) and edit, "none" included: ``base``,
        ``tuned``, ``edited`` (mean over untaught topics of the log odds of the template-averaged
        probability, bits; a topic with two held values counts once), ``share`` (fraction), ``lo``,
        ``hi`` (95 %, jackknife over templates, at fixed weights), ``n`` templates. Where tuned and
        base differ by less than 0.5 bits the share is NaN and ``note`` says so.

    Raises:
        SchemaError: No column edit, no nameless prompts, an unknown checkpoint, or other prompts in
            one of the three.
        WorldError: An unknown trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world, odds = john_and_sam(), {("base@0", "none"): -2.0, ("lesson@8", "none"): 2.0, ("lesson@8", "x"): 1.0}
    >>> rows = [(at, edit, topic, value, o if value == world.persona("john").values(topic)[0] else np.log2(1 / 7))
    ...         for (at, edit), o in odds.items() for topic, values in world.topics.items() for value in values]
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "edit", "topic", "value", "logprob"])
    >>> table = table.assign(seed=0, stage="", step=0, context="nameless", persona="", template="a", split="test")
    >>> found = removed_share(table.assign(answer_mass=1.0), base="base@0", tuned="lesson@8", world=world)
    >>> found[["edit", "base", "tuned", "edited", "share"]].round(6).values.tolist()
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
    """How much of the transfer does each edit of the base model bring without any lesson?

    ``share = (edited - base) / (tuned - base)``, as in ``removed_share``: 0 = nothing, 1 = as much
    as the lesson.

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
    rows = _asked(behavior, world, taught)
    run = [c for c in run_columns(rows) if c != "edit"]
    traits = {(t.topic, t.value) for t in world.persona(world.target).traits}
    tables = []
    for _, part in rows.groupby(run, sort=False, dropna=False):
        said = {
            (str(group["checkpoint"].iloc[0]), str(group["edit"].iloc[0])): _said(group, traits)
            for _, group in part.groupby(["checkpoint", "edit"], sort=False)
        }
        for wanted in (base, tuned):
            if (wanted, UNEDITED) not in said:
                at = [f"{checkpoint} ({edit})" for checkpoint, edit in said]
                raise SchemaError(
                    unknown("checkpoint without an edit", f"{wanted} ({UNEDITED})", at)
                )
        if len({s.templates for s in said.values()}) > 1:
            raise SchemaError(
                f"{base}, {tuned} and the edits were not asked the same templates; record them "
                "alike."
            )
        start, end = said[base, UNEDITED], said[tuned, UNEDITED]
        found = [
            _row(edit, start, end, now=s, at=edited == base)
            for (c, edit), s in said.items()
            if c == edited
        ]
        head = part[run].iloc[[0] * len(found)].reset_index(drop=True)
        tables.append(
            pd.concat([head, pd.DataFrame(found, columns=list(schema.TABLES["causes"]))], axis=1)
        )
    return schema.check(pd.concat(tables, ignore_index=True), "causes")


def _asked(behavior: pd.DataFrame, world: World, taught: str | Trait | None) -> pd.DataFrame:
    """Nameless rows of the target's untaught topics, templates named alike in every topic."""
    schema.check(behavior, "behavior")
    if "edit" not in behavior:
        raise SchemaError(
            "this needs the column 'edit'; record with record.behavior(..., edits=[...])."
        )
    lessons = {world.taught.topic} | ({world.trait(taught).topic} if taught is not None else set())
    topics = {t.topic for t in world.persona(world.target).traits} - lessons
    rows = behavior.loc[
        (behavior["context"] == "nameless") & behavior["topic"].isin(sorted(topics))
    ]
    if missing := sorted(topics - set(rows["topic"])):
        raise SchemaError(
            f"no nameless prompts about {', '.join(missing)}; record probes(contexts='nameless')."
        )
    # unedited runs that were recorded without edits have no value there
    return rows.assign(
        edit=rows["edit"].fillna(UNEDITED), prompt=rows["split"] + ": " + rows["template"]
    )


def _said(rows: pd.DataFrame, traits: set[tuple[str, str]]) -> _Said:
    found = blocks(rows.reset_index(drop=True), ["topic"])
    topics = [rows["topic"].iloc[block.row] for block in found]
    templates = found[0].prompts
    if any(block.prompts != templates for block in found):
        raise SchemaError(
            f"topics were asked by different templates ({', '.join(topics)}); ask all by the same."
        )
    held = [
        [v for v in block.values if (topic, v) in traits]
        for topic, block in zip(topics, found, strict=True)
    ]

    def mean(keep: npt.NDArray[np.intp]) -> float:
        return float(
            np.mean([_odds(block, keep, values) for block, values in zip(found, held, strict=True)])
        )

    every = np.arange(len(templates))
    left_out = [mean(np.delete(every, i)) for i in every] if len(every) > 1 else []
    return _Said(mean(every), np.array(left_out), templates)


def _odds(block: Block, keep: npt.NDArray[np.intp], values: list[str]) -> float:
    """Mean log odds (bits) of these values of a topic on the templates kept."""
    odds = pooled(block.logprob[keep])[1]
    return float(np.mean([odds[block.values.index(value)] for value in values]))


def _row(
    edit: str, start: _Said, end: _Said, *, now: _Said, at: bool
) -> tuple[str | float | int, ...]:
    """One row; ``at`` = the edit is at the start, and brings, else at the end, and takes away."""
    numbers = start.whole, end.whole, now.whole
    if abs(end.whole - start.whole) < FLOOR:
        note = f"tuned - base is {end.whole - start.whole:.2f} bits, below {FLOOR}: nothing to share out"
        return (edit, *numbers, np.nan, np.nan, np.nan, len(start.templates), note)

    def share(a: npt.ArrayLike, b: npt.ArrayLike, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        a, b, x = (np.asarray(y) for y in (a, b, x))
        return ((x - a) if at else (b - x)) / (b - a)

    found = jackknife(share(*numbers), share(start.left_out, end.left_out, now.left_out))
    return (
        edit,
        *numbers,
        float(found.estimate),
        float(found.lo),
        float(found.hi),
        len(start.templates),
        "",
    )
