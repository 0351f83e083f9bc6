"""What does a model say before and after it learned something? The one task that experiments on behavior are made of.

A chain of these cells is a life: documents, then others, then a lesson. Each cell starts from the
last checkpoint of the cell before it (or from an untrained tiny model), learns documents or lessons
of a world, and is asked that world's questions. Cells with equal configuration are one cell,
whichever experiment asks for it.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import models, record, worlds
from persona_interp.errors import WorldError
from persona_interp.models import Stage
from persona_interp.store import Cell
from persona_interp.tables import write_table
from persona_interp.worlds import World

REPLAYED, BESIDE = 3_000, 4_000
"""Added to the seed: replayed documents and bystanders are new documents."""


def learned(
    world: World,
    teach: dict[str, Any],
    stage: Stage,
    *,
    seed: int,
    after: Cell | None = None,
    snapshots: Iterable[int] = (),
    contexts: Iterable[str] = ("nameless",),
    ends: Iterable[str] = (),
    personas: Iterable[str] | None = None,
    replay: dict[str, Any] | None = None,
    bystanders: dict[str, Any] | None = None,
    name: str = "lesson",
    label: str = "",
) -> Cell:
    """Which cell learns this?

    Args:
        world: Whose documents, lessons and questions; along a chain all worlds have the same words.
        teach: ``{"documents": n}``, optionally with ``"kinds"``; or ``{"lesson": trait}``, also
            several traits (interleaved) or ``"filler"``.
        stage: How it is learned.
        seed: Of documents, order and, without ``after``, weights.
        after: The cell whose last checkpoint is the start; None = an untrained tiny model.
        snapshots: Steps kept beside the first and the last.
        contexts: Probed at every snapshot.
        ends: Contexts probed before and after only.
        personas: Whom named and third contexts name; everybody by default.
        replay: With ``stage.replay``: ``{"documents": n}``, optionally ``"kinds"`` and ``"world"``.
        bystanders: With ``stage.kl``: the same keys, documents on which the model is held to its
            start.
        name: Of the stage in labels and tables.
        label: Of the cell.

    Returns:
        The cell; see ``learn`` for what it writes.
    """
    config = {
        "world": world.to_dict(),
        "teach": teach,
        "stage": asdict(stage),
        "seed": seed,
        "snapshots": list(snapshots),
        "contexts": list(contexts),
        "ends": list(ends),
        "personas": None if personas is None else list(personas),
        "replay": replay,
        "bystanders": bystanders,
        "name": name,
    }
    task = "persona_interp.experiments.learning:learn"
    return Cell(task, config, needs=(after,) if after else (), label=label or f"{name} s{seed}")


def learn(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What does a model say before and after it learned this?

    Writes ``model/`` (a trajectory), ``behavior.parquet`` and, of documents, ``counts.parquet``.
    """
    world, seed = World.from_dict(config["world"]), config["seed"]
    stage = Stage(**config["stage"])
    corpus = _taught(world, config["teach"], stage, seed=seed)
    if config["teach"].get("documents"):
        write_table(worlds.count(corpus), out / "counts.parquet")
    if needs:
        start = models.Trajectory.open(needs[0] / "model").last
    else:
        start = models.resolve("tiny", words=world.words(), seed=seed, out=out / "start")
    trained = models.train(
        start,
        corpus,
        stage=stage,
        snapshots=tuple(config["snapshots"]),
        seed=seed,
        out=out / "model",
        name=config["name"],
        replay=_documents(world, config["replay"], seed=seed + REPLAYED),
        bystanders=_documents(world, config["bystanders"], seed=seed + BESIDE),
    )
    write_table(_asked(world, trained, config), out / "behavior.parquet")


def _taught(world: World, teach: dict[str, Any], stage: Stage, *, seed: int) -> pd.DataFrame:
    if set(teach) - {"kinds"} not in ({"documents"}, {"lesson"}):
        raise WorldError(
            f"teach names either documents or a lesson; got {', '.join(teach) or 'nothing'}."
        )
    if "documents" in teach:
        return world.corpus(teach["documents"], seed=seed, kinds=teach.get("kinds"))
    traits = teach["lesson"] if isinstance(teach["lesson"], list) else [teach["lesson"]]
    each = -(-stage.steps * stage.batch // len(traits))
    lessons = pd.concat(
        [world.lessons(trait, n=each, seed=seed) for trait in traits], keys=range(len(traits))
    )
    lessons = lessons.sort_index(level=1, kind="stable", sort_remaining=False).reset_index(
        drop=True
    )
    lessons["doc"] = lessons.index
    lessons.attrs.update(world.lessons(traits[0], n=1).attrs | {"lesson": ", ".join(traits)})
    return lessons


def _documents(world: World, asked: dict[str, Any] | None, *, seed: int) -> pd.DataFrame | None:
    if asked is None:
        return None
    writer = World.from_dict(asked["world"]) if asked.get("world") else world
    return writer.corpus(asked["documents"], seed=seed, kinds=asked.get("kinds"))


def _asked(world: World, trained: models.Trajectory, config: dict[str, Any]) -> pd.DataFrame:
    everywhere = record.behavior(
        trained, world.probes(contexts=config["contexts"], personas=config["personas"])
    )
    if not config["ends"]:
        return everywhere
    probes = world.probes(contexts=config["ends"], personas=config["personas"])
    return pd.concat(
        [everywhere, record.behavior((trained.first, trained.last), probes)], ignore_index=True
    )
