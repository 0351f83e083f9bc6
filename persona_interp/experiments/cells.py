"""Who computes the cells, in which order, and what happens when one fails?

Every cell runs with one thread, on a pool of processes that live as long as the run: as many cells
as cores, and the same bytes whatever their number. A worker leaves when its parent does, so that a
killed run can be started again at once. A failing cell costs only the cells that need it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from copy import deepcopy
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from persona_interp.errors import StoreError
from persona_interp.experiments.wings import Wing
from persona_interp.store import Cell, Store, lineage

__all__ = ["Cell", "run"]

_log = logging.getLogger(__name__)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


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
        cells: The cells wanted.
        store: Where results go; a run that was killed resumes.
        wing: Of a user's own experiment, whose tasks are in the user's file.
        workers: Processes, one core each; None = as many as cores it may use; 0 or 1 = this
            process.
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
    store.plan(ordered)
    _heal(ordered, store)
    done = set(store.manifest())
    todo = [cell for cell in ordered if cell.id not in done]
    workers = _cores() if workers is None else workers
    with tqdm(
        total=len(ordered), initial=len(ordered) - len(todo), desc="cells", disable=not progress
    ) as bar:
        with _pool(workers) as pool:
            width = max(1, workers)
            errors = _drain(todo, pool, done, store=store, wing=wing, width=width, bar=bar)
    if errors:
        waiting = [cell for cell in todo if cell not in errors and not store.has(cell)]
        lines = "; ".join(f"{cell}: {errors[cell]}" for cell in todo if cell in errors)
        held = f" Not tried, because they need them: {len(waiting)}." if waiting else ""
        raise StoreError(
            f"{len(errors)} of {len(ordered)} cells failed: {lines}.{held} Tracebacks are in "
            f"{store.root / 'failed'}; "
            "finished cells are kept, so fix the cause and run again."
        )
    return store


def _cores() -> int:
    """Cores that this process may use, which on a shared machine are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _heal(cells: list[Cell], store: Store) -> None:
    files = store.verify(cells)
    bad = files[files.status != "ok"]
    by_id = {cell.id: cell for cell in cells}
    for key, rows in bad.groupby("cell"):
        cell = by_id[str(key)]
        _log.warning(
            "%s: %s; quarantined, computed again", cell, ", ".join(rows.file + " " + rows.status)
        )
        store.quarantine(cell)


def _drain(
    todo: list[Cell],
    pool: Executor,
    done: set[str],
    *,
    store: Store,
    wing: Wing,
    width: int,
    bar: "tqdm[Any]",
) -> dict[Cell, str]:
    """Computes cells as soon as their needs are done; returns the errors of those that failed."""
    waiting, running, errors = list(todo), dict[Future[str], Cell](), dict[Cell, str]()
    try:
        while True:
            ready = [cell for cell in waiting if all(need.id in done for need in cell.needs)]
            for cell in ready[: width - len(running)]:
                waiting.remove(cell)
                bar.set_postfix_str(cell.label)
                running[pool.submit(_compute, cell, store.root, wing)] = cell
            if not running:
                return errors
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if error := future.result():
                    errors[running[future]] = error
                    _log.error("%s failed: %s", running[future], error)
                else:
                    done.add(running[future].id)
                    bar.update()
                del running[future]
    except BrokenProcessPool as error:
        raise StoreError(
            "a worker process died while computing one of: "
            f"{', '.join(map(str, running.values()))}. It was killed "
            "from outside (out of memory?), or a script calls run() outside of `if __name__ == "
            "'__main__':`. The run "
            "folder is whole: run again to resume, with fewer --workers if memory was short."
        ) from error


def _compute(cell: Cell, root: Path, wing: Wing) -> str:
    """Computes one cell in whichever process this is; returns "" or the error's first line."""
    store = Store.open(root)
    started = time.perf_counter()
    try:
        with store.claim(cell):
            if store.has(cell):  # another run on the same folder was faster
                return ""
            task = wing.task(cell.task)
            with _one_thread():
                task(
                    deepcopy(cell.config),
                    tuple(store.path(need) for need in cell.needs),
                    store.work(cell),
                )
            store.commit(cell, seconds=time.perf_counter() - started)
    except (Exception, SystemExit) as error:
        return store.fail(cell, error)
    return ""


@contextmanager
def _one_thread() -> Iterator[None]:
    torch = sys.modules.get(
        "torch"
    )  # when the task loads it later, the environment has set it to one thread
    before = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)


class _Here(Executor):
    """An executor that computes in this process, at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Processes with one thread each; they end at once when this process ends, however it does."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = get_context("spawn")
    watched, alive = context.Pipe(duplex=False)
    pool = (
        ProcessPoolExecutor(workers, context, _start_worker, (watched,)) if workers > 1 else _Here()
    )
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        alive.close()  # an interrupt must not wait for cells that take minutes
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        alive.close()
        watched.close()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _start_worker(watched: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; see _pool
    threading.Thread(target=_leave_with_parent, args=(watched,), daemon=True).start()


def _leave_with_parent(watched: Connection) -> None:
    watched.poll(None)  # returns when the parent's end is closed, by it or by its death
    os._exit(1)
