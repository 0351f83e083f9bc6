"""What did a kill, a full disk or a damaged disk leave? Settled before a run goes on."""

import logging
import os
from pathlib import Path
from typing import Any

from persona_interp.files import fsync, write_bytes
from persona_interp.schema.words import FileStatus
from persona_interp.store.layout import CELLS, ENTRY, LOG
from persona_interp.store.log import lacks, mend, unreadable_lines
from persona_interp.store.manifest import append, listing, lock, parse
from persona_interp.store.sums import condition
from persona_interp.store.verification import entry_bytes

_log = logging.getLogger(__name__)


def recover(root: Path, manifest: Path) -> None:
    """List cells again that vouch for themselves; set aside those that do not.

    Args:
        root: The run folder.
        manifest: Its manifest.
    """
    log = root / LOG
    is_told = not (unreadable_lines(log) or lacks(log, listing(manifest).entries))
    if is_told and not (_orphans(root, manifest) or _unsigned(root, manifest)):
        return  # the usual case needs no lock and no write permission
    with lock(manifest) as handle:
        for folder in _orphans(root, manifest):
            entry = _own_entry(folder)
            if entry is not None:
                append(handle, entry)
                _log.warning(
                    "%s was not in the manifest; its files are whole, so it is now", folder
                )
            else:
                set_aside(root, folder)
                _log.warning(
                    "%s was not in the manifest, and nothing vouches for its files; set aside in "
                    "quarantine, computed again",
                    folder,
                )
        for entry in _unsigned(root, manifest):
            own = root / CELLS / entry["cell"] / ENTRY
            if own.is_dir():
                set_aside(root, own)
            write_bytes(entry_bytes(entry), own)
        entries = listing(manifest).entries
        mend(log, {key: entry["task"].rpartition(".")[2] for key, entry in entries.items()})


def set_aside(root: Path, path: Path) -> None:
    """Move a file or folder of a run to ``quarantine``.

    Args:
        root: The run folder.
        path: What to move.
    """
    aside = root / "quarantine"
    aside.mkdir(exist_ok=True)
    n_before = sum(1 for other in aside.iterdir() if other.name.startswith(path.name))
    os.rename(path, aside / f"{path.name}-{n_before}")  # noqa: PTH104  (the tests fail the n-th)
    fsync(aside)
    fsync(path.parent)


def _orphans(root: Path, manifest: Path) -> list[Path]:
    """Folders of cells that no manifest line vouches for."""
    folder = root / CELLS
    if not folder.is_dir():
        return []
    entries = listing(manifest).entries
    return [path for path in sorted(folder.iterdir()) if path.name not in entries]


def _own_entry(folder: Path) -> dict[str, Any] | None:
    """A cell's own copy of its line; None where it is damaged, or a file of the cell is."""
    own = folder / ENTRY
    entry = parse(own.read_bytes().removesuffix(b"\n")) if own.is_file() else None
    if entry is None or entry.get("cell") != folder.name or "files" not in entry:
        return None
    whole = all(condition(folder, file) == FileStatus.OK for file in entry["files"])
    return entry if whole else None


def _unsigned(root: Path, manifest: Path) -> list[dict[str, Any]]:
    """Entries of finished cells whose own copy is lost or damaged."""
    entries = []
    for key, entry in listing(manifest).entries.items():
        folder = root / CELLS / key
        own = folder / ENTRY
        if folder.is_dir() and (not own.is_file() or own.read_bytes() != entry_bytes(entry)):
            entries.append(entry)
    return entries
