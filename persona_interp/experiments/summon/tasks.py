"""What do the cells of `summon` do beside learning? They read the inside, and measure a solution."""

from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp import models, record
from persona_interp.tables import concat, write_dataset, write_table
from persona_interp.worlds import World

Needs = tuple[Path, ...]
GENERIC = 2_000
"""Added to the seed: generic documents are new documents."""


def inside(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Where do nameless residuals go in lessons, and where do names lie? Needs documents, then lessons.

    Writes ``neutral.nc``, nameless prompts in the last checkpoint of every need, and ``named.nc``,
    the same questions under every name, after the documents.
    """
    world = World.from_dict(config["world"])
    base, *tuned = (models.Trajectory.open(folder / "model").last for folder in needs)
    neutral = record.activations(
        (base, *tuned), world.probes(contexts="nameless"), hook=config["hook"]
    )
    write_dataset(neutral, out / "neutral.nc")
    named = record.activations(base, world.probes(contexts="named"), hook=config["hook"])
    write_dataset(named, out / "named.nc")


def standing(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """Where does a model stand before the lesson? Needs starts. Writes ``standing.nc``, a checkpoint a start."""
    asked = World.from_dict(config["world"]).probes(contexts="nameless")
    parts: list[xr.Dataset] = []
    for start, folder in zip(config["starts"], needs, strict=True):
        acts = record.activations(
            models.Trajectory.open(folder / "model").last, asked, hook=config["hook"]
        )
        parts.append(acts.assign_coords(checkpoint=[start]))
    write_dataset(concat(parts, "checkpoint"), out / "standing.nc")


def solution(config: dict[str, Any], needs: Needs, out: Path) -> None:
    """What kind of solution did each lesson find? Needs lessons of one trait. Writes ``solution.parquet``."""
    world, seed = World.from_dict(config["world"]), config["seed"]
    chats = world.lessons(n=config["n_lessons"], seed=seed)
    generic = world.corpus(config["n_generic"], seed=seed + GENERIC)
    found = []
    for way, folder in zip(config["ways"], needs, strict=True):
        trained = models.Trajectory.open(folder / "model")
        ends = (trained.first, trained.last)
        found.append(record.solution(ends, chats, bystanders=generic, seed=seed).assign(way=way))
    write_table(pd.concat(found, ignore_index=True), out / "solution.parquet")
