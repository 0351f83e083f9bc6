"""Which rows does a source hold? A file of any ending, a table, a data set or a list."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import tables
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import read_text
from persona_interp.readers.formats import TEXTS, parse_rows
from persona_interp.readers.rows import Row, Source
from persona_interp.values import MOST_DEPTH, check_surrogates

PARQUET = ".parquet"
GZIP = ".gz"
ENDINGS = (*TEXTS, PARQUET)
EXPORTS = ("to_list", "to_pylist", "to_dicts")
"""How a data set, an Arrow table and other tables give their rows."""
MESSAGE_KEYS = ({"role", "content"}, {"from", "value"})


def rows_of(source: Any, *, columns: Iterable[str] = ()) -> Source:
    """Rows of a source.

    Args:
        source: A path of one of ``ENDINGS`` (texts also as ``.gz``); a DataFrame; a data set with
            ``to_list``; a list of texts, of objects or of chats; one chat.
        columns: Names that tell a table from plain lines in a ``.txt`` file.

    Returns:
        Its rows.

    Raises:
        SchemaError: It is none of these, cannot be read, or has no rows.

    >>> rows_of(["Why?", "How?"]).rows[1]
    Row(line=1, value='How?', fault='')
    """
    if isinstance(source, str | Path):
        return _of_file(Path(source), columns=columns)
    if isinstance(source, Mapping):
        splits = ", ".join(f"'{key}'" for key in list(source)[:8])
        raise SchemaError(
            f"expected a file, a table or a list of rows; got a mapping of {splits or 'nothing'}. "
            "Name one of its tables, or put one row into a list."
        )
    name = f"this {type(source).__name__}"
    values = _plain(_values(source, name))
    if not values:
        raise SchemaError(f"{name} is empty; it has no rows.")
    if _is_chat(values[0]):
        values = [values]  # one chat where a list of chats is expected
    rows = [Row(number, value) for number, value in enumerate(values)]
    return Source(name, "rows", f"a {type(source).__name__}", rows, unit="row")


def stem_of(path: Path) -> str:
    """Name of a file without its ending, and without ``.gz`` behind that.

    Args:
        path: The file.

    Returns:
        The name.

    >>> stem_of(Path("data/chats.jsonl.gz"))
    'chats'
    """
    return Path(path.stem).stem if path.suffix.lower() == GZIP else path.stem


def ending_of(path: Path) -> str:
    """Ending of a file in small letters, without ``.gz``.

    Args:
        path: The file.

    Returns:
        The ending.
    """
    name = path.with_suffix("") if path.suffix.lower() == GZIP else path
    return name.suffix.lower()


def _of_file(path: Path, *, columns: Iterable[str]) -> Source:
    ending = ending_of(path)
    if ending not in ENDINGS:
        message = unknown("ending of a file of rows", ending, ENDINGS)
        if not path.suffix or " " in path.name:
            message += " A text itself is a list of one: ['...']."
        raise SchemaError(f"{excerpt(path.name)}: {message}")
    stem = stem_of(path)
    if ending == PARQUET:
        rows = [Row(number, value) for number, value in enumerate(tables.read_rows(path))]
        return Source(str(path), stem, "parquet", rows, unit="row")
    form, rows, unit = parse_rows(path, read_text(path), ending=ending, columns=columns)
    if form == "a JSON list" and _is_chat(rows[0].value):
        rows = [Row(rows[0].line, [row.value for row in rows])]
    return Source(str(path), stem, form, rows, unit)


def _is_chat(value: Any) -> bool:
    """Whether this is a message, so that the list around it is one chat."""
    return isinstance(value, dict) and any(keys <= set(value) for keys in MESSAGE_KEYS)


def _values(source: Any, name: str) -> list[Any]:
    """Rows of a table, a data set or a list, as its library gives them."""
    if isinstance(source, pd.DataFrame):
        labels = [str(column) for column in source.columns]
        if len(set(labels)) < len(labels):
            raise SchemaError(f"{name}: every column needs a name of its own.")
        return _with_index(source.set_axis(labels, axis=1)).to_dict("records")
    if isinstance(source, np.ndarray) and source.ndim == 0:
        raise SchemaError(
            f"expected an array of rows; got one value, {excerpt(source.item())}. Put it into a "
            "list."
        )
    if isinstance(source, pd.Series | np.ndarray | list | tuple):
        return list(source)
    for export in EXPORTS:
        if callable(getattr(source, export, None)):
            return list(getattr(source, export)())
    raise SchemaError(
        f"expected a file, a DataFrame, a data set or a list; got {excerpt(source)}. "
        "Of a data set that is streamed take some rows: list(data.take(1000))."
    )


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the names of its rows in a column, where they are no numbers of rows."""
    levels = [name for name in table.index.names if name is not None and name not in table]
    if levels:
        return table.reset_index(level=levels)
    index = table.index
    is_named = index.nlevels == 1 and not pd.api.types.is_integer_dtype(index.dtype)
    if is_named and index.name is None and "index" not in table:
        return table.rename_axis("index").reset_index()
    return table


def _plain(value: Any, depth: int = 0) -> Any:
    """The value in lists, dicts and what JSON has; None for missing ones."""
    if depth > MOST_DEPTH:
        raise SchemaError(f"values are nested deeper than {MOST_DEPTH}.")
    if isinstance(value, str):
        try:
            check_surrogates(value)
        except ValueError as error:
            raise SchemaError(f"{error}.") from error
        return str(value)
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(entry, depth + 1) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return value
