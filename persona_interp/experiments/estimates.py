"""What will a run cost? Asked before it begins, answered by a miniature of it on this machine.

Of every kind of cell (all that differ in names, seeds and rates only) one is computed with few
steps (``miniature``), then with more until the difference is long enough to be measured. Seconds
and bytes of the whole cell lie on the line through both; memory is the most of any cell.
"""

import tempfile
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_interp.experiments.cells import pool_of
from persona_interp.experiments.experiment import Experiment, settle
from persona_interp.experiments.miniature import kind_of, shrink, steps_of
from persona_interp.experiments.probe import Trial, Work, count_work, idle_memory, time_cell
from persona_interp.experiments.wings import Wing, wing_of
from persona_interp.models.day import on_day
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.store import Cell, Store, lineage
from persona_interp.store.garbage import collect_garbage

FEWEST, TIMES = 2, 6
"""Steps of the first miniature, and how many times as many the next one has."""
LONG, SHARE = 1.0, 0.1
"""Seconds, and share of the shorter one, by which two miniatures differ that give a line."""
H200_FLOPS = {"float32": 67e12, "bfloat16": 989e12}
"""Most that the card's data sheet promises, matrix products without sparsity, TF32 off."""
H200_SHARE = 0.4
"""Of that, what is counted on: less than ``make bench-gpu`` asks of a harvest."""
H200_CALL = 1e-5
"""Seconds that the host takes to launch one operation; small models are bound by it."""


class Cost(NamedTuple):
    """What cells of one kind cost, each; see ``Estimate.kinds``."""

    label: str
    cells: int
    seconds: float
    bytes: int
    peak: int
    h200_seconds: float


@dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Attributes:
        seconds: From its beginning to the last cell, with so many workers that each have a core to
            themselves.
        workers: Processes.
        peak_bytes: Most memory of all processes together.
        disk_bytes: Of its finished cells.
        h200_seconds: Of the torch operations of all cells, on one H200, one cell after the other.
            From their number and size; no card was asked.
        h200_bytes: Most of the card's memory: what the largest cell holds beyond an idle process.
        kinds: One row a kind of cell: ``label`` of the first, ``cells``, and of each of them
            ``seconds``, ``bytes``, ``peak`` (memory of its process, bytes), ``h200_seconds``.
    """

    seconds: float
    workers: int
    peak_bytes: int
    disk_bytes: int
    h200_seconds: float
    h200_bytes: int
    kinds: pd.DataFrame

    def __str__(self) -> str:
        n = sum(self.kinds["cells"])
        return (
            f"{n} cells of {len(self.kinds)} kinds: {_time(self.seconds)} with {self.workers} "
            f"workers, at most {self.peak_bytes / 2**30:.2f} GiB of memory, "
            f"{self.disk_bytes / 2**30:.3f} GiB on disk. On one H200: "
            f"{_time(self.h200_seconds)} of torch, at most {self.h200_bytes / 2**30:.2f} GiB of "
            "its memory (from counted operations; no card was asked)."
        )


def estimate(
    experiment: Experiment,
    *,
    workers: int = 1,
    device: object = None,
    batch: Batch = AUTO,
) -> Estimate:
    """What a run of an experiment will cost on this machine, measured on a miniature of it.

    It takes about as long as one cell of every kind without its training. Cells that train nothing
    are computed whole.

    Args:
        experiment: The experiment.
        workers: Processes of the run.
        device: Where models compute, as of ``compute``.
        batch: Tokens a forward pass.

    Returns:
        Time, memory and bytes here, and what an H200 would need.

    Raises:
        StoreError: A cell fails in the miniature, or this is no Linux.
        ModelError: The start or the device is not there.
    """
    with tempfile.TemporaryDirectory(prefix="estimate-") as folder, on_device(device, batch=batch):
        settled = settle(experiment, Path(folder) / "settled")
        cells, wing = lineage(settled.cells), wing_of(settled.experiment)
        kinds: dict[str, list[Cell]] = {}
        for cell in cells:
            kinds.setdefault(kind_of(cell), []).append(cell)
        with on_day(settled.day), pool_of(1, apart=True) as pool:
            idle = pool.submit(idle_memory).result()
            costs = _costs(kinds, Path(folder) / "miniature", wing, pool=pool)
    seconds = {cell.id: costs[kind].seconds for kind, group in kinds.items() for cell in group}
    each = list(costs.values())
    n = max(1, workers)
    return Estimate(
        seconds=_makespan(cells, seconds, workers=n),
        workers=n,
        peak_bytes=n * max(cost.peak for cost in each),
        disk_bytes=sum(cost.bytes * cost.cells for cost in each),
        h200_seconds=sum(cost.h200_seconds * cost.cells for cost in each),
        h200_bytes=max(0, max(cost.peak for cost in each) - idle),
        kinds=pd.DataFrame(each, columns=list(Cost._fields)),
    )


def _costs(
    kinds: dict[str, list[Cell]], root: Path, wing: Wing, *, pool: Executor
) -> dict[str, Cost]:
    """Cost of each kind of cell, from the first cell of each."""
    store, small = Store(root), dict[str, Cell]()
    firsts = {group[0].id: kind for kind, group in kinds.items()}
    costs: dict[str, Cost] = {}
    for cell in lineage(group[0] for group in kinds.values()):
        needs = tuple(small[need.id] for need in cell.needs)

        def miniature(most: int, cell: Cell = cell, needs: tuple[Cell, ...] = needs) -> Cell:
            return Cell(cell.task, shrink(cell.config, most), needs, cell.label)

        small[cell.id] = miniature(FEWEST)
        if cell.id in firsts:
            kind = firsts[cell.id]
            costs[kind] = _cost(cell, miniature, store, wing=wing, pool=pool, n=len(kinds[kind]))
        else:
            pool.submit(time_cell, small[cell.id], root, wing).result()
    return costs


def _cost(cell: Cell, miniature: Any, store: Store, *, wing: Wing, pool: Executor, n: int) -> Cost:
    """Cost of a cell of which there are n."""
    full, works, trials = steps_of(cell.config), list[Work](), list[Trial]()
    smallest = miniature(FEWEST)

    def again(most: int, measure: Any) -> Any:
        small = miniature(most)
        _forget(small, store)  # what was measured once is measured again
        result = pool.submit(measure, small, store.root, wing).result()
        if small.id != smallest.id:  # which other cells need
            _forget(small, store)
        return result

    # first of all, so that what is loaded once is loaded, and counts for no cell
    for most in (FEWEST * 2, FEWEST):
        works.append(again(most, count_work))
    most = FEWEST
    while not trials or (trials[-1].steps < full and not _differ(trials[0], trials[-1])):
        trials.append(again(most, time_cell))
        most *= TIMES
    flops, calls = (_line(works, key, full) for key in ("flops", "calls"))
    rate = H200_SHARE * H200_FLOPS["bfloat16" if _is_half(cell.config) else "float32"]
    return Cost(
        label=cell.label,
        cells=n,
        seconds=_line(trials, "seconds", full),
        bytes=round(_line(trials, "bytes", full)),
        peak=max(trial.peak for trial in trials),
        h200_seconds=flops / rate + calls * H200_CALL,
    )


def _forget(cell: Cell, store: Store) -> None:
    if store.has(cell):
        store.quarantine(cell)
        collect_garbage(store)


def _differ(short: Trial, long: Trial) -> bool:
    """Whether the one took so much longer than the other that it was not by chance."""
    return long.seconds - short.seconds >= max(LONG, SHARE * short.seconds)


def _line(points: list[Any], name: str, steps: int) -> float:
    """Value at so many steps on the line through the first and the last point."""
    first, last = points[0], points[-1]
    low, high = getattr(first, name), getattr(last, name)
    if last.steps == first.steps:
        return float(high)
    slope = max(0.0, (high - low) / (last.steps - first.steps))
    return float(high + slope * (steps - last.steps))


def _is_half(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get("dtype") == "bfloat16" or any(map(_is_half, config.values()))
    return isinstance(config, list) and any(map(_is_half, config))


def _makespan(cells: Iterable[Cell], seconds: dict[str, float], *, workers: int) -> float:
    """Seconds until the last cell is done, where each begins when its needs and a worker are."""
    free, done = [0.0] * workers, dict[str, float]()
    for cell in cells:
        ready = max((done[need.id] for need in cell.needs), default=0.0)
        done[cell.id] = max(ready, heappop(free)) + seconds[cell.id]
        heappush(free, done[cell.id])
    return max(done.values(), default=0.0)


def _time(seconds: float) -> str:
    """Seconds in the unit that a reader would choose."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"
