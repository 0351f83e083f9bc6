"""How are things kept that were paid for? One line of JSON each, written when it is given."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.files import write_text

Kinds = Mapping[str, type | tuple[type, ...]]
"""Types by field."""


def read_ledger(file: Path | None, kinds: Kinds) -> dict[str, dict[str, Any]]:
    """Rows that were kept, by key.

    A last line without its end was being written when its writer died; it is cut off.

    Args:
        file: The file; None or missing: nothing was kept.
        kinds: Fields of a row beside its key, and their types.

    Returns:
        By key, the fields.

    Raises:
        StoreError: A line is something else, or the file is no UTF-8.
    """
    if file is None or not file.is_file():
        return {}
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(f"{file} is no text in UTF-8 ({error}); remove the file.") from error
    text, _, torn_line = content.rpartition("\n")
    if torn_line:
        # or the next row would be appended to half a line
        write_text(f"{text}\n" if text else "", file)
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            fields = {name: row[name] for name in kinds}
            for name, kind in kinds.items():
                if not isinstance(fields[name], kind):
                    raise TypeError(f"{name} is a {type(fields[name]).__name__}")
            rows[row["key"]] = fields
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file}, line {number}, is no kept {', '.join(kinds)} ({error}); remove the line "
                "or the file."
            ) from error
    return rows


def append_row(file: Path | None, key: str, fields: Mapping[str, Any]) -> None:
    """Keep one row.

    Args:
        file: The file, made when missing; None: nothing is kept.
        key: Its key.
        fields: JSON values.
    """
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"key": key, **fields}) + "\n")
