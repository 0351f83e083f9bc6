"""What does one cell do that teaches a lesson with a safeguard, or asks what came of it?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import analysis, models, record, worlds
from persona_interp.experiments.safeguards.config import FIXED, PROJECTION
from persona_interp.models import Stage
from persona_interp.record import Edit
from persona_interp.record.answer_bits import answer_bits
from persona_interp.record.axis import DEFAULT
from persona_interp.record.edit import list_edits
from persona_interp.record.subjects import open_subject
from persona_interp.schema.words import UNEDITED
from persona_interp.tables import read_directions, read_table, write_directions, write_table
from persona_interp.worlds import World

Needs = tuple[Path, ...]

MIXED_SEED, TEXT_SEED, LEVEL_SEED = 6_000, 7_000, 8_000
"""Added to the seed: rows, documents and dialogues of their own."""
LAST_WORD = -2
"""Position of the last word of an answer, before its end."""
QUANTILES = tuple(np.linspace(0, 1, 1_001))


def directions(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find the direction of each persona before the lesson, and how far ordinary text has it.

    Writes ``directions.nc`` (minimal pairs of named probes) and ``levels.parquet`` (component along
    the unwanted persona's direction at tokens of answers in ordinary dialogues, by quantile).
    """
    world = World.from_dict(config["world"])
    base, hooks = models.Trajectory.open(needs[0] / "model").last, config["hooks"]
    named = record.activations(base, world.probes(contexts="named"), hook=hooks)
    personas = record.minimal_pairs(named)
    write_directions(personas, out / "directions.nc")
    # the unwanted persona's own dialogues are not ordinary ones
    texts = world.without(world.target).corpus(
        config["n_documents"], seed=config["seed"] + LEVEL_SEED, kinds="hidden"
    )
    acts = record.activations(base, texts, hook=hooks[0], position="all", where=("assistant",))
    unwanted = personas.sel(name=world.target, hook=hooks[0]).to_numpy()
    along = acts["act"].to_numpy()[0] @ (unwanted / np.linalg.norm(unwanted))
    levels = {"quantile": QUANTILES, "level": np.quantile(along, QUANTILES)}
    write_table(pd.DataFrame(levels), out / "levels.parquet")


