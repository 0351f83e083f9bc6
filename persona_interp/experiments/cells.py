"""Who computes the cells, in which order, and what happens when one fails?

Every cell runs with one thread, on a pool of processes that live as long as the run: as many cells
as cores, or as CUDA devices where models compute there, and the same bytes whatever their number. A
worker leaves when its parent does, so that a killed run can be started again at once. A failing
cell costs only the cells that need it.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from typing import Any

from tqdm.auto import tqdm

from persona_interp.errors import StoreError
from persona_interp.experiments.wings import Wing
from persona_interp.experiments.worker import THREADS, compute_cell
from persona_interp.models.device import WORKER, count_used
from persona_interp.schema.words import FileStatus
from persona_interp.store import Cell, Store, lineage

__all__ = ["Cell", "run"]

_log = logging.getLogger(__name__)

SHARED = Wing("")
"""Whose tasks are run by default: those of this package."""


def run(
    cells: Iterable[Cell],
    store: Store,
    *,
    wing: Wing = SHARED,
    workers: int | None = None,
    progress: bool = True,
) -> Store:
    """Compute these cells, and what they need.

    Finished cells are checked (size and sha256) and kept; a corrupt one is quarantined and computed
    again, alone.

    Args:
        cells: The cells; what they need is computed too.
        store: Where results go; a run that was killed resumes.
        wing: Of a user's own experiment, whose tasks are in the user's file.
        workers: Processes, one core each; None = as many as cores it may use, or one for each CUDA
            device where models compute on one; 0 or 1 = this process.
        progress: Whether to show a progress bar.

    Returns:
        The store, complete.

    Raises:
        StoreError: Some cells failed: each is named with its error, after all others were computed.
            Or a worker was killed from outside.

    >>> import tempfile
    >>> store = run([], Store(tempfile.mkdtemp()), workers=0, progress=False)
    >>> len(store.status())
    0
    """
    ordered = lineage(cells)
    store.recover()
    store.plan(ordered)
    quarantine_damaged(ordered, store)
    done = set(store.manifest())
    todo = [cell for cell in ordered if cell.id not in done]
    if workers is None:
        workers = (count_used() or _cores()) if todo else 0
    bar = tqdm(
        total=len(ordered), initial=len(ordered) - len(todo), desc="cells", disable=not progress
    )
    with bar, pool_of(workers) as pool:
        width = max(1, workers)
        errors = _compute_all(todo, pool, done, store=store, wing=wing, width=width, bar=bar)
    if errors:
        message = describe_failures(errors, todo, store)
        raise StoreError(f"{len(errors)} of {len(ordered)} cells failed: {message}")
    return store


def describe_failures(errors: dict[Cell, str], todo: list[Cell], store: Store) -> str:
    """What failed, what was therefore not tried, and what to do.

    Args:
        errors: First lines of the errors of cells that failed.
        todo: All cells that were to be computed.
        store: Their run.

    Returns:
        Sentences.
    """
    lines = "; ".join(f"{cell}: {errors[cell]}" for cell in todo if cell in errors)
    missing = [cell for cell in todo if cell not in errors and not store.has(cell)]
    untried = ""
    if missing:
        untried = f" Not tried, because they need them: {len(missing)}."
    return (
        f"{lines}.{untried} Tracebacks are in {store.root / 'failed'}; finished cells are kept, "
        "so fix the cause and run again."
    )


def _cores() -> int:
    """Cores that this process may use, which on a shared machine are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quarantine_damaged(cells: list[Cell], store: Store) -> None:
    """Set finished cells aside whose files are not the bytes that were committed.

    Args:
        cells: Cells of a run.
        store: The run.

    Raises:
        StoreError: A file does not let itself be read.
    """
    # Before anything is computed: a cell that reads a damaged one would commit wrong results as
    # finished ones, and nothing would ever show it.
    files = store.verify(cells)
    by_id = {cell.id: cell for cell in cells}
    closed = files.loc[files["status"] == FileStatus.UNREADABLE]
    if not closed.empty:
        first = closed.iloc[0]
        raise StoreError(
            f"{len(closed)} files of finished cells in {store.root} do not let themselves be read, "
            f"first {first.file} of {by_id[str(first.cell)]}; nothing was changed. Give yourself "
            "the right to read them (chmod -R u+rwX), or copy the run to a disk that is whole."
        )
    is_damaged = files["status"].isin([FileStatus.MISSING, FileStatus.CORRUPT])
    for key, damaged in files.loc[is_damaged].groupby("cell"):
        cell = by_id[str(key)]
        details = ", ".join(damaged.file + " " + damaged.status)
        _log.warning("%s: %s; quarantined, computed again", cell, details)
        store.quarantine(cell)


