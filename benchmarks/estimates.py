"""Is a run's cost what `estimate` says before it? Seconds, peak memory and bytes, side by side.

    python benchmarks/estimates.py [NAME ...]

Of each case an estimate is made, then the run is computed by one process of its own. Seconds are of
the CPU, so that other jobs of the machine do not count. The estimate must be within 5 % in bytes,
25 % in memory and a factor of two in time; the last column says so.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pandas as pd

from persona_interp.experiments import compute, estimate, preset

CASES: dict[str, Callable[[], Any]] = {
    "generators": lambda: preset("quick", "generators", arms=("titled, scrambled",)),
    "evidence": lambda: preset("quick", "evidence"),
}
LIMITS = {"seconds": 2.0, "peak_bytes": 1.25, "disk_bytes": 1.05}
"""Largest ratio, either way."""


def measure(name: str, folder: Path) -> dict[str, float]:
    """What a run takes in this process, which has computed nothing before."""
    began = time.process_time()
    compute(CASES[name](), folder, workers=0, progress=False)
    files = [path for path in (folder / "cells").rglob("*") if path.is_file()]
    return {
        "seconds": time.process_time() - began,
        "peak_bytes": getrusage(RUSAGE_SELF).ru_maxrss * 1024,
        "disk_bytes": sum(path.stat().st_size for path in files),
    }


def compare(name: str) -> pd.DataFrame:
    """One row a quantity: estimated, measured, their ratio, and whether it is within the limit."""
    estimated = estimate(CASES[name]())
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        measured = pool.submit(measure, name, Path(folder) / "run").result()
    rows = []
    for quantity, limit in LIMITS.items():
        said, was = getattr(estimated, quantity), measured[quantity]
        ratio = said / was
        is_within = 1 / limit <= ratio <= limit
        rows.append((name, quantity, said, was, round(ratio, 3), "yes" if is_within else "NO"))
    columns = ["run", "quantity", "estimated", "measured", "ratio", "within"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    tables = [compare(name) for name in sys.argv[1:] or CASES]
    print(pd.concat(tables, ignore_index=True).to_string(index=False))
