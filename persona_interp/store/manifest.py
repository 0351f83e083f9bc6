"""Which cells count? The manifest says so, one line a cell.

The file only grows, one write and one fsync a line, under a lock that several processes share.
Every line ends in its own checksum. A line without its end was cut off by a kill, and a line that
is not what its checksum says is corrupt: readers ignore both, the next writer removes them. A later
line of a cell replaces an earlier one. Beside cells, lines vouch for the files of the run that are
in no cell; there every line counts, because a file may be replaced just before or after its line.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import StoreError
from persona_interp.files import read_bytes
from persona_interp.store.cell import canonical, digest
from persona_interp.store.claims import take_lock
from persona_interp.store.layout import check_places
from persona_interp.store.sums import is_summed, summed

_ID = re.compile(r"[0-9a-f]{16}")
SPEC = ("task", "config", "needs")
CELL = {"cell", *SPEC, "files"}
TOMBSTONE = {"cell", "quarantined"}
FILE = {"path", "size", "sha256"}
SUM = b'"sum":"'
SETTLED = 2_000_000_000
"""Age (ns) from which on a change shows in a file's time, whatever the clock of its disk."""


class Listing(NamedTuple):
    """What a manifest says.

    Attributes:
        entries: ``{cell, task, config, needs, files: [{path, size, sha256}]}`` by cell id, in order
            of commit, quarantined cells left out.
        files: ``{path, size, sha256}`` of files outside of cells, by path, every version.
        unreadable: Numbers of lines that cannot be read.
        signed: Ids of cells whose line knows its own checksum; lines had none once.
    """

    entries: dict[str, dict[str, Any]]
    files: dict[str, list[dict[str, Any]]]
    unreadable: list[int]
    signed: set[str]


NOTHING = Listing({}, {}, [], set())


def listing(manifest: Path) -> Listing:
    r"""What a manifest says, and the lines that cannot be read.

    Args:
        manifest: The file.

    Returns:
        Cells, files and unreadable lines; the latter count for nothing.

    Raises:
        StoreError: The file cannot be read.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "manifest.jsonl"
    >>> spec = {"task": "base", "config": {}, "needs": []}
    >>> line = canonical({"cell": digest(spec), **spec, "files": []})
    >>> _ = file.write_bytes(line + b'\n{"cell": "cut o')
    >>> list(listing(file).entries) == [digest(spec)], listing(file).unreadable
    (True, [2])
    """
    try:
        status = manifest.stat()
    except OSError:
        return _listing(manifest)  # which says why it cannot be read
    if time.time_ns() - status.st_mtime_ns < SETTLED:
        return _listing(manifest)
    return _copy(_listing_once(manifest, status.st_size, status.st_mtime_ns, status.st_ino))


@lru_cache(maxsize=8)  # a run of thousands of cells asks as often
def _listing_once(manifest: Path, size: int, mtime: int, inode: int) -> Listing:
    """What a manifest says, once for each state of it; the others only tell states apart."""
    del size, mtime, inode
    return _listing(manifest)


def _listing(manifest: Path) -> Listing:
    """What a manifest says now.

    A run of thousands of cells asks after every commit, and the file has only grown by a line: what
    it began with the last time is not looked at again, or the cost would be that of all pairs.
    """
    data = read_bytes(manifest, error=StoreError)
    end = data.rfind(b"\n") + 1
    memory = _memory(manifest)
    before, known = memory[0]
    if not data.startswith(before):
        before, known = b"", NOTHING
    lines = data[len(before) : end].split(b"\n")[:-1]
    now = _add_lines(known, lines, first=before.count(b"\n"))
    memory[0] = data[:end], _copy(now)
    if end < len(data):
        now.unreadable.append(data.count(b"\n") + 1)
    return now


@lru_cache(maxsize=8)
def _memory(manifest: Path) -> list[tuple[bytes, Listing]]:
    """Whole lines that were read last, and what they say; replaced in one step, never changed."""
    del manifest
    return [(b"", NOTHING)]


def _add_lines(known: Listing, lines: list[bytes], *, first: int) -> Listing:
    """What is known and what further lines say; ``first`` lines stand before them."""
    entries, files, unreadable, signed = _copy(known)
    for number, line in enumerate(lines, start=first + 1):
        entry = parse(line)
        if entry is None:
            unreadable += [number] if line.strip() else []
            continue
        is_signed = SUM in line
        if "cell" not in entry:
            files.setdefault(entry["path"], []).append(entry)
        elif is_signed or entry["cell"] not in signed:  # no line of before overrides a newer one
            entries.pop(entry["cell"], None)
            if "files" in entry:
                entries[entry["cell"]] = entry
            signed |= {entry["cell"]} if is_signed else set()
    return Listing(entries, files, unreadable, signed)


def _copy(known: Listing) -> Listing:
    """The same, for a caller who may change it."""
    files = {name: [*lines] for name, lines in known.files.items()}
    return Listing(dict(known.entries), files, [*known.unreadable], {*known.signed})


@contextmanager
def lock(manifest: Path) -> Iterator[int]:
    """Lock the run folder for a change; wait while another process changes it.

    Args:
        manifest: The file; a last line that a killed writer left unfinished is cut off, corrupt
            lines are blanked.

    Yields:
        A descriptor at the end of the file, for ``append``.

    Raises:
        StoreError: Something else stands at a place of the run folder (``layout.check_places``),
            or its file system knows no locks.
    """
    check_places(manifest.parent)
    with manifest.open("r+b", buffering=0) as handle:
        take_lock(handle)
        data = handle.read()
        before, known = _memory(manifest)[0]
        # what was whole when it was read last, and is the same, is not looked at line by line again
        is_whole = data.startswith(before) and not known.unreadable
        start = len(before) if is_whole else 0
        *lines, unfinished = data[start:].split(b"\n")
        for line in lines:
            if line.strip() and parse(line) is None:
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
        entry: ``{cell, task, config, needs, files}``; ``{path, size, sha256}`` of a file in no
            cell; or ``{cell, quarantined: True}`` to strike a cell out.

    Raises:
        StoreError: The disk is full.
    """
    line = canonical(summed(entry)) + b"\n"
    if os.write(handle, line) != len(line):
        raise StoreError(
            "the disk is full: a manifest line was cut off and does not count; free some space, "
            "run again."
        )
    os.fsync(handle)


@lru_cache(maxsize=4096)  # a manifest is read again for every question about a cell
def parse(line: bytes) -> dict[str, Any] | None:
    """What a line of a manifest says.

    Args:
        line: Its bytes.

    Returns:
        The entry without its checksum; None where it is not as it was written.
    """
    try:
        entry = json.loads(line)
        # Lines had no checksum once; those of cells vouch for all but their files. One that has it
        # is compared as bytes too, because several of them may mean one number.
        if "sum" in entry and not (is_summed(entry) and canonical(entry) == line):
            return None
        is_old = "sum" not in entry
        entry.pop("sum", None)
        if entry.keys() == TOMBSTONE:
            return entry if _ID.fullmatch(entry["cell"]) else None
        if entry.keys() == FILE:
            return None if is_old else entry
        whole = entry.keys() == CELL
        whole = whole and entry["cell"] == digest({key: entry[key] for key in SPEC})
        whole = whole and all(file.keys() == FILE for file in entry["files"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if whole else None
