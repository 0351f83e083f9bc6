"""Where are models kept that were made once: tiny ones, dequantized files, merged adapters?"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.files import fsync, read_object, write_text

KEY_FILE = "made_from.json"
_HASHES: dict[tuple[Path, int, int], bytes] = {}  # by path, time of change (ns) and size (bytes)


def cache() -> Path:
    """Folder of the models that were made once.

    Returns:
        ``$PERSONA_INTERP_CACHE``, or a folder in the user's cache.
    """
    return Path(os.environ.get("PERSONA_INTERP_CACHE") or Path.home() / ".cache" / "persona_interp")


def make_once(folder: Path, key: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """Folder that ``make`` fills, now or in an earlier call.

    Args:
        folder: Its final place; it appears there only when complete.
        key: What it is made from, JSON-able; kept beside the files with their hashes.
        make: Fills an empty folder.

    Returns:
        The folder, its files as they were made. In the cache a damaged one is made again.

    Raises:
        ModelError: The place is taken by something else, or, outside of the cache, damaged.
    """
    # through JSON and back, because JSON makes a tuple a list
    key = json.loads(json.dumps(key))
    try:
        is_cached = folder.resolve().is_relative_to(cache().resolve())
        damage = _damage(folder, key, is_cached=is_cached)
        if damage and not is_cached:
            raise ModelError(f"{folder} is damaged: {damage}. Remove it, and it is made again.")
        if damage:
            _remove(folder)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            _fill(folder, key, make)
    except OSError as cause:
        raise ModelError(
            f"{folder} cannot be written: {cause.strerror or cause}. Name another folder, or "
            "another cache (PERSONA_INTERP_CACHE)."
        ) from cause
    if _record(folder).get("key") != key:
        raise ModelError(
            f"{folder} holds something else, and nothing was overwritten; choose an empty or new "
            "folder."
        )
    return folder


def short_hash(value: Any) -> str:
    """Short name of a JSON-able value: 16 hex digits of its sha256."""
    return _sha256(value)[:16]


def read_kept(file: Path) -> dict[str, Any] | None:
    """Facts that were kept in a file of their own.

    Args:
        file: The file.

    Returns:
        The facts; None where there are none, or not as they were written.
    """
    try:
        record = read_object(file, error=ModelError)
    except ModelError:
        return None
    content = record.get("content")
    # a file that was cut or changed is made again
    return content if record.get("sha256") == short_hash(content) else None


def keep(content: dict[str, Any], file: Path) -> None:
    """Keep facts in a file, with their hash.

    Args:
        content: The facts, JSON-able.
        file: Where.

    Raises:
        ModelError: The cache cannot be written.
    """
    content = json.loads(json.dumps(content))
    try:
        write_text(json.dumps({"content": content, "sha256": short_hash(content)}), file)
    except OSError as cause:
        raise ModelError(
            f"{file} cannot be written: {cause.strerror or cause}. Name another folder, "
            "or another cache (PERSONA_INTERP_CACHE)."
        ) from cause


def hash_files(files: Iterable[Path]) -> str:
    """Hash of these files, byte for byte and in this order.

    Args:
        files: Files.

    Returns:
        sha256 over their hashes (hex).
    """
    return hashlib.sha256(b"".join(hash_file(file) for file in files)).hexdigest()


def hash_file(file: Path) -> bytes:
    """Hash of a file's bytes.

    Args:
        file: A file; one that was read before in this process and has its time and size still is
            not read again.

    Returns:
        sha256 of its contents.
    """
    about = file.stat()
    version = (file.resolve(), about.st_mtime_ns, about.st_size)
    if version not in _HASHES:
        with file.open("rb") as handle:
            _HASHES[version] = hashlib.file_digest(handle, "sha256").digest()
    return _HASHES[version]


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _record(folder: Path) -> dict[str, Any]:
    """What is kept beside the files: key and hashes; nothing where it cannot be read."""
    try:
        return read_object(folder / KEY_FILE, error=ModelError)
    except ModelError:
        return {}


def _damage(folder: Path, key: Any, *, is_cached: bool) -> str:
    """What is wrong with a folder that was made from this key; "" for nothing."""
    if not (folder / KEY_FILE).is_file():
        # whatever else it may be, a folder of the cache has its record
        is_taken = is_cached and folder.is_dir() and any(folder.iterdir())
        return f"{KEY_FILE} is gone" if is_taken else ""
    record = _record(folder)
    content = [record.get("key"), record.get("files")]
    if not isinstance(record.get("files"), dict) or record.get("sha256") != _sha256(content):
        return f"{KEY_FILE} is not as it was written"
    if record["key"] != key:
        return ""
    for name, digest in record["files"].items():
        file = folder / Path(name).name
        if not file.is_file():
            return f"{name} is gone"
        if hash_file(file).hex() != digest:
            return f"{name} is not as it was made"
    return ""


def _remove(folder: Path) -> None:
    """Remove a folder of the cache, at once for those who look."""
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.replace(aside / "damaged")
    shutil.rmtree(aside, ignore_errors=True)


def _fill(folder: Path, key: dict[str, Any], make: Callable[[Path], None]) -> None:
    """Make the folder beside its place, then move it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        make(draft)
        hashes = {file.name: hash_file(file).hex() for file in sorted(draft.iterdir())}
        record = {"key": key, "files": hashes, "sha256": _sha256([key, hashes])}
        write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", draft / KEY_FILE)
        for file in draft.iterdir():
            fsync(file)
        draft.chmod(0o755)  # mkdtemp lets nobody else read it
        # another process may have been faster; a rename within one file system is atomic, so
        # nobody ever sees half a model
        if not folder.exists() or not any(folder.iterdir()):
            draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
