"""How is one cell computed, in whichever process this is?

By the pool of a run, by a job on a cluster, by ``persona-interp worker`` under anything else: with
one thread, under a claim, from work that an earlier attempt left, into the same bytes.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from persona_interp.errors import StoreError, unknown
from persona_interp.experiments.wings import Wing, wing_of_config
from persona_interp.models.day import on_day
from persona_interp.schema.words import TEMPLATE_DAY, CellState
from persona_interp.store import Cell, Store

_log = logging.getLogger(__name__)

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Variables that say how many threads a library takes; read when it is loaded."""
PATIENCE = 60
"""Seconds for a folder that another node has finished to become visible on this one (NFS)."""


def compute_planned(run: str | Path, cell_id: str) -> str:
    """Compute one cell that a run folder plans; a finished one is left alone.

    Whoever computes it meanwhile is waited for. What it needs is not computed.

    Args:
        run: The run folder.
        cell_id: Id of the cell, from its plan.

    Returns:
        What happened: "done" or "done before".

    Raises:
        StoreError: There is no such run or cell, a cell that it needs is not done, or it failed;
            then its traceback is in the run's ``failed``.
    """
    store = Store.open(run)
    planned = {cell.id: cell for cell in store.planned()}
    if cell_id not in planned:
        raise StoreError(unknown(f"cell of {store.root}", cell_id, planned))
    cell, config = planned[cell_id], store.config()
    if store.has(cell):
        return f"{CellState.DONE} before"
    check_needs(cell, store)
    claimed = store.status([cell]).set_index("cell").loc[cell.id]
    if claimed.state == CellState.RUNNING:
        _log.warning("%s is computed by %s; waiting for it", cell, claimed.reason)
    with on_day(config.get(TEMPLATE_DAY, "")):
        error = compute_cell(cell, store.root, wing_of_config(config))
    if error:
        raise StoreError(f"{cell} failed: {error}. Its traceback is in {store.root / 'failed'}.")
    return str(CellState.DONE)


def check_needs(cell: Cell, store: Store, *, patience: float = PATIENCE) -> None:
    """Refuse a cell whose needs are not there.

    Args:
        cell: The cell.
        store: Its run.
        patience: How long a folder that the manifest lists is waited for (s).

    Raises:
        StoreError: Some are not done; they are named with their state.
    """
    deadline = time.monotonic() + patience
    while lacking := [need for need in cell.needs if not store.has(need)]:
        is_listed = {need.id for need in lacking} <= set(store.manifest())
        if not is_listed or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if lacking:
        state = store.status([cell]).set_index("cell").state
        names = ", ".join(f"{need} is {state[need.id]}" for need in lacking[:3])
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise StoreError(
            f"{cell} was not computed, because it needs cells that are not done: {names}{more}. "
            f"`persona-interp status {store.root}` says why; compute them first."
        )


def compute_cell(cell: Cell, root: Path, wing: Wing) -> str:
    """Compute one cell whose needs are done.

    Args:
        cell: The cell.
        root: Its run folder.
        wing: Whose tasks are called.

    Returns:
        "", or the error's first line; its traceback is in the run's ``failed``.
    """
    store = Store.open(root)
    start = time.perf_counter()
    try:
        with store.claim(cell):
            if store.has(cell):  # another run on the same folder was faster
                return ""
            task = wing.task(cell.task)
            needs = tuple(store.path(need) for need in cell.needs)
            with _one_thread():
                # A copy: in this process, a task that changes its configuration would change the
                # cell's, and with it its id.
                task(deepcopy(cell.config), needs, store.work(cell))
            store.commit(cell, seconds=time.perf_counter() - start)
    except (Exception, SystemExit) as error:
        return store.fail(cell, error)
    return ""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch with one thread, whatever it has outside."""
    # How a sum is split among threads changes its last bits. A torch that the task loads only later
    # has one thread already: it reads the environment, see ``THREADS``.
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
