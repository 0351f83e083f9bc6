"""What in a run folder does nobody need any more?

Never a cell that is planned, done or not, nor what one has begun: that is taken up again. Where the
plan is lost, every finished cell counts as planned (``Store.planned``), so nothing is garbage.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from persona_interp.store.claims import try_claim
from persona_interp.store.layout import ASIDE, CELLS, MANIFEST, WORK
from persona_interp.store.manifest import append, listing, lock
from persona_interp.store.states import claim_file
from persona_interp.store.store import Store


class Garbage(NamedTuple):
    """Something that nobody needs; ``path`` is relative to the run folder."""

    path: str
    bytes: int
    reason: str


def list_garbage(store: Store) -> pd.DataFrame:
    """What ``collect_garbage`` would delete.

    Args:
        store: A run.

    Returns:
        One row a file or folder: ``path``, ``bytes``, ``reason``.

    >>> import tempfile
    >>> list_garbage(Store(tempfile.mkdtemp())).empty
    True
    """
    return pd.DataFrame(_garbage(store), columns=list(Garbage._fields))


def collect_garbage(store: Store) -> pd.DataFrame:
    """Delete what nobody needs.

    Args:
        store: A run; others may compute in it meanwhile.

    Returns:
        What was deleted, as of ``list_garbage``.
    """
    store.recover()
    gone = [one for one in _garbage(store) if _delete(store, one)]
    return pd.DataFrame(gone, columns=list(Garbage._fields))


def _garbage(store: Store) -> Iterator[Garbage]:
    planned = {cell.id for cell in store.planned()}
    done = {key for key in store.manifest() if (store.root / CELLS / key).is_dir()}
    for path in _inside(store.root / ASIDE):
        yield Garbage(f"{ASIDE}/{path.name}", _size(path), "was set aside as damaged")
    for path in _inside(store.root / WORK):
        if path.is_dir() and path.name not in planned - done:
            reason = "its cell is done" if path.name in done else "no plan names its cell"
            yield Garbage(f"{WORK}/{path.name}", _size(path), reason)
    for path in _inside(store.root / CELLS):
        if path.name in done - planned:
            yield Garbage(f"{CELLS}/{path.name}", _size(path), "no plan names it")


def _delete(store: Store, one: Garbage) -> bool:
    """Delete it, unless somebody works on it; whether it is gone."""
    path = store.root / one.path
    if path.parent.name == ASIDE:
        _remove(path)
        return True
    with try_claim(claim_file(store.root, path.name)) as is_ours:
        if not is_ours:
            return False
        if path.parent.name == WORK:
            _remove(path)
            return True
        return _strike_out(store, path)


def _strike_out(store: Store, folder: Path) -> bool:
    """Delete a finished cell, unless it was planned meanwhile."""
    manifest, leftover = store.root / MANIFEST, store.root / WORK / folder.name
    with lock(manifest) as handle:
        # the plan is written under this lock
        if folder.name in {cell.id for cell in store.planned()}:
            return False
        if folder.name in listing(manifest).entries:
            # a kill after it leaves a folder without a line, which is listed again and found again
            append(handle, {"cell": folder.name, "quarantined": True})
            _remove(leftover)
            os.rename(folder, leftover)  # noqa: PTH104  (the tests fail the n-th os.rename)
    _remove(leftover)
    return True


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
