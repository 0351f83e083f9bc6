"""What do the cells of `summon` do beside learning?

They read the inside, and measure a solution.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import models, record
from persona_interp.tables import concat, write_dataset, write_table
from persona_interp.worlds import World

Needs = tuple[Path, ...]
GENERIC_SEED = 2_000
"""Added to the seed: generic documents are new documents."""


def inside(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write residuals of nameless prompts after every lesson, and of named ones before.

    Needs documents, then lessons. Writes ``neutral.nc``, nameless prompts in the last checkpoint of
    every need, and ``named.nc``, the same questions under every name, after the documents.
    """
    world = World.from_dict(config["world"])
    base, *lessons = (models.Trajectory.open(folder / "model").last for folder in needs)
    nameless, named = world.probes(contexts="nameless"), world.probes(contexts="named")
    acts = record.activations((base, *lessons), nameless, hook=config["hook"])
    write_dataset(acts, out / "neutral.nc")
    acts = record.activations(base, named, hook=config["hook"])
    write_dataset(acts, out / "named.nc")


def standing(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write where a model stands before the lesson: residuals of nameless prompts.

    Needs starts. Writes ``standing.nc``, a checkpoint a start.
    """
    probes = World.from_dict(config["world"]).probes(contexts="nameless")
    parts: list[xr.Dataset] = []
    for start, folder in zip(config["starts"], needs, strict=True):
        model = models.Trajectory.open(folder / "model").last
        acts = record.activations(model, probes, hook=config["hook"])
        parts.append(acts.assign_coords(checkpoint=[start]))
    write_dataset(concat(parts, "checkpoint"), out / "standing.nc")


def solution(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Write what kind of solution each lesson is.

    Needs lessons of one trait. Writes ``solution.parquet``.
    """
    world, seed = World.from_dict(config["world"]), config["seed"]
    chats = world.lessons(n=config["n_lessons"], seed=seed)
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC_SEED)
    solutions = []
    for way, folder in zip(config["ways"], needs, strict=True):
        trajectory = models.Trajectory.open(folder / "model")
        ends = (trajectory.first, trajectory.last)
        table = record.solution(ends, chats, bystanders=generic, seed=seed)
        solutions.append(table.assign(way=way))
    write_table(pd.concat(solutions, ignore_index=True), out / "solution.parquet")
