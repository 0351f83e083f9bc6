"""How far is a cell, and why no further?"""

from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from persona_interp.schema.words import CellState
from persona_interp.store.cell import Cell, lineage
from persona_interp.store.claims import describe_claim, is_claimed
from persona_interp.store.layout import FAILED, WORK


def claim_file(root: Path, key: str) -> Path:
    """File whose lock claims a cell.

    Args:
        root: The run folder.
        key: Id of the cell.

    Returns:
        The path.
    """
    return root / WORK / f"{key}.lock"


def failure_file(root: Path, key: str) -> Path:
    """File of the last failure of a cell.

    Args:
        root: The run folder.
        key: Id of the cell.

    Returns:
        The path.
    """
    return root / FAILED / f"{key}.txt"


def states(root: Path, cells: Iterable[Cell], *, done: Collection[str]) -> pd.DataFrame:
    """State of every cell, with its reason; see ``Store.status``.

    Args:
        root: The run folder.
        cells: The cells; what they need is added.
        done: Ids of finished cells.

    Returns:
        One row a cell: ``cell``, ``label``, ``state``, ``reason``.
    """
    rows: dict[str, tuple[str, str, str, str]] = {}
    for cell in lineage(cells):
        state, reason = _state(root, cell, done)
        if state == CellState.MISSING:
            lacking = [rows[need.id] for need in cell.needs if rows[need.id][2] != CellState.DONE]
            reason = _needs(lacking)
        rows[cell.id] = (cell.id, cell.label, str(state), reason)
    return pd.DataFrame(rows.values(), columns=["cell", "label", "state", "reason"])


def _state(root: Path, cell: Cell, done: Collection[str]) -> tuple[CellState, str]:
    claim, failure = claim_file(root, cell.id), failure_file(root, cell.id)
    if cell.id in done:
        return CellState.DONE, ""
    if is_claimed(claim):
        return CellState.RUNNING, describe_claim(claim)
    if failure.is_file():
        return CellState.FAILED, _first_line(failure)
    return CellState.MISSING, ""


def _needs(lacking: list[tuple[str, str, str, str]]) -> str:
    """Which needs of a missing cell are not done; a failed one first, because nothing mends it."""
    if not lacking:
        return ""
    _, label, state, _ = min(lacking, key=lambda row: row[2] != CellState.FAILED)
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"needs {label}, which is {state}{more}"


def _first_line(failure: Path) -> str:
    """What a failure file says first; of one of before that was its traceback's last line."""
    lines = failure.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
