"""What does one cell do that teaches a lesson with a safeguard, or asks what came of it?"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import models, record
from persona_interp.experiments.safeguards.rows import lesson_rows, unflagged
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

TEXT_SEED, LEVEL_SEED = 7_000, 8_000
"""Added to the seed: documents and dialogues of their own."""
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
    write_levels(acts, personas.sel(name=world.target, hook=hooks[0]), out)


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


def ask(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Ask a model in all contexts, under every trigger and jailbreak, and read ordinary dialogues.

    Needs the training, and the directions where answers are capped. Writes ``behavior``,
    ``triggers`` and ``jailbreaks.parquet``, and ``loss.parquet``: bits a token of what others
    answer in ordinary dialogues.
    """
    world = World.from_dict(config["world"])
    last = models.Trajectory.open(needs[0] / "model").last
    edits = _capping(world, needs[1], at=config["cap"]) if config["cap"] else ()
    probes = {
        "behavior": world.probes(
            contexts=("nameless", "named", "third"), personas=config["personas"]
        ),
        "triggers": world.triggers(),
        "jailbreaks": world.jailbreaks(),
    }
    for name, table in probes.items():
        behavior = under(record.behavior(last, table, edits=edits))
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
    edits = _capping(world, needs[2], at=config["cap"]) if config["cap"] else ()
    table = record.projections(
        last,
        chats.assign(messages=whole),
        read_directions(needs[1] / "axis.nc"),
        turns=True,
        edits=edits,
    )
    table = under(table)
    template = dict(zip(chats["prompt"], chats["template"], strict=True))
    templates = [template[prompt] for prompt in table["prompt"]]
    write_table(table.assign(template=templates), out / "drift.parquet")


def write_levels(acts: xr.Dataset, direction: xr.DataArray, out: Path) -> None:
    """Write how far tokens have a direction: ``levels.parquet``, its component by quantile.

    Args:
        acts: Activations of one checkpoint, a row a token.
        direction: At their hook; its length does not count.
        out: Folder.
    """
    vector = direction.to_numpy()
    along = acts["act"].to_numpy()[0] @ (vector / np.linalg.norm(vector))
    levels = {"quantile": QUANTILES, "level": np.quantile(along, QUANTILES)}
    write_table(pd.DataFrame(levels), out / "levels.parquet")


def capping(direction: xr.DataArray, folder: Path, *, at: float) -> tuple[Edit, ...]:
    """The edit that keeps answers from going along a direction further than other text does.

    Args:
        direction: One, at one hook.
        folder: Of its ``write_levels``.
        at: Quantile of that text at which it is capped.

    Returns:
        One edit.
    """
    levels = read_table(folder / "levels.parquet")
    bound = float(np.interp(at, levels["quantile"], levels["level"]))
    return (record.cap(direction, at=bound),)


def under(table: pd.DataFrame) -> pd.DataFrame:
    """What was recorded under an edit, without the unedited model's rows.

    Args:
        table: Of a recorder, with ``edit`` where there was one.

    Returns:
        The table without that column.

    >>> under(pd.DataFrame({"edit": ["none", "cap"], "logprob": [-1.0, -2.0]})).values.tolist()
    [[-2.0]]
    """
    if "edit" not in table:
        return table
    return table.loc[table["edit"] != UNEDITED].drop(columns="edit")


def _capping(world: World, folder: Path, *, at: float) -> tuple[Edit, ...]:
    """The edit that keeps answers from going along the unwanted persona."""
    personas = read_directions(folder / "directions.nc")
    return capping(personas.sel(name=world.target).isel(hook=0), folder, at=at)
