"""Tasks that take no time, for the tests of the store and the pool.

The file that TOY_CALLS names counts who was computed, across processes.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp.experiments import cells as pool
from persona_interp.experiments.wings import wing_named
from persona_interp.store import Cell, Store
from persona_interp.tables import read_table, write_dataset, write_json, write_table


def _count(name: str) -> None:
    if calls := os.environ.get("TOY_CALLS"):
        with Path(calls).open("a") as file:
            file.write(f"{name}\n")


def draw(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    _count(f"draw {config['seed']}")
    (out / ".scratch").write_text("started")
    time.sleep(config.get("sleep", 0))
    values = np.random.default_rng(config["seed"]).normal(size=5)
    write_table(
        pd.DataFrame({"value": values, "words": [("a", "b")] * 5}), out / "deep" / "draw.parquet"
    )
    write_json({"seed": config["seed"]}, out / "about.json")


def total(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    _count("total")
    time.sleep(config.get("sleep", 0))
    sums = [read_table(folder / "deep" / "draw.parquet").value.sum() for folder in needs]
    write_dataset(xr.Dataset({"sum": ("need", sums)}), out / "total.nc")


def resume(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    """Counts its attempts in a file that stays in the work folder; fails the first time."""
    attempts = out / ".attempts"
    before = int(attempts.read_text()) if attempts.exists() else 0
    attempts.write_text(str(before + 1))
    if not before:
        raise OSError("first attempt\nof two")
    write_json(before, out / "attempts.json")


def fail(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    raise ValueError("no football\ntoday")


def die(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    pass


def link(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    (out / "link").symlink_to("/etc/hostname")


def interrupt(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    raise KeyboardInterrupt


def threads(config: dict, needs: tuple[Path, ...], out: Path) -> None:
    write_json(
        [os.environ["OMP_NUM_THREADS"], "torch" in sys.modules, os.getpid()], out / "threads.json"
    )


def cells(n: int = 3, *, sleep: float = 0.0) -> list[Cell]:
    """One cell that needs n others."""
    draws = tuple(
        Cell("toy_tasks.draw", {"seed": s, "sleep": sleep}, label=f"draw {s}") for s in range(n)
    )
    return [Cell("toy_tasks.total", {"sleep": sleep}, draws)]


def run(cells: list[Cell], store: Store, **settings: Any) -> Store:
    """Compute cells whose tasks are in this file."""
    return pool.run(cells, store, wing=wing_named(f"{__file__}:Toy"), **settings)


def content(store: Store) -> dict[str, bytes]:
    """Every committed file, byte for byte."""
    folder = store.root / "cells"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


if __name__ == "__main__":  # toy_tasks.py ROOT WORKERS N SLEEP
    # A background job inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root, workers, n, sleep = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    run(cells(int(n), sleep=float(sleep)), Store(root), workers=int(workers), progress=False)
