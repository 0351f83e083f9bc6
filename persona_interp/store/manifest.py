"""Which cells count? The manifest says so, one line a cell.

The file only grows, one write and one fsync a line, under a lock that several processes share. A
line without its end was cut off by a kill, and a line whose cell is not the hash of its content is
corrupt: readers ignore both, the next writer removes them. A later line of a cell replaces an
earlier one.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import StoreError
from persona_interp.files import fsync
from persona_interp.schema.words import FileStatus
from persona_interp.store.cell import canonical, digest

_ID = re.compile(r"[0-9a-f]{16}")


class Listing(NamedTuple):
    """Entries of a manifest by cell id, in order of commit, and numbers of unreadable lines."""

    entries: dict[str, dict[str, Any]]
    unreadable: list[int]


def listing(manifest: Path) -> Listing:
    r"""Entries of a manifest, and the lines that cannot be read.

    Args:
        manifest: The file.

    Returns:
        Entries ``{cell, task, config, needs, files: [{path, size, sha256}]}`` by cell id,
        quarantined cells left out. Lines that cannot be read count for nothing, so that their cells
        are computed again.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "manifest.jsonl"
    >>> spec = {"task": "base", "config": {}, "needs": []}
    >>> line = canonical({"cell": digest(spec), **spec, "files": []})
    >>> _ = file.write_bytes(line + b'\n{"cell": "cut o')
    >>> list(listing(file).entries) == [digest(spec)]
    True
    """
    entries: dict[str, dict[str, Any]] = {}
    unreadable = []
    for number, line in enumerate(manifest.read_bytes().split(b"\n")[:-1], start=1):
        entry = _parse(line)
        if entry is None:
            unreadable += [number] if line.strip() else []
        elif entry.get("quarantined"):
            entries.pop(entry["cell"], None)
        else:
            entries[entry["cell"]] = entry
    return Listing(entries, unreadable)


@contextmanager
def lock(manifest: Path) -> Iterator[int]:
    """Lock the run folder for a change; wait while another process changes it.

    Args:
        manifest: The file; a last line that a killed writer left unfinished is cut off, corrupt
            lines are blanked.

    Yields:
        A descriptor at the end of the file, for ``append``.
    """
    with manifest.open("r+b", buffering=0) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        *lines, unfinished = handle.read().split(b"\n")
        start = 0
        for line in lines:
            if line.strip() and _parse(line) is None:
                handle.seek(start)
                handle.write(b" " * len(line))
            start += len(line) + 1
        if unfinished:
            handle.truncate(start)
        handle.seek(start)
        yield handle.fileno()


def append(handle: int, entry: dict[str, Any]) -> None:
    """Write one line to disk.

    Args:
        handle: A descriptor from ``lock``.
        entry: ``{cell, task, config, needs, files}``, or ``{cell, quarantined: True}`` to strike a
            cell out.

    Raises:
        StoreError: The disk is full.
    """
    line = canonical(entry) + b"\n"
    if os.write(handle, line) != len(line):
        raise StoreError(
            "the disk is full: a manifest line was cut off and does not count; free some space, "
            "run again."
        )
    os.fsync(handle)


@lru_cache(maxsize=4096)  # a manifest is read again for every question about a cell
def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        if entry.get("quarantined"):
            return entry if _ID.fullmatch(entry["cell"]) else None
        whole = entry["cell"] == digest({key: entry[key] for key in ("task", "config", "needs")})
        whole = whole and all({"path", "size", "sha256"} <= file.keys() for file in entry["files"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return entry if whole else None


def seal(folder: Path) -> list[dict[str, Any]]:
    """Files of a finished folder, after all of them are synced to disk.

    Args:
        folder: A finished work folder; hidden names (scratch) are removed from it.

    Returns:
        ``{path, size, sha256}`` of every file, sorted by path.

    Raises:
        StoreError: There is no file, or something that is not a plain one.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "square.txt").write_text("9"), (folder / ".scratch").write_text("3 * 3")
    >>> [(file["path"], file["size"], str(condition(folder, file))) for file in seal(folder)]
    [('square.txt', 1, 'ok')]
    """
    for path in sorted(folder.rglob(".*")):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    files = []
    for path in sorted(folder.rglob("*"), reverse=True):  # files before the folder that holds them
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                f"{path} is not a plain file; a task writes files and folders, copies instead of "
                "links."
            )
        fsync(path)
        if path.is_file():
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            files.append({"path": name, "size": size, "sha256": _sha256(path)})
    if not files:
        raise StoreError(
            "the task wrote no file (hidden ones do not count); write its results into the folder "
            "`out`."
        )
    fsync(folder)
    return files[::-1]


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def condition(folder: Path, file: dict[str, Any]) -> FileStatus:
    """Condition of a file beside what was committed.

    Args:
        folder: The folder of its cell.
        file: ``{path, size, sha256}`` from the manifest.

    Returns:
        Ok, missing, or corrupt: another size or sha256, or a path that leaves the folder.
    """
    path = folder / file["path"]
    if not path.is_file():
        return FileStatus.MISSING
    # a manifest from elsewhere may name any path
    is_inside = path.resolve().is_relative_to(folder.resolve())
    if is_inside and path.stat().st_size == file["size"] and _sha256(path) == file["sha256"]:
        return FileStatus.OK
    return FileStatus.CORRUPT
