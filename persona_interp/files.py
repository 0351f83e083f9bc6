"""What is written in this file, and how is one written whole or not at all?

The one way between bytes on disk and plain values, for every room. Whatever a file holds, reading
it ends in a value or in one error of this package: nothing here unpacks as much as a file asks it
to, or waits for a pipe; ``values`` recurses no deeper than it should.
"""

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from persona_interp.errors import PersonaInterpError, SchemaError, excerpt, quote_path
from persona_interp.values import parse_json

MOST_BYTES = 2**30
"""Largest file that is read into memory."""
FREE_BYTES = 2**25
"""A .gz file may always unpack to so much; above it, see ``MOST_UNPACKED``."""
MOST_UNPACKED = 50
"""How many times its own size a .gz file may unpack to; texts reach 20."""

Error = type[PersonaInterpError]
_written: ContextVar[Callable[[Path], object] | None] = ContextVar("written", default=None)


def plain_file(path: str | Path, *, error: Error = SchemaError) -> Path:
    """Path of a file that can be read to its end, the home folder written out.

    Args:
        path: A file.
        error: Kind of error to raise.

    Returns:
        The path.

    Raises:
        PersonaInterpError: Nothing is there, or a folder, pipe or device.
    """
    try:
        path = Path(path).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError as absent:
        raise error(f"{path} cannot be read: No such file or directory.") from absent
    # ValueError: a NUL in the path; RuntimeError: a home folder of nobody
    except (OSError, ValueError, RuntimeError) as cause:
        raise error(_unreadable(path, cause)) from cause
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise error(f"{path} is {kind}; expected a file.")
    return path


def read_bytes(path: str | Path, *, error: Error = SchemaError) -> bytes:
    """Bytes of a file; a ``.gz`` file is unpacked.

    Args:
        path: A plain file.
        error: Kind of error to raise.

    Returns:
        The bytes.

    Raises:
        PersonaInterpError: It is no plain file, cannot be read, or is (or unpacks to) too much.
    """
    path = plain_file(path, error=error)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise error(f"{path} has {size / 2**30:.1f} GiB; at most 1 GiB is read.")
        data = path.read_bytes()
    except OSError as cause:
        raise error(_unreadable(path, cause)) from cause
    return _unpack(data, path, error) if path.suffix.lower() == ".gz" else data


def read_text(path: str | Path, *, error: Error = SchemaError) -> str:
    r"""Text of a file.

    Args:
        path: A text file in UTF-8, with or without byte order mark, with any line ends.
        error: Kind of error to raise.

    Returns:
        Its text; lines end in ``\n``.

    Raises:
        PersonaInterpError: It cannot be read, is empty, or is not UTF-8 (the message names the
            line).
    """
    data = read_bytes(path, error=error)
    # Spreadsheets put a byte order mark before UTF-8, which would become part of the first column's
    # name.
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data[: cause.start].count(b"\n") + 1
        raise error(
            f"{path}, line {line}: expected UTF-8; byte {data[cause.start]:#04x} is not. Save the "
            "file as UTF-8."
        ) from cause
    if not text.strip():
        raise error(f"{path} is empty; nothing can be read from it.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path, *, error: Error = SchemaError) -> Any:
    """Value of a JSON file.

    Args:
        path: The file.
        error: Kind of error to raise.

    Returns:
        As of ``parse_json``.

    Raises:
        PersonaInterpError: The file cannot be read or is no JSON.
    """
    text = read_text(path, error=error)
    try:
        return parse_json(text)
    except ValueError as cause:
        raise error(f"{path} is not valid JSON: {cause}.") from cause


def read_object(path: str | Path, *, error: Error = SchemaError) -> dict[str, Any]:
    """Object that a JSON file holds.

    Args:
        path: The file.
        error: Kind of error to raise.

    Returns:
        Its entries.

    Raises:
        PersonaInterpError: The file cannot be read, is no JSON, or holds something else.
    """
    value = read_json(path, error=error)
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, {{...}}; got {excerpt(value)}.")
    return value


def most_unpacked(size: int) -> int:
    """Most bytes that a file may unpack to.

    Args:
        size: Its own bytes.

    Returns:
        50 times as many; 32 MiB where that is more.

    >>> most_unpacked(100) == FREE_BYTES
    True
    """
    return max(FREE_BYTES, MOST_UNPACKED * size)


def fsync(path: Path) -> None:
    """Force everything of a file or folder onto the disk.

    Args:
        path: A file, or a folder whose entries (renames) must survive a power cut.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Lend a temporary path whose file appears at ``path`` only when it is complete.

    Args:
        path: The final name; missing folders above it are made.

    Yields:
        A hidden temporary path in the same folder. It is renamed when the block ends, removed when
        the block raises.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic(folder / "note.txt") as tmp:
    ...     _ = tmp.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield tmp
        # The contents must be on the disk before the name points to them: after a power cut a
        # renamed file whose blocks were never written is empty.
        fsync(tmp)
        os.replace(tmp, path)  # noqa: PTH105  (the tests fail the n-th os.replace)
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise
    # A rename is an entry of the folder, and only the folder's own fsync makes it last.
    fsync(path.parent)
    if (note := _written.get()) is not None:
        note(path)


@contextmanager
def collect_writes(tell: Callable[[Path], object] | None = None) -> Iterator[list[Path]]:
    """Lend a list that fills with the files written inside this block.

    Args:
        tell: Called with every file as soon as it is there.

    Yields:
        Their paths, in order; a file that was written twice is there twice.
    """
    written: list[Path] = []

    def note(path: Path) -> None:
        written.append(path)
        if tell is not None:
            tell(path)

    token = _written.set(note)
    try:
        yield written
    finally:
        _written.reset(token)


def write_bytes(data: bytes, path: Path | str) -> Path:
    """Write bytes to a file, whole or not at all.

    Args:
        data: What the file shall hold.
        path: The file; an existing one is replaced at once.

    Returns:
        The path.
    """
    with atomic(path) as tmp:
        tmp.write_bytes(data)
    return Path(path)


def write_text(text: str, path: Path | str) -> Path:
    """Write a text to a file, whole or not at all.

    Args:
        text: What the file shall hold.
        path: The file; an existing one is replaced at once.

    Returns:
        The path.
    """
    return write_bytes(text.encode(), path)


def _unreadable(path: str | Path, cause: Exception) -> str:
    reason = getattr(cause, "strerror", None) or cause
    return f"{quote_path(path)} cannot be read: {reason}."


def _unpack(data: bytes, path: Path, error: Error) -> bytes:
    """Unpack gzip members one after the other, and stop before they fill the memory."""
    most = min(MOST_BYTES, most_unpacked(len(data)))
    parts: list[bytes] = []
    size = 0
    try:
        while data:
            unpacker = zlib.decompressobj(wbits=31)
            while not unpacker.eof:
                part = unpacker.decompress(data, 2**20)
                data = unpacker.unconsumed_tail
                if not part and not data and not unpacker.eof:
                    raise zlib.error("it ends in the middle")
                parts.append(part)
                size += len(part)
                if size > most:
                    raise error(f"{path} unpacks to more than {most / 2**20:.0f} MiB; unpack it.")
            data = unpacker.unused_data.lstrip(b"\0")  # tapes pad with zeros
    except zlib.error as cause:
        raise error(f"{path} is not a whole .gz file: {cause}.") from cause
    return b"".join(parts)
