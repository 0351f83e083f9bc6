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
        key: What it is made from, JSON-able; kept beside the files.
        make: Fills an empty folder.

    Returns:
        The folder.

    Raises:
        ModelError: The place is taken by something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        _fill(folder, key, make)
    key_file = folder / KEY_FILE
    # through JSON and back, because JSON makes a tuple a list
    json_key = json.loads(json.dumps(key))
    if not key_file.is_file() or json.loads(key_file.read_text(encoding="utf-8")) != json_key:
        raise ModelError(
            f"{folder} holds something else, and nothing was overwritten; choose an empty or new "
            "folder."
        )
    return folder


def short_hash(value: Any) -> str:
    """Short name of a JSON-able value: 16 hex digits of its sha256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


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


def _fill(folder: Path, key: dict[str, Any], make: Callable[[Path], None]) -> None:
    """Make the folder beside its place, then move it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        make(draft)
        key_text = json.dumps(key, indent=1, sort_keys=True) + "\n"
        (draft / KEY_FILE).write_text(key_text, encoding="utf-8")
        draft.chmod(0o755)  # mkdtemp lets nobody else read it
        # another process may have been faster; a rename within one file system is atomic, so
        # nobody ever sees half a model
        if not folder.exists() or not any(folder.iterdir()):
            draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
