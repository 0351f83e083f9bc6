"""How much of the transfer goes when an edit takes something away, or comes when it adds it?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.logodds import Block, blocks, pooled, questions, run_columns
from persona_interp.analysis.stats import jackknife
from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.words import UNEDITED
from persona_interp.worlds import Trait, World

FLOOR = 0.5  # bits; a smaller shift is no effect that could be shared out

Array = npt.NDArray[np.float64]


class Odds(NamedTuple):
    """Mean log odds of the untaught traits: on all templates, then without each in turn.

    Attributes:
        values: Bits, dims (1 + templates,).
        templates: Their names, in this order.
    """

    values: Array
    templates: tuple[str, ...]


class _Ratio(NamedTuple):
    """A ratio of two of these, with its 95 % interval over templates, and why there is none."""

    estimate: float = np.nan
    lo: float = np.nan
    hi: float = np.nan
    note: str = ""


def removed_share(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    world: World,
    taught: str | Trait | None = None,
    patch: str = "",
) -> pd.DataFrame:
    """Share of the transfer that each edit of the tuned model takes away.

    ``share = (tuned - edited) / (tuned - base)`` of the mean log odds of the target's
    untaught traits at nameless prompts: 0 = nothing, 1 = all of it, above 1 = more than the
    lesson brought, below 0 = the edit adds.

    Two numbers stand beside it. An edit at one hook can hardly take more than putting the base's
    whole residual back does, so ``share_of_patch = (tuned - edited) / (tuned - patched)``; above 1
    the edit takes what the lesson never put there. And an edit may push the untrained model as far,
    so ``share_net`` takes off what the same edit does to the base: ``((tuned - edited) - (base -
    edited base)) / (tuned - base)``; 0 = it lowers the traits in both models alike.

    Args:
        behavior: A behavior table of nameless prompts with the column ``edit``: the base unedited
            ("none", or without an edit), the tuned checkpoint unedited and with every edit, and the
            base with the same edits for ``share_net``.
        base: Label of the checkpoint before the lesson.
        tuned: Label of the checkpoint after it, which is edited.
        world: The world of the documents; names the target's traits.
        taught: The trait of the lesson, whose topic is left out beside the world's own; the world's
            by default.
        patch: Name of the edit that puts the base's whole residual into the tuned model
            (``record.patch``); "" = there is none, and no ``share_of_patch``.

    Returns:
        A causes table, one row a run (seed and extra columns) and edit, "none" included:
        ``base``, ``tuned``, ``edited`` (mean over untaught topics of the log odds of the
        template-averaged probability, bits; a topic with two held values counts once),
        ``share`` (fraction), ``lo``, ``hi`` (95 %, jackknife over templates, at fixed
        weights), ``share_of_patch`` and ``share_net`` with theirs, ``other_edited`` (the base under
        the edit, bits), ``n`` templates. Where what is divided by is less than 0.5 bits the share
        is NaN and ``note`` says so; ``share_net`` is NaN where the base was not edited.

    Raises:
        SchemaError: No column edit, no nameless prompts, an unknown checkpoint or patch, or other
            prompts in one of them.
        WorldError: An unknown trait.

    >>> from persona_interp.worlds import john_and_sam
    >>> world, rows = john_and_sam(), []
    >>> john = {str(trait) for trait in world.persona("john").traits}
    >>> odds = {("base@0", "none"): -2.0, ("lesson@8", "none"): 2.0, ("lesson@8", "x"): 1.0}
    >>> odds |= {("base@0", "x"): -2.5, ("lesson@8", "patch"): 0.0}
    >>> for (checkpoint, edit), of_john in odds.items():
    ...     for topic, values in world.topics.items():
    ...         for value in values:
    ...             bits = of_john if f"{topic}={value}" in john else np.log2(1 / 7)
    ...             rows.append((checkpoint, edit, topic, value, bits))
    >>> table = pd.DataFrame(rows, columns=["checkpoint", "edit", "topic", "value", "logprob"])
    >>> table = table.assign(seed=0, stage="", step=0, context="nameless", persona="")
    >>> table = table.assign(template="a", split="test", answer_mass=1.0)
    >>> ends = {"base": "base@0", "tuned": "lesson@8"}
    >>> row = removed_share(table, **ends, world=world, patch="patch").set_index("edit").loc["x"]
    >>> row[["edited", "share", "share_of_patch", "share_net"]].astype(float).round(6).tolist()
    [1.0, 0.25, 0.5, 0.125]
    """
    return _shares(
        behavior, base=base, tuned=tuned, edited=tuned, world=world, taught=taught, patch=patch
    )


def added_share(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    world: World,
    taught: str | Trait | None = None,
    patch: str = "",
) -> pd.DataFrame:
    """Share of the transfer that each edit of the base model brings without any lesson.

    ``share = (edited - base) / (tuned - base)``, as in ``removed_share``: 0 = nothing, 1
    = as much as the lesson. ``share_of_patch`` is of what the tuned model's whole residual brings
    to the base, and ``share_net`` takes off what the same edit adds to the tuned model.

    Args:
        behavior: A behavior table of nameless prompts with the column ``edit``: the tuned
            checkpoint unedited, the base unedited and with every edit, and the tuned checkpoint
            with the same edits for ``share_net``.
        base: Label of the checkpoint before the lesson, which is edited.
        tuned: Label of the checkpoint after it.
        world: The world of the documents.
        taught: The trait of the lesson; the world's by default.
        patch: Name of the edit that puts the tuned model's whole residual into the base.

    Returns:
        As ``removed_share``; ``other_edited`` is the tuned model under the edit.

    Raises:
        SchemaError: As ``removed_share``.
        WorldError: An unknown trait.
    """
    return _shares(
        behavior, base=base, tuned=tuned, edited=base, world=world, taught=taught, patch=patch
    )


def _shares(
    behavior: pd.DataFrame,
    *,
    base: str,
    tuned: str,
    edited: str,
    world: World,
    taught: str | Trait | None,
    patch: str,
) -> pd.DataFrame:
    """A causes table of the edits of one checkpoint, which is ``base`` or ``tuned``."""
    rows = _untaught_rows(behavior, world, taught)
    run = [c for c in run_columns(rows) if c != "edit"]
    tables = []
    for _, part in rows.groupby(run, sort=False, dropna=False):
        odds = _odds(part.reset_index(drop=True), world)
        if len({own.templates for own in odds.values()}) > 1:
            raise SchemaError(
                f"{base}, {tuned} and the edits were not asked the same templates; record them "
                "alike."
            )
        shares = _shares_of_run(odds, base=base, tuned=tuned, edited=edited, patch=patch)
        head = part[run].iloc[[0] * len(shares)].reset_index(drop=True)
        tables.append(pd.concat([head, shares], axis=1))
    return schema.check(pd.concat(tables, ignore_index=True), "causes")


def _shares_of_run(
    odds: dict[tuple[str, str], Odds], *, base: str, tuned: str, edited: str, patch: str
) -> pd.DataFrame:
    """A causes table of one run, its columns without those of the run."""
    start, end = _recorded(odds, base, UNEDITED), _recorded(odds, tuned, UNEDITED)
    # An edit of the base brings something, an edit of the tuned model takes it away.
    other, sign = (tuned, 1) if edited == base else (base, -1)
    from_here, from_there = _recorded(odds, edited, UNEDITED), _recorded(odds, other, UNEDITED)
    total, most = end - start, None
    if patch:
        most = sign * (_recorded(odds, edited, patch) - from_here)
    rows = []
    for (checkpoint, edit), now in odds.items():
        if checkpoint != edited:
            continue
        change = sign * (now.values - from_here)
        share = _ratio(change, total, "tuned - base is")
        of_patch, net, other_edited = _Ratio(), _Ratio(), np.nan
        if most is not None and not share.note:
            of_patch = _ratio(change, most, "the whole residual gives")
        if (other, edit) in odds:
            there = odds[other, edit].values
            net = _ratio(change - sign * (there - from_there), total, "")
            other_edited = there[0]
        numbers = [start[0], end[0], now.values[0], *share[:3], *of_patch[:3], *net[:3]]
        note = share.note or of_patch.note
        rows.append((edit, *map(float, numbers), float(other_edited), len(now.templates), note))
    return pd.DataFrame(rows, columns=list(schema.TABLES["causes"]))


def _ratio(change: Array, total: Array, what: str) -> _Ratio:
    """Change as a share of a total, both on all templates and without each in turn."""
    if abs(total[0]) < FLOOR:
        return _Ratio(note=f"{what} {total[0]:.2f} bits, below {FLOOR}: nothing to share out")
    # A share is a ratio of two noisy means over the same templates, so numerator and
    # denominator leave out a template together.
    shares = change / total
    estimate, lo, hi, _ = jackknife(shares[0], shares[1:])
    return _Ratio(float(estimate), float(lo), float(hi))


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
    if missing := sorted(topics - set(rows["topic"].unique())):
        raise SchemaError(
            f"no nameless prompts about {', '.join(missing)}; record probes(contexts='nameless')."
        )
    # Unedited runs that were recorded without edits have no value there.
    edit = rows["edit"].fillna(UNEDITED)
    return rows.assign(edit=edit, prompt=questions(rows))


def _recorded(odds: dict[tuple[str, str], Odds], checkpoint: str, edit: str) -> Array:
    """Odds of a checkpoint under an edit."""
    if (checkpoint, edit) not in odds:
        known = [f"{checkpoint} ({edit})" for checkpoint, edit in odds]
        what = "checkpoint without an edit" if edit == UNEDITED else "patched checkpoint"
        raise SchemaError(unknown(what, f"{checkpoint} ({edit})", known))
    return odds[checkpoint, edit].values


def untaught_odds(
    behavior: pd.DataFrame, world: World, *, taught: str | Trait | None = None
) -> dict[tuple[str, str], Odds]:
    """Log odds of the target's untaught traits under each edit, of one run.

    Args:
        behavior: As of ``removed_share``, of one run.
        world: The world of the documents.
        taught: The trait of the lesson; the world's by default.

    Returns:
        By checkpoint and edit: what ``removed_share`` makes its shares of.

    Raises:
        SchemaError: As of ``removed_share``.
    """
    return _odds(_untaught_rows(behavior, world, taught).reset_index(drop=True), world)


def _odds(rows: pd.DataFrame, world: World) -> dict[tuple[str, str], Odds]:
    """Mean log odds of the target's traits over topics, by checkpoint and edit of one run."""
    traits = {(t.topic, t.value) for t in world.persona(world.target).traits}
    by = ["checkpoint", "edit", "topic"]
    names = list(zip(*(rows[column].astype(str).to_numpy() for column in by), strict=True))
    topics: dict[tuple[str, str], dict[str, Block]] = {}
    for block in blocks(rows, by):
        checkpoint, edit, topic = names[block.row]
        topics.setdefault((checkpoint, edit), {})[topic] = block
    return {key: _mean_odds(blocks, traits) for key, blocks in topics.items()}


def _mean_odds(blocks: dict[str, Block], traits: set[tuple[str, str]]) -> Odds:
    """Mean log odds of these traits over topics, for one checkpoint and edit."""
    templates = next(iter(blocks.values())).prompts
    if any(block.prompts != templates for block in blocks.values()):
        raise SchemaError(
            f"topics were asked by different templates ({', '.join(blocks)}); ask all by the same."
        )
    every = np.arange(len(templates))
    left_out = [np.delete(every, i) for i in every] if len(every) > 1 else []
    by_topic = []
    for topic, block in blocks.items():
        # A topic counts once, also where the target has two values on it.
        own = [i for i, v in enumerate(block.values) if (topic, v) in traits]
        odds = pooled(block.logprob)[1][None]
        if left_out:
            odds = np.concatenate([odds, pooled(block.logprob[np.stack(left_out)])[1]])
        by_topic.append(np.ascontiguousarray(odds[:, own]).mean(axis=-1))
    # rows in memory, so that every mean is added up in one order, whatever stands beside it
    return Odds(np.ascontiguousarray(np.transpose(by_topic)).mean(axis=-1), templates)
