"""Which cells does the run want? ``plan.json`` says so, needs first."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.files import read_json
from persona_interp.store.cell import Cell, lineage


def rows_of(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Rows of a plan.

    Args:
        cells: Cells; what they need is added.

    Returns:
        ``{cell, label, task, config, needs}``, needs first.

    >>> [row["label"] for row in rows_of([Cell("tuned", {}, (Cell("base", {}),))])]
    ['base', 'tuned']
    """
    return [{"cell": cell.id, "label": cell.label, **cell.spec} for cell in lineage(cells)]


def cells_of(rows: Any) -> list[Cell]:
    """Cells that rows describe, of a plan or of a manifest.

    Args:
        rows: ``{cell, task, config, needs}`` and perhaps ``label``, needs first.

    Returns:
        The cells.

    Raises:
        StoreError: A row is not what its id says.

    >>> base = Cell("base", {}, label="the base")
    >>> cells_of(rows_of([base]))[0].label
    'the base'
    """
    cells: dict[str, Cell] = {}
    try:
        for row in rows:
            needs = tuple(cells[key] for key in row["needs"])
            cell = Cell(row["task"], row["config"], needs, str(row.get("label", "")))
            if cell.id != row["cell"]:
                raise StoreError(f"the plan's cell {row['cell']} is not what its id says.")
            cells[cell.id] = cell
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the plan is no list of cells ({error!r}).") from error
    return list(cells.values())


def is_plan(path: Path) -> bool:
    """Whether a file is the plan of a run: cells, each what its id says.

    Args:
        path: Any path.

    Returns:
        True only where a store wrote it.
    """
    try:
        return bool(cells_of(read_json(path, error=StoreError)))
    except StoreError:
        return False


def finished_cells(entries: Iterable[dict[str, Any]]) -> list[Cell]:
    """Cells of a manifest, where no plan says which are wanted.

    Args:
        entries: Of the manifest, in order of commit.

    Returns:
        The cells all of whose needs are finished too.
    """
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if all(need in rows for need in entry["needs"]):
            rows[entry["cell"]] = entry
    return cells_of(rows.values())
