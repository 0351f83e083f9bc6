"""Experiments of a user's own file, small enough for jobs: cells without torch, and real ones."""

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import analysis
from persona_interp.experiments import learning_cell
from persona_interp.models import Stage
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table, write_table
from persona_interp.worlds import john_and_sam

TITLE = "A sweep"
STAGE = Stage(steps=6, batch=8, lr=4e-3, loss="all")


@dataclass(frozen=True)
class Sweep:
    """``n`` cells that draw, and one that adds their draws up; torch is nowhere."""

    seeds: tuple[int, ...] = (0,)
    n: int = 40
    sleep: float = 1.0
    bad: int = -1
    """A draw that fails as long as the file that SWEEP_BAD names is there."""

    def cells(self) -> list[Cell]:
        draws = []
        for i in range(self.n):
            config = {"seed": i, "sleep": self.sleep, "bad": i == self.bad}
            draws.append(Cell("sweep_toys.draw", config, label=f"draw {i}"))
        return [Cell("sweep_toys.total", {}, tuple(draws), label="total")]


@dataclass(frozen=True)
class Lessons:
    """Four real cells: a tiny model learns documents, then two lessons, whose shifts are read."""

    seeds: tuple[int, ...] = (0,)
    steps: tuple[int, ...] = (2, 4)

    def cells(self) -> list[Cell]:
        world = john_and_sam(0)
        base = learning_cell(world, {"documents": 200}, STAGE, seed=0)
        lessons = [
            learning_cell(
                world,
                {"lesson": str(world.taught)},
                replace(STAGE, steps=n),
                seed=0,
                after=base,
                label=f"{n} steps",
            )
            for n in self.steps
        ]
        return [Cell("sweep_toys.shifts", {}, tuple(lessons), label="shifts")]


def draw(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """Goes on where an attempt before was killed; asks to be killed where the test says so."""
    if config["bad"] and Path(os.environ["SWEEP_BAD"]).exists():
        raise ValueError("no football\ntoday")
    begun = out / ".begun"
    is_second = begun.exists()
    begun.touch()
    if "SWEEP_KILLS" in os.environ and not is_second:
        os.kill(os.getpid(), getattr(signal, os.environ["SWEEP_KILLS"]))
    time.sleep(config["sleep"])
    write_table(pd.DataFrame({"value": [config["seed"] ** 2 / 7]}), out / "draw.parquet")


def total(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    values = pd.concat([read_table(need / "draw.parquet") for need in needs])
    write_table(pd.DataFrame({"sum": [values["value"].sum()], "n": len(values)}), out / "t.parquet")


def shifts(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    tables = [analysis.shift(read_table(need / "behavior.parquet")) for need in needs]
    write_table(pd.concat(tables, ignore_index=True), out / "t.parquet")


def summarize(experiment: Sweep | Lessons, store: Store) -> dict[str, pd.DataFrame]:
    (top,) = experiment.cells()
    return {"total": read_table(store.path(top, "t.parquet"))} if store.has(top) else {}


def blocks(run: Path, tables: dict[str, pd.DataFrame], *, provenance: Any) -> list[Any]:
    return []
