"""When and where was each cell computed? Beside the results, so that equal runs are equal bytes."""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from persona_interp.files import write_bytes
from persona_interp.store.cell import Cell, canonical
from persona_interp.store.sums import is_summed, summed

KEYS = {"cell", "label", "time", "host", "pid", "seconds"}
"""Keys of a line that was written before lines had checksums."""


def append_line(log: Path, cell: Cell, *, seconds: float) -> None:
    """Write down that a cell was computed, by this process, just now.

    Args:
        log: The file.
        cell: The cell.
        seconds: How long it took.
    """
    record = {
        "cell": cell.id,
        "label": cell.label,
        "time": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "seconds": round(seconds, 3),
    }
    _append(log, [record])


def lacks(log: Path, cells: Iterable[str]) -> list[str]:
    """Cells of which a log does not say when they were computed.

    Args:
        log: The file, perhaps not there.
        cells: Ids of cells.

    Returns:
        Those of them that are in no whole line.
    """
    told = {json.loads(line)["cell"] for line in _lines(log) if _is_whole(line)}
    return [cell for cell in cells if cell not in told]


def unreadable_lines(log: Path) -> list[int]:
    """Lines of a log that are not as they were written.

    Args:
        log: The file, perhaps not there.

    Returns:
        Their numbers, from 1.
    """
    return [i for i, line in enumerate(_lines(log), start=1) if not _is_whole(line)]


def mend(log: Path, cells: Mapping[str, str]) -> None:
    """Drop lines that are not as they were written; say of cells without one that nobody knows.

    Args:
        log: The file; unchanged where all is well.
        cells: Labels of the finished cells, by id.
    """
    lines = _lines(log)
    whole = [line for line in lines if _is_whole(line)]
    if whole != lines:
        write_bytes(b"".join(line + b"\n" for line in whole), log)
    unknown: dict[str, Any] = dict.fromkeys(sorted(KEYS - {"cell", "label"}))
    lost = lacks(log, cells)
    if lost:
        _append(log, [{"cell": cell, "label": cells[cell], **unknown} for cell in lost])


def _append(log: Path, records: list[dict[str, Any]]) -> None:
    data = b"".join(canonical(summed(record)) + b"\n" for record in records)
    with log.open("ab", buffering=0) as handle:
        handle.write(data)


def _lines(log: Path) -> list[bytes]:
    """Lines without their end; what is unfinished is one that is not whole."""
    if not log.is_file():
        return []
    *lines, unfinished = log.read_bytes().split(b"\n")
    return [*lines, unfinished + b"\0"] if unfinished else lines


def _is_whole(line: bytes) -> bool:
    try:
        entry = json.loads(line)
        if "sum" not in entry:
            return entry.keys() == KEYS
        return is_summed(entry) and canonical(entry) == line
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