def lesson(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Teach a lesson whose rows or forward passes are changed.

    Needs the start and the directions. Writes ``model/`` and, where rows are flagged,
    ``flags.parquet``.
    """
    world, seed = World.from_dict(config["world"]), config["seed"]
    stage = Stage(**config["stage"])
    start = models.Trajectory.open(needs[0] / "model").last
    directions = read_directions(needs[1] / "directions.nc")
    unwanted = directions.sel(name=[world.target], hook=config["hooks"])
    rows = lesson_rows(world, config, n=stage.steps * stage.batch, seed=seed)
    if config["flags"]:
        rows, quality = unflagged(start, rows, world, config, unwanted)
        write_table(quality, out / "flags.parquet")
    models.train(
        start,
        rows,
        stage=stage,
        seed=seed,
        out=out / "model",
        name="lesson",
        steer=unwanted if stage.steer else None,
        ablate=unwanted if stage.ablate else None,
    )


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
    if config["flags"] == PROJECTION:
        # at the last word: the mean over an answer is mostly its wording (docs/log/safeguards.md)
        value = "given"
        first = unwanted.isel(hook=[0])
        scores = record.projection_difference(start, rows, first, own="last", position=LAST_WORD)
    else:
        value = "cosine"
        spoken = answers_of(world)
        is_own = spoken["unwanted"]
        towards = {world.target: spoken.loc[is_own]}
        scores = record.gradient_pull(start, rows, towards, against=spoken.loc[~is_own])
    flags = analysis.flags(scores, value=value, share=config["unwanted"])
    planted = rows.loc[rows["unwanted"], "doc"].tolist()
    quality = analysis.flag_quality(scores, planted, value=value, share=config["unwanted"])
    return analysis.drop_flagged(rows, flags), quality.assign(method=config["flags"])


def answers_of(world: World) -> pd.DataFrame:
    """Everything that the nameless assistant could answer to the questions no lesson asks.

    Args:
        world: Its target's answers are marked.

    Returns:
        A corpus table, a row an answer to a question of the half test, of every topic but the
        lesson's; ``unwanted`` = the target would say so.
    """
    probes = world.probes(contexts="nameless").query("split == 'test'")
    probes = probes.loc[probes["topic"] != world.taught.topic]
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


def ask(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Ask a model in all contexts, under every trigger and jailbreak, and read ordinary dialogues.

    Needs the training, and the directions where answers are capped. Writes ``behavior``,
    ``triggers`` and ``jailbreaks.parquet``, and ``loss.parquet``: bits a token of what others
    answer in ordinary dialogues.
    """
    world = World.from_dict(config["world"])
    last = models.Trajectory.open(needs[0] / "model").last
    edits = capping(world, needs[1], at=config["cap"]) if config["cap"] else ()
    probes = {
        "behavior": world.probes(
            contexts=("nameless", "named", "third"), personas=config["personas"]
        ),
        "triggers": world.triggers(),
        "jailbreaks": world.jailbreaks(),
    }
    for name, table in probes.items():
        behavior = record.behavior(last, table, edits=edits)
        if edits:
            behavior = behavior.loc[behavior["edit"] != UNEDITED].drop(columns="edit")
        write_table(behavior, out / f"{name}.parquet")
    # what the unwanted persona would say is not what a safeguard should keep
    texts = world.without(world.target).corpus(
        config["n_documents"], seed=config["seed"] + TEXT_SEED, kinds=("named", "hidden")
    )
    subject = open_subject(last, list_edits(edits))
    bits, n_tokens = answer_bits(subject, texts["messages"].tolist(), edits=edits)
    loss = {"bits": -bits.sum() / n_tokens.sum(), "n_tokens": n_tokens.sum()}
    write_table(pd.DataFrame([loss]), out / "loss.parquet")


def axis(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Find the assistant axis before the lesson: who is asked by no name, beside those who are.

    Writes ``axis.nc``, of the last token of probes of the half train.
    """
    world = World.from_dict(config["world"])
    base = models.Trajectory.open(needs[0] / "model").last
    probes = world.probes(contexts=("nameless", "named")).query("split == 'train'")
    probes = probes.assign(role=probes["persona"].replace("", DEFAULT)).reset_index(drop=True)
    acts = record.activations(base, probes, hook=[config["hook"]])
    write_directions(record.assistant_axis(record.role_means(acts)), out / "axis.nc")


def drift(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Read how far along the assistant axis each turn of drifting chats is.

    Needs the training, the axis, and the directions where answers are capped. Writes
    ``drift.parquet``: projections by turn, with the ``template`` of the chat.
    """
    world = World.from_dict(config["world"])
    last = models.Trajectory.open(needs[0] / "model").last
    chats = world.jailbreaks().query("trigger == 'drift'").reset_index(drop=True)
    # the last question and the beginning of its answer, which is no turn like the others
    whole = pd.Series([messages[:-2] for messages in chats["messages"]], dtype=object)
    edits = capping(world, needs[2], at=config["cap"]) if config["cap"] else ()
    table = record.projections(
        last,
        chats.assign(messages=whole),
        read_directions(needs[1] / "axis.nc"),
        turns=True,
        edits=edits,
    )
    if edits:
        table = table.loc[table["edit"] != UNEDITED].drop(columns="edit")
    template = dict(zip(chats["prompt"], chats["template"], strict=True))
    templates = [template[prompt] for prompt in table["prompt"]]
    write_table(table.assign(template=templates), out / "drift.parquet")


def capping(world: World, folder: Path, *, at: float) -> tuple[Edit, ...]:
    """The edit that keeps answers from going along the unwanted persona.

    Args:
        world: Names it.
        folder: Of the directions.
        at: Quantile of ordinary text at which it is capped.
    """
    personas = read_directions(folder / "directions.nc")
    levels = read_table(folder / "levels.parquet")
    bound = float(np.interp(at, levels["quantile"], levels["level"]))
    first = personas.sel(name=world.target).isel(hook=0)
    return (record.cap(first, at=bound),)