def _compute_all(
    todo: list[Cell],
    pool: Executor,
    done: set[str],
    *,
    store: Store,
    wing: Wing,
    width: int,
    bar: "tqdm[Any]",
) -> dict[Cell, str]:
    """Compute cells as soon as their needs are done; returns the errors of those that failed."""
    waiting, running, errors = list(todo), dict[Future[str], Cell](), dict[Cell, str]()
    try:
        while True:
            ready = (cell for cell in waiting if all(need.id in done for need in cell.needs))
            # No more are handed over than can run: the pool would queue the others, and an
            # interrupt or a broken pool would have to take them back.
            for cell in list(islice(ready, width - len(running))):
                waiting.remove(cell)
                bar.set_postfix_str(cell.label)
                running[pool.submit(compute_cell, cell, store.root, wing)] = cell
            # Nothing runs and nothing is ready: what still waits needs a cell that failed.
            if not running:
                return errors
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                error = future.result()  # raises where a worker died: its cell is named below
                cell = running.pop(future)
                if error:
                    errors[cell] = error
                    _log.error("%s failed: %s", cell, error)
                else:
                    done.add(cell.id)
                    bar.update()
    except BrokenProcessPool as error:
        cells = ", ".join(map(str, running.values()))
        raise StoreError(
            f"a worker process died while computing one of: {cells}. It was killed from outside "
            "(out of memory?), or a script calls run() outside of `if __name__ == '__main__':`. "
            "The run folder is whole: run again to resume, with fewer --workers if memory was "
            "short."
        ) from error


class _ThisProcess(Executor):
    """An executor that computes in this process, at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def pool_of(workers: int, *, apart: bool = False) -> Iterator[Executor]:
    """Processes with one thread each; they end at once when this process ends, however it does.

    Args:
        workers: How many; one is this process, which computes at once.
        apart: Whether one is a process of its own too.

    Yields:
        The pool.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Spawned, not forked: a fork copies the locks of threads that do not exist in the child, and
    # CUDA does not survive one.
    context = get_context("spawn")
    # Nothing is ever sent through this pipe. Its end here closes with this process, even when that
    # is killed and can tell nobody; the workers wait for that.
    worker_end, parent_end = context.Pipe(duplex=False)
    pool: Executor = _ThisProcess()
    if workers > 1 or apart:
        numbers = context.SimpleQueue()
        for number in range(workers):
            numbers.put(number)
        pool = ProcessPoolExecutor(workers, context, _start_worker, (worker_end, numbers))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        parent_end.close()  # an interrupt must not wait for cells that take minutes
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        parent_end.close()
        worker_end.close()
        _restore_environment(before)


def _restore_environment(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _start_worker(worker_end: Connection, numbers: "SimpleQueue[int]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; see pool_of
    threading.Thread(target=_leave_with_parent, args=(worker_end,), daemon=True).start()
    os.environ[WORKER] = str(numbers.get())


def _leave_with_parent(worker_end: Connection) -> None:
    worker_end.poll(None)  # returns when the parent's end is closed, by it or by its death
    os._exit(1)
