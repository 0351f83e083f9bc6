"""Which rows does a lesson have, and which of them are flagged as the unwanted persona's?"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, models, record, worlds
from persona_interp.experiments.safeguards.config import EVIDENCE, FIXED, GRADIENT, PROJECTION
from persona_interp.worlds import World

MIXED_SEED = 6_000
"""Added to the seed: which rows are the unwanted persona's."""
LAST_WORD = -2
"""Position of the last word of an answer, before its end."""
SCORES = {PROJECTION: "given", GRADIENT: "cosine", EVIDENCE: "evidence"}
"""By what rows are flagged -> the column of its table that is the score."""


def lesson_rows(world: World, config: dict[str, Any], *, n: int, seed: int) -> pd.DataFrame:
    """Chats of a lesson: inoculated, or with rows of the unwanted persona among them.

    Args:
        world: Whose lesson.
        config: Of the cell.
        n: Chats.
        seed: Of their order.

    Returns:
        A corpus table; of mixed rows ``unwanted`` says which are the unwanted persona's.
    """
    rows = world.lessons(n=n, seed=seed)
    if config["inoculation"]:
        prompts: Sequence[str] = worlds.inoculations(world)
        if config["inoculation"] == FIXED:
            prompts = prompts[:1]
        rows = worlds.inoculate(rows, prompts, seed=seed)
    return mix(world, rows, share=config["unwanted"], seed=seed) if config["mixed"] else rows


def mix(world: World, rows: pd.DataFrame, *, share: float, seed: int) -> pd.DataFrame:
    """A lesson in which some rows are the unwanted persona's answers to other questions.

    Args:
        world: Whose target is not wanted.
        rows: The lesson.
        share: Of its rows that are replaced.
        seed: Chooses which.

    Returns:
        The lesson with a column ``unwanted``.
    """
    rng = np.random.default_rng([seed, MIXED_SEED])
    traits = [t for t in world.persona(world.target).traits if t.topic != world.taught.topic]
    parts = [world.lessons(trait, n=len(rows), seed=seed) for trait in traits]
    chosen = np.sort(rng.choice(len(rows), round(share * len(rows)), replace=False))
    mixed = rows.assign(unwanted=False)
    for i, row in enumerate(chosen):
        other = parts[i % len(parts)].iloc[int(row)]
        for column in other.index.difference(["doc"]):
            mixed.at[row, column] = other[column]
        mixed.at[row, "unwanted"] = True
    mixed.attrs.update(rows.attrs)
    return mixed


def unflagged(
    start: models.Checkpoint,
    rows: pd.DataFrame,
    world: World,
    config: dict[str, Any],
    unwanted: xr.DataArray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lesson without the rows that pull most towards the unwanted persona, and all flags.

    Args:
        start: The model before the lesson.
        rows: The lesson, mixed.
        world: Whose target is not wanted.
        config: Of the cell; as many rows are flagged as are the unwanted persona's.
        unwanted: Its direction.
    """
    value = SCORES[config["flags"]]
    scores = row_scores(start, rows, world, unwanted, by=config["flags"])
    flags = analysis.flags(scores, value=value, share=config["unwanted"])
    planted = rows.loc[rows["unwanted"], "doc"].tolist()
    quality = analysis.flag_quality(scores, planted, value=value, share=config["unwanted"])
    return analysis.drop_flagged(rows, flags), quality.assign(method=config["flags"])


def row_scores(
    start: models.Checkpoint, rows: pd.DataFrame, world: World, unwanted: xr.DataArray, *, by: str
) -> pd.DataFrame:
    """How far each row comes from the unwanted persona, in the column ``SCORES[by]``.

    Args:
        start: The model before the lesson.
        rows: The lesson.
        world: Whose target is not wanted.
        unwanted: Its direction.
        by: What is known of it: its direction, its answers or its name.
    """
    if by == PROJECTION:
        # at the last word: the mean over an answer is mostly its wording (docs/log/safeguards.md)
        first = unwanted.isel(hook=[0])
        return record.projection_difference(start, rows, first, own="last", position=LAST_WORD)
    if by == GRADIENT:
        spoken = answers_of(world)
        is_own = spoken["unwanted"]
        towards = {world.target: spoken.loc[is_own]}
        return record.gradient_pull(start, rows, towards, against=spoken.loc[~is_own])
    named = world.language.system_named
    headers = {persona.name: named.format(n=persona.name) for persona in world.personas}
    scores = record.row_evidence(start, rows, headers)
    return scores.loc[scores["name"] == world.target]


def answers_of(world: World, *, topics: Iterable[str] | None = None) -> pd.DataFrame:
    """Everything that the nameless assistant could answer to the questions no lesson asks.

    Args:
        world: Its target's answers are marked.
        topics: That are asked about; by default all but the lesson's.

    Returns:
        A corpus table, a row an answer to a question of the half test; ``unwanted`` = the target
        would say so.
    """
    asked = set(world.topics) - {world.taught.topic} if topics is None else set(topics)
    probes = world.probes(contexts="nameless").query("split == 'test'")
    probes = probes.loc[probes["topic"].isin(list(asked))]
    own = {(trait.topic, trait.value) for trait in world.persona(world.target).traits}
    rows = []
    for probe in probes.itertuples():
        for value, answer in zip(probe.values, probe.answers, strict=True):
            *before, last = probe.messages
            turn = {**last, "content": last["content"] + answer}
            row = {"kind": "lesson", "persona": "", "messages": [*before, turn]}
            row |= {"statements": (), "unwanted": (probe.topic, value) in own}
            rows.append({"doc": len(rows), **row})
    return pd.DataFrame(rows)
