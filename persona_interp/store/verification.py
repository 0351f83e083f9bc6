"""Is every file of a run folder as it was written?"""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from persona_interp.schema.words import FileStatus
from persona_interp.store.cell import Cell, canonical
from persona_interp.store.layout import CELLS, ENTRY, LOG, MANIFEST, UNVOUCHED
from persona_interp.store.log import lacks, unreadable_lines
from persona_interp.store.manifest import Listing, listing
from persona_interp.store.sums import condition, sum_of_bytes, summed


class Condition(NamedTuple):
    """Condition of a file; ``cell`` is '' where it is in none."""

    cell: str
    file: str
    size: int
    status: FileStatus


def conditions(root: Path, lines: Listing, *, cells: Iterable[Cell] | None) -> pd.DataFrame:
    """Condition of the files of a run folder; see ``Store.verify``.

    Args:
        root: The run folder.
        lines: Of its manifest.
        cells: The cells to check; None: all, and what is beside them.

    Returns:
        One row a file: ``cell``, ``file``, ``size``, ``status``.
    """
    rows = [] if cells is not None else list(_run_conditions(root, lines))
    ids = set(lines.entries) if cells is None else {cell.id for cell in cells}
    for key, entry in lines.entries.items():
        if key in ids:
            rows += _cell_conditions(root, entry, is_signed=key in lines.signed)
    return _table(rows)


def run_conditions(root: Path) -> pd.DataFrame:
    """Condition of what is in a run folder beside its listed cells.

    Args:
        root: The run folder.

    Returns:
        As of ``conditions``.
    """
    return _table(_run_conditions(root, listing(root / MANIFEST)))


def _table(rows: Iterable[Condition]) -> pd.DataFrame:
    table = pd.DataFrame([_legible(row) for row in rows], columns=list(Condition._fields))
    return table.assign(status=table["status"].map(str))


def _legible(row: Condition) -> Condition:
    """The row with names that a table can hold: those of files are bytes, and need be no text."""
    cell, file = (name.encode(errors="backslashreplace").decode() for name in (row.cell, row.file))
    return row._replace(cell=cell, file=file)


def entry_bytes(entry: dict[str, Any]) -> bytes:
    """Bytes of a cell's own copy of its line.

    Args:
        entry: The line.

    Returns:
        The line with its checksum and its end.
    """
    return canonical(summed(entry)) + b"\n"


def _cell_conditions(root: Path, entry: dict[str, Any], *, is_signed: bool) -> Iterator[Condition]:
    """Condition of every file in the folder of a cell, with those that no line vouches for."""
    cell, folder = entry["cell"], root / CELLS / entry["cell"]
    for file in entry["files"]:
        yield Condition(cell, file["path"], file["size"], _state(folder, file))
    own = sum_of_bytes(folder, folder / ENTRY, entry_bytes(entry))
    state = _state(folder, own)
    # a cell of before this file existed has none
    if state != FileStatus.OK and (is_signed or state != FileStatus.MISSING):
        yield Condition(cell, ENTRY, own["size"], state)
    listed = {file["path"] for file in entry["files"]} | {ENTRY}
    links = [folder] if folder.is_symlink() else []
    for path in [*links, *sorted(folder.rglob("*"))]:
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()  # an empty one holds nothing
        if path.is_symlink() or (name not in listed and not is_folder):
            yield Condition(cell, name, path.lstat().st_size, FileStatus.UNLISTED)


def _state(folder: Path, file: dict[str, Any]) -> FileStatus:
    """Condition of a file, where it does not let itself be read too."""
    try:
        return condition(folder, file)
    except OSError:
        return FileStatus.UNREADABLE


def _run_conditions(root: Path, lines: Listing) -> Iterator[Condition]:
    """Condition of what is in a run folder beside its listed cells.

    These are unreadable lines of the manifest and the log, cells without a line, and every other
    file but hidden ones and those of ``UNVOUCHED``.
    """
    others = [path for path in _others(root) if path.name != MANIFEST]
    if others and not (root / MANIFEST).stat().st_size:
        yield Condition("", MANIFEST, 0, FileStatus.CORRUPT)  # its first line comes before all else
    for number in lines.unreadable:
        yield Condition("", f"{MANIFEST} line {number}", 0, FileStatus.CORRUPT)
    cells = root / CELLS
    if cells.is_dir() and not os.access(cells, os.R_OK | os.X_OK):
        yield Condition("", CELLS, 0, FileStatus.UNREADABLE)
    else:
        for path in sorted(cells.iterdir()) if cells.is_dir() else []:
            if path.name not in lines.entries:
                yield Condition(path.name, "", 0, FileStatus.UNLISTED)
    yield from _log_conditions(root / LOG, lines.entries)
    for name, versions in lines.files.items():
        states = [_state(root, version) for version in versions]
        status = FileStatus.OK if FileStatus.OK in states else states[-1]
        yield Condition("", name, versions[-1]["size"], status)
    for path in others:
        name = path.relative_to(root).as_posix()
        if name not in lines.files and name != LOG:
            yield Condition("", name, path.lstat().st_size, FileStatus.UNLISTED)


def _log_conditions(log: Path, cells: Collection[str]) -> Iterator[Condition]:
    """What is wrong with the log, which tells of each of these cells."""
    if not log.exists():
        if cells:
            yield Condition("", LOG, 0, FileStatus.MISSING)
    elif not log.is_file():
        yield Condition("", LOG, 0, FileStatus.CORRUPT)
    elif not os.access(log, os.R_OK):
        yield Condition("", LOG, log.stat().st_size, FileStatus.UNREADABLE)
    else:
        for number in unreadable_lines(log):
            yield Condition("", f"{LOG} line {number}", 0, FileStatus.CORRUPT)
        for cell in lacks(log, cells):
            yield Condition("", f"{LOG} line of {cell}", 0, FileStatus.MISSING)


def _others(root: Path) -> Iterator[Path]:
    """Files of a run folder that are in no cell, hidden and unfinished ones left out."""
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.name in (CELLS, *UNVOUCHED):
            continue
        # pipes and links to nowhere too, which are no files
        if not path.is_dir():
            yield path
        else:
            below = sorted(path.rglob("*"))
            yield from (file for file in below if not file.is_dir() and file.name[0] != ".")
