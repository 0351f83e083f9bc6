"""Which bytes were committed, and are they still the same?"""

import hashlib
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.files import fsync
from persona_interp.schema.words import FileStatus
from persona_interp.store.cell import digest


def summed(entry: dict[str, Any]) -> dict[str, Any]:
    """Line of a manifest or log that knows its own checksum.

    Args:
        entry: What it says.

    Returns:
        The entry with ``sum``.

    >>> is_summed(summed({"cell": "a"})), is_summed({"cell": "b", "sum": "0"})
    (True, False)
    """
    return {**entry, "sum": digest(entry)}


def is_summed(entry: dict[str, Any]) -> bool:
    """Whether a line is as it was written.

    Args:
        entry: A line with ``sum``.

    Returns:
        Whether the checksum is that of the rest.
    """
    return entry["sum"] == digest({key: value for key, value in entry.items() if key != "sum"})


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
            _drop(path)
    files = []
    for path in sorted(folder.rglob("*"), reverse=True):  # files before the folder that holds them
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StoreError(
                f"{path} is not a plain file; a task writes files and folders, copies instead of "
                "links."
            )
        fsync(path)
        if path.is_file():
            files.append(sum_of(folder, path))
    if not files:
        raise StoreError(
            "the task wrote no file (hidden ones do not count); write its results into the folder "
            "`out`."
        )
    fsync(folder)
    return files[::-1]


def _drop(folder: Path) -> None:
    """Remove a folder; a kill in the middle leaves no half of it under its name."""
    aside = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    folder.rename(aside / "dropped")
    shutil.rmtree(aside)


def sum_of(folder: Path, path: Path) -> dict[str, Any]:
    """What a listing says of a file.

    Args:
        folder: The folder that the listing is of.
        path: A file in it.

    Returns:
        ``{path, size, sha256}``, the path relative to the folder.
    """
    name = path.relative_to(folder).as_posix()
    return {"path": name, "size": path.stat().st_size, "sha256": _sha256(path)}


def sum_of_bytes(folder: Path, path: Path, data: bytes) -> dict[str, Any]:
    """What a listing says of a file that is to hold these bytes.

    Args:
        folder: The folder that the listing is of.
        path: A file in it, perhaps not there yet.
        data: Its bytes.

    Returns:
        As of ``sum_of``.
    """
    name = path.relative_to(folder).as_posix()
    return {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def condition(folder: Path, file: dict[str, Any], *, again: bool = True) -> FileStatus:
    """Condition of a file beside what was committed.

    Args:
        folder: The folder of its cell.
        file: ``{path, size, sha256}`` from the manifest.
        again: Whether to read the file even if this process did and it was not written since.

    Returns:
        Ok, missing, or corrupt: another size or sha256, or a path that leaves the folder.
    """
    path = folder / file["path"]
    if not path.is_file():
        return FileStatus.MISSING
    # a manifest from elsewhere may name any path
    if not path.resolve().is_relative_to(folder.resolve()):
        return FileStatus.CORRUPT
    status = path.stat()
    if status.st_size != file["size"]:
        return FileStatus.CORRUPT
    if again:
        sha256 = _sha256(path)
    else:
        sha256 = _sha256_once(path, status.st_size, status.st_mtime_ns, status.st_ino)
    return FileStatus.OK if sha256 == file["sha256"] else FileStatus.CORRUPT


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=65536)
def _sha256_once(path: Path, size: int, mtime: int, inode: int) -> str:
    """Hash of a file, once for each state of it; the others only tell states apart."""
    del size, mtime, inode
    return _sha256(path)
