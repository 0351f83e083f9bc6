"""Which cells count? The manifest says so, one line a cell.

The file only grows, one write and one fsync a line, under a lock that several processes share. A line without its end
was cut off by a kill: readers ignore it, the next writer drops it. A later line of a cell replaces an earlier one.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.cell import canonical
from persona_interp.errors import StoreError

_ID = re.compile(r"[0-9a-f]{16}")


class Listing(NamedTuple):
    """What a manifest lists: entries by cell id in order of commit, and the numbers of unreadable lines."""

    entries: dict[str, dict[str, Any]]
    unreadable: list[int]


def listing(manifest: Path) -> Listing:
    """Which cells does this manifest list?

    Args:
        manifest: The file.

    Returns:
        Entries ``{cell, task, config, needs, files: [{path, size, sha256}]}`` by cell id, quarantined cells left out.
        Lines that cannot be read count for nothing, so that their cells are computed again.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "manifest.jsonl"
    >>> file.touch()
    >>> with locked(file) as handle:
    ...     append(handle, {"cell": "0123456789abcdef", "files": []})
    >>> list(listing(file).entries), listing(file).unreadable
    (['0123456789abcdef'], [])
    """
    entries: dict[str, dict[str, Any]] = {}
    unreadable = []
    for number, line in enumerate(manifest.read_bytes().split(b"\n")[:-1], start=1):
        entry = _parse(line)
        if entry is None:
            unreadable.append(number)
        elif entry.get("quarantined"):
            entries.pop(entry["cell"], None)
        else:
            entries[entry["cell"]] = entry
    return Listing(entries, unreadable)


@contextmanager
def locked(manifest: Path) -> Iterator[int]:
    """May this process change the run folder? Waits while another one does.

    Args:
        manifest: The file; a last line that a killed writer left unfinished is dropped.

    Yields:
        A descriptor at the end of the file, for ``append``.
    """
    with manifest.open("r+b", buffering=0) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        content = handle.read()
        if not content.endswith(b"\n"):
            handle.truncate(content.rfind(b"\n") + 1)
        handle.seek(0, os.SEEK_END)
        yield handle.fileno()


def append(handle: int, entry: dict[str, Any]) -> None:
    """Is this line on disk?

    Args:
        handle: A descriptor from ``locked``.
        entry: ``{cell, task, config, needs, files}``, or ``{cell, quarantined: True}`` to strike a cell out.

    Raises:
        StoreError: The disk is full.
    """
    line = canonical(entry) + b"\n"
    if os.write(handle, line) != len(line):
        raise StoreError(
            "the disk is full: a manifest line was cut off and does not count; free some space, run again."
        )
    os.fsync(handle)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        files = () if entry.get("quarantined") else entry["files"]
        whole = _ID.fullmatch(entry["cell"]) and all({"path", "size", "sha256"} <= file.keys() for file in files)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if whole else None
