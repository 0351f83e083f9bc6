"""How far is a run, on this machine and in the queue of a cluster?"""

import logging

import pandas as pd

from persona_interp.errors import StoreError
from persona_interp.experiments.jobs import Job, jobs_in_queue
from persona_interp.schema.words import CellState
from persona_interp.store import Cell, Store

_log = logging.getLogger(__name__)


def run_states(store: Store) -> pd.DataFrame:
    """State of every cell, with its reason.

    Args:
        store: A run.

    Returns:
        As of ``Store.status``; the reason of a missing cell whose job is in the queue says so.
    """
    table, jobs = store.status(), _jobs(store)
    is_missing = table.state == CellState.MISSING
    reasons = [
        f"{jobs[key]}{'; ' * bool(reason)}{reason}" if missing and key in jobs else reason
        for key, reason, missing in zip(table.cell, table.reason, is_missing, strict=True)
    ]
    return table.assign(reason=reasons)


def ready_cells(store: Store) -> list[Cell]:
    """Cells that can be computed now.

    Args:
        store: A run.

    Returns:
        Planned cells that are missing or failed, whose needs are done, and whose job is not in the
        queue.
    """
    states = store.status().set_index("cell").state
    jobs = _jobs(store)
    return [
        cell
        for cell in store.planned()
        if states[cell.id] in (CellState.MISSING, CellState.FAILED)
        and cell.id not in jobs
        and all(states[need.id] == CellState.DONE for need in cell.needs)
    ]


def _jobs(store: Store) -> dict[str, Job]:
    """Jobs in the queue; none where the queue is not to be seen from here, which is said."""
    try:
        return jobs_in_queue(store.root)
    except StoreError as error:
        _log.warning("%s", error)
        return {}
