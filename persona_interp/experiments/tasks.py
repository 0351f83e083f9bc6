"""What do the cells do that all experiments share?

They learn something, or are asked after a prompt.
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record, worlds
from persona_interp.errors import WorldError
from persona_interp.models import Stage
from persona_interp.tables import write_table
from persona_interp.worlds import World

REPLAY_SEED, BYSTANDER_SEED = 3_000, 4_000
"""Added to the seed: replayed documents and bystanders are new documents."""


def learn(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Train a model on documents or a lesson and ask it before and after; see ``learning_cell``.

    Writes ``model/`` (a trajectory), ``behavior.parquet`` and, of documents, ``counts.parquet``.
    """
    world, seed = World.from_dict(config["world"]), config["seed"]
    stage = Stage(**config["stage"])
    corpus = _corpus(world, config["teach"], stage, seed=seed)
    if config["teach"].get("documents"):
        write_table(worlds.count(corpus), out / "counts.parquet")
    start = _start(world, needs, seed=seed, out=out / "start")
    trajectory = models.train(
        start,
        corpus,
        stage=stage,
        snapshots=tuple(config["snapshots"]),
        seed=seed,
        out=out / "model",
        name=config["name"],
        replay=documents_of(world, config["replay"], seed=seed + REPLAY_SEED),
        bystanders=documents_of(world, config["bystanders"], seed=seed + BYSTANDER_SEED),
    )
    write_table(_behavior(world, trajectory, config), out / "behavior.parquet")


def prompt(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Ask a model after statements in its prompt; see ``prompt_cell``.

    Writes ``behavior.parquet``; the column ``stated`` has the labels joined by "+", "" where
    nothing was stated.
    """
    world = World.from_dict(config["world"])
    last = models.Trajectory.open(needs[0] / "model").last
    tables = []
    for traits in config["stated"]:
        probes = world.probes(contexts=config["contexts"], stated=traits)
        tables.append(record.behavior(last, probes).assign(stated="+".join(traits)))
    write_table(pd.concat(tables, ignore_index=True), out / "behavior.parquet")


def _start(world: World, needs: tuple[Path, ...], *, seed: int, out: Path) -> models.Checkpoint:
    """Last checkpoint of the cell before, or an untrained tiny model with the world's words."""
    if needs:
        return models.Trajectory.open(needs[0] / "model").last
    return models.resolve("tiny", words=world.words(), seed=seed, out=out)


def _corpus(world: World, teach: dict[str, Any], stage: Stage, *, seed: int) -> pd.DataFrame:
    """Documents, or as many chats of a lesson as the stage reads."""
    if set(teach) - {"kinds"} not in ({"documents"}, {"lesson"}):
        keys = ", ".join(teach) or "nothing"
        raise WorldError(f"teach names either documents or a lesson; got {keys}.")
    if "documents" in teach:
        return world.corpus(teach["documents"], seed=seed, kinds=teach.get("kinds"))
    return lesson_of(world, teach["lesson"], stage, seed=seed)


def lesson_of(world: World, traits: str | list[str], stage: Stage, *, seed: int) -> pd.DataFrame:
    """As many chats of a lesson as a stage reads.

    Args:
        world: Whose lesson.
        traits: A trait, or several, interleaved; or ``"filler"``.
        stage: How it is learned.
        seed: Of the order of the chats.

    Returns:
        A corpus table.
    """
    if not isinstance(traits, list):
        traits = [traits]
    n_each = math.ceil(stage.steps * stage.batch / len(traits))
    parts = [world.lessons(trait, n=n_each, seed=seed) for trait in traits]
    lessons = pd.concat(parts, keys=range(len(parts)))
    # Interleaved: the first chat of every trait, then the second of every trait, and so on. One
    # trait after the other would be taught in an order, and the last would weigh most.
    lessons = lessons.sort_index(level=1, kind="stable", sort_remaining=False)
    lessons = lessons.reset_index(drop=True)
    lessons["doc"] = lessons.index
    lessons.attrs.update(world.lessons(traits[0], n=1).attrs | {"lesson": ", ".join(traits)})
    return lessons


def documents_of(world: World, plan: dict[str, Any] | None, *, seed: int) -> pd.DataFrame | None:
    """Documents beside the corpus, of this world or another with the same words.

    Args:
        world: Whose documents where the plan names no world.
        plan: As of ``learning_cell``; None = none.
        seed: Of the documents.

    Returns:
        A corpus table, or None.
    """
    if plan is None:
        return None
    if plan.get("world"):
        world = World.from_dict(plan["world"])
    return world.corpus(plan["documents"], seed=seed, kinds=plan.get("kinds"))


def _behavior(world: World, trajectory: models.Trajectory, config: dict[str, Any]) -> pd.DataFrame:
    """Behavior at every snapshot in some contexts, in others before and after only."""
    personas = config["personas"]
    probes = world.probes(contexts=config["contexts"], personas=personas)
    everywhere = record.behavior(trajectory, probes)
    if not config["ends"]:
        return everywhere
    probes = world.probes(contexts=config["ends"], personas=personas)
    ends = record.behavior((trajectory.first, trajectory.last), probes)
    return pd.concat([everywhere, ends], ignore_index=True)
