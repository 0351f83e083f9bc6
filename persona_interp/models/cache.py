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

MARK = "made_from.json"
_READ: dict[tuple[Path, int, int], bytes] = {}  # path, time, size: sha256


def cache() -> Path:
    """Where are models kept that were made once?

    Returns:
        ``$PERSONA_INTERP_CACHE``, or a folder in the user's cache.
    """
    return Path(os.environ.get("PERSONA_INTERP_CACHE") or Path.home() / ".cache" / "persona_interp")


def made_once(folder: Path, key: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """Where is the folder that ``make`` fills, made now or before?

    Args:
        folder: Its final place; it appears there only when complete.
        key: What it is made from, JSON-able; kept beside the files.
        make: Fills an empty folder.

    Returns:
        The folder.

    Raises:
        ModelError: The place is taken by something else.
    """
    mark = folder / MARK
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            make(made)
            (made / MARK).write_text(
                json.dumps(key, indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )
            made.chmod(0o755)
            if not folder.exists() or not any(folder.iterdir()):
                made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    if not mark.is_file() or json.loads(mark.read_text(encoding="utf-8")) != json.loads(
        json.dumps(key)
    ):
        raise ModelError(
            f"{folder} holds something else, and nothing was overwritten; choose an empty or new "
            "folder."
        )
    return folder


def short_hash(value: Any) -> str:
    """Which short name stands for this JSON-able value? Returns 16 hex digits of its sha256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def hash_files(files: Iterable[Path]) -> str:
    """Are these the same files, byte for byte and in this order?

    Args:
        files: Files.

    Returns:
        sha256 over their hashes (hex).
    """
    return hashlib.sha256(b"".join(hash_file(file) for file in files)).hexdigest()


def hash_file(file: Path) -> bytes:
    """Is this the same file, byte for byte?

    Args:
        file: A file; one that was read before in this process and has its time and size still is
            not read again.

    Returns:
        sha256 of its contents.
    """
    about = file.stat()
    at = (file.resolve(), about.st_mtime_ns, about.st_size)
    if at not in _READ:
        with file.open("rb") as handle:
            _READ[at] = hashlib.file_digest(handle, "sha256").digest()
    return _READ[at]
