"""What is written in this file? The one way between bytes on disk and plain JSON values."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from persona_interp.errors import SchemaError, unknown

Value = TypeVar("Value")


def text_of(path: str | Path) -> str:
    r"""Text of a file.

    Args:
        path: A text file in UTF-8, with or without byte order mark, with any line ends.

    Returns:
        Its text; lines end in ``\n``.

    Raises:
        SchemaError: It cannot be read, is empty, or is not UTF-8 (the message names the line).
    """
    path = Path(path).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Spreadsheets put a byte order mark before UTF-8, which would become part of the first column's
    # name.
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SchemaError(
            f"{path}, line {line}: expected UTF-8; byte {data[error.start]:#04x} is not. Save the "
            "file as UTF-8."
        ) from error
    if not text.strip():
        raise SchemaError(f"{path} is empty; nothing can be read from it.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str) -> Any:
    """Value of a JSON text.

    Args:
        text: JSON.

    Returns:
        Dicts, lists, strings, numbers, booleans, None.

    Raises:
        ValueError: It is no JSON, or a key is there twice, of which a parser would silently keep
            the last.

    >>> parse('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' is there twice; keep one
    """
    return json.loads(text, object_pairs_hook=mapping_of)


def read_json(path: str | Path) -> Any:
    """Value of a JSON file.

    Args:
        path: The file.

    Returns:
        As of ``parse``.

    Raises:
        SchemaError: The file cannot be read or is no JSON.
    """
    text = text_of(path)
    try:
        return parse(text)
    except ValueError as error:
        raise SchemaError(f"{path} is not valid JSON: {error}.") from error


def read_each(
    folder: str | Path, names: Iterable[str] | None, *, read: Callable[[Path], Value], kind: str
) -> dict[str, Value]:
    """Read the ``.json`` files of a folder, by name.

    Args:
        folder: The folder, or one file.
        names: Which files, by name without ending; None for all.
        read: Reads one.
        kind: What one describes, for messages.

    Returns:
        By name, sorted by name.

    Raises:
        SchemaError: There is none, or none of that name.
    """
    folder = Path(folder).expanduser()
    files = [folder] if folder.is_file() else folder.glob("*.json")
    paths = {path.stem: path for path in sorted(files)}
    if not paths:
        what = "has no .json files" if folder.is_dir() else "does not exist"
        below = sorted({file.parent for file in folder.glob("*/*.json")})
        hint = f" Did you mean {' or '.join(map(str, below))}?" if below else ""
        raise SchemaError(f"{folder} {what}; expected a folder of {kind} files.{hint}")
    if names is None:
        names = paths
    elif isinstance(names, str):
        names = [names]
    names = sorted(set(names))
    for name in names:
        if name not in paths:
            raise SchemaError(f"{folder}: {unknown(kind, name, paths)}")
    return {name: read(paths[name]) for name in names}


def write_json(entries: Mapping[str, Any], path: str | Path) -> Path:
    """Write entries to a JSON file of the kind that other people's tools read.

    Unlike ``tables.write_json``, which keeps the files of a run (whole or not at all, no NaN), this
    writes a user's own file as its authors publish it.

    Args:
        entries: What to write.
        path: A ``.json`` file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        SchemaError: The file does not end in .json, which is how folders of them are read.
    """
    path = Path(path).expanduser()
    if path.suffix != ".json":
        raise SchemaError(f"this kind of file ends in .json; got '{path.name}'.")
    path.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def mapping_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Mapping of keys and values, if no key is there twice.

    Args:
        pairs: Keys and values, in order: what ``json`` gives to its ``object_pairs_hook``.

    Returns:
        The mapping.

    Raises:
        ValueError: A key is there twice, of which ``json`` would silently keep the last.
    """
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"the key '{key}' is there twice; keep one")
        mapping[key] = value
    return mapping
