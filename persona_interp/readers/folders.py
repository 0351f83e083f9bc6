"""Which files of one kind does a folder hold?"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from persona_interp.errors import SchemaError, unknown
from persona_interp.files import write_text

Value = TypeVar("Value")


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
    return write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", path)
