"""How does a run go on where its cells are computed by jobs of a cluster?

The run folder says what is done, Slurm's queue what is on its way. Jobs are sent in rounds: what is
neither done nor on its way nor failed when a round is over was killed, and is sent again. Whoever
waits may be killed too: jobs go on, and the same command waits for them again.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tqdm.auto import tqdm

from persona_interp.errors import StoreError
from persona_interp.experiments.cells import describe_failures, quarantine_damaged
from persona_interp.experiments.jobs import Job, jobs_in_queue
from persona_interp.experiments.slurm import send
from persona_interp.schema.words import CellState
from persona_interp.store import Cell, Store, lineage
from persona_interp.store.claims import hold_claim
from persona_interp.store.layout import JOBS

_log = logging.getLogger(__name__)

FRUITLESS = 3
"""Rounds in which no cell was finished, after which a run gives up."""
SHORTEST, LONGEST = 1.0, 15.0
"""Seconds between two looks at the run folder and the queue, at the beginning and later."""


def run_on_slurm(
    cells: Iterable[Cell],
    store: Store,
    *,
    options: Mapping[str, str],
    most: int | None = None,
    wait: bool = True,
    progress: bool = True,
) -> Store:
    """Compute these cells, and what they need, by jobs on Slurm.

    As ``cells.run``: finished cells are checked and kept, corrupt ones computed again, cells that
    failed before are tried again, and a failing cell costs only the cells that need it. Cells whose
    jobs are in the queue already are waited for.

    Args:
        cells: The cells; what they need is computed too.
        store: Their run, which ``describe`` was told of, in a folder that all nodes see.
        options: Of sbatch.
        most: Jobs at a time.
        wait: Whether to wait until all is done; else this returns as soon as jobs are sent.
        progress: Whether to show a progress bar.

    Returns:
        The store, complete where it was waited for.

    Raises:
        StoreError: Some cells failed, or their jobs were killed again and again; or submitit or
            Slurm is not here, or refuses.
    """
    ordered = lineage(cells)
    store.recover()
    store.plan(ordered)
    quarantine_damaged(ordered, store)
    todo = _missing(ordered, store)
    _forget_failures(todo, store)
    fruitless = 0
    bar = tqdm(
        total=len(ordered), initial=len(ordered) - len(todo), desc="cells", disable=not progress
    )
    with bar:
        while fruitless < FRUITLESS and _send(ordered, store, options=options, most=most):
            if not wait:
                return store
            n_before = len(todo)
            todo = _wait(ordered, store, bar)
            fruitless = 0 if len(todo) < n_before else fruitless + 1
    if todo:
        raise StoreError(_describe(ordered, todo, store))
    return store


def failures(cells: Iterable[Cell], store: Store) -> dict[Cell, str]:
    """Cells that failed, with the first lines of their errors.

    Args:
        cells: Cells of a run.
        store: The run.

    Returns:
        The errors.
    """
    by_id = {cell.id: cell for cell in lineage(cells)}
    table = store.status(by_id.values())
    table = table.loc[table.state == CellState.FAILED]
    return {by_id[key]: reason for key, reason in zip(table.cell, table.reason, strict=True)}


def _send(cells: list[Cell], store: Store, *, options: Mapping[str, str], most: int | None) -> bool:
    """Send what no job is there for; whether any job is on its way then."""
    (store.root / JOBS).mkdir(exist_ok=True)
    # two who look and send at once would send everything twice
    with hold_claim(store.root / JOBS / "send.lock"):
        jobs = jobs_in_queue(store.root)
        out = set(store.manifest()) | {cell.id for cell in failures(cells, store)}
        todo: list[Cell] = []
        reachable = set(store.manifest()) | set(jobs)
        for cell in cells:
            if cell.id in out or cell.id in jobs:
                continue
            if all(need.id in reachable for need in cell.needs):
                todo.append(cell)
                reachable.add(cell.id)
        if not todo:
            return bool({cell.id for cell in cells} & set(jobs))
        after = sorted({job.array for job in jobs.values()}) if _waits(todo, jobs) else []
        sent = send(todo, store, options=options, most=most, after=after)
    _log.info(
        "%d cells sent to Slurm as jobs %s; logs in %s. They go on without this process; scancel "
        "with these ids ends them.",
        len(todo),
        ", ".join(sent),
        store.root / JOBS,
    )
    return True


def _wait(cells: list[Cell], store: Store, bar: "tqdm[Any]") -> list[Cell]:
    """Wait until all is done or no job is left; returns what is not done then."""
    pause, keys = SHORTEST, {cell.id for cell in cells}
    while True:
        jobs = _queue(store)
        todo = _missing(cells, store)  # after the queue: a job that left it has committed
        bar.n = len(cells) - len(todo)
        n_running = sum(job.state == "RUNNING" for job in (jobs or {}).values())
        bar.set_postfix_str(f"{n_running} jobs run, {len(jobs or {}) - n_running} wait")
        if not todo or (jobs is not None and not keys & set(jobs)):
            return todo
        time.sleep(pause)
        pause = min(LONGEST, pause * 1.3)


def _queue(store: Store) -> dict[str, Job] | None:
    """Jobs in the queue; None where Slurm does not answer just now."""
    try:
        return jobs_in_queue(store.root)
    except StoreError as error:  # controllers are restarted; jobs live on
        _log.warning("%s Asked again soon.", error)
        return None


def _missing(cells: list[Cell], store: Store) -> list[Cell]:
    done = set(store.manifest())
    return [cell for cell in cells if cell.id not in done]


def _forget_failures(todo: list[Cell], store: Store) -> None:
    """As every run: what failed before is tried again."""
    for cell in todo:
        store.retry(cell)


def _waits(todo: list[Cell], jobs: Mapping[str, Job]) -> bool:
    return any(need.id in jobs for cell in todo for need in cell.needs)


def _describe(cells: list[Cell], todo: list[Cell], store: Store) -> str:
    errors = failures(todo, store)
    if errors:
        message = describe_failures(errors, todo, store)
        return f"{len(errors)} of {len(cells)} cells failed: {message}"
    return (
        f"{len(todo)} of {len(cells)} cells are not done, first {todo[0]}: their jobs were sent "
        f"{FRUITLESS} times and ended without a word. Were they killed from outside, for memory or "
        f"time? Their logs are in {store.root / JOBS}; finished cells are kept. Give jobs more "
        "with --slurm mem=... or time=..., and run again."
    )
