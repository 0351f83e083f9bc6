"""Which rows does this file hold, and on which line is one wrong?"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import SchemaError, unknown
from persona_interp.files import read_json, read_text
from persona_interp.values import decode_json, parse_json

MOST_PROBLEMS = 20
"""Most bad rows that a message names."""
UNNAMED = "column"
"""What a column without a name is called, before its number; tables with an index have one."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
ENDINGS = (".jsonl", ".json", *DELIMITERS)


class Row(NamedTuple):
    """One row of a file: the line on which it begins (from 1) and its value."""

    line: int
    value: Any


def read_rows(path: str | Path) -> list[Row]:
    """Rows of a file, each with its line.

    Args:
        path: A ``.jsonl``, ``.json``, ``.csv`` or ``.tsv`` file. JSON is a list or one value a
            line, whatever the ending says; a table has a header, and an empty cell is ''.

    Returns:
        The rows, in order.

    Raises:
        SchemaError: The file cannot be read, has another ending or no rows, or rows are malformed
            (each is named).
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise SchemaError(f"{path}: {unknown('ending of a file of rows', ending, ENDINGS)}")
    text = read_text(path)
    if ending in DELIMITERS:
        return _table(path, text, delimiter=DELIMITERS[ending])
    # What the text begins with decides, not the ending: lists are published as .jsonl and lines as
    # .json.
    if text.lstrip().startswith("["):
        return _json_list(path, text)
    if text.lstrip().partition("\n")[0].strip() == "{":
        read_json(path)  # one object over many lines: says what is wrong with it
        raise SchemaError(f"{path} is one object; expected a list of rows, or one row a line.")
    return _json_lines(path, text)


def refuse(path: str | Path, problems: Sequence[tuple[int, str]], *, total: int) -> None:
    """Refuse a file some of whose rows cannot be used.

    Args:
        path: The file.
        problems: (line, what is wrong) of each bad row.
        total: Number of rows.

    Raises:
        SchemaError: There are bad rows; the message names the first 20 by line and counts all.

    >>> refuse("chats.jsonl", [(3, "no messages")], total=8)
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: chats.jsonl: 1 of 8 rows cannot be used, \
and none is dropped in silence.
      line 3: no messages
    """
    if not problems:
        return
    lines = [f"  line {line}: {what.rstrip('.')}" for line, what in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"  and {len(problems) - MOST_PROBLEMS} more")
    head = (
        f"{path}: {len(problems)} of {total} rows cannot be used, and none is dropped in silence."
    )
    raise SchemaError("\n".join([head, *lines]))


def _json_lines(path: Path, text: str) -> list[Row]:
    rows, problems = [], []
    # Never splitlines(): JSON strings may hold U+2028 and others that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(Row(number, parse_json(line)))
            except ValueError as error:
                problems.append((number, f"not valid JSON: {error}"))
    refuse(path, problems, total=len(rows) + len(problems))
    return rows


def _json_list(path: Path, text: str) -> list[Row]:
    """Entries of a JSON list, read one by one so that each knows its line."""
    rows: list[Row] = []
    at = _skip(text, text.index("[") + 1)
    try:
        while text[at : at + 1] != "]":
            value, end = decode_json(text, start=at)
            rows.append(Row(_line(text, at), value))
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise ValueError("expected ',' or ']'")
        if text[at + 1 :].strip():
            raise ValueError("there is more after the list")
    except ValueError as error:
        raise SchemaError(f"{path}, line {_line(text, at)}: not valid JSON: {error}.") from error
    if not rows:
        raise SchemaError(f"{path} is an empty list; it has no rows.")
    return rows


def _line(text: str, at: int) -> int:
    """Number of the line, from 1, in which a character stands."""
    return text.count("\n", 0, at) + 1


def _skip(text: str, at: int) -> int:
    """Place of the next character that is no white space."""
    while text[at : at + 1].isspace():
        at += 1
    return at


def _table(path: Path, text: str, *, delimiter: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows, problems = [], []
    header: list[str] = []
    # A quoted cell may hold line ends, so a row begins after the line that ends the one before it.
    start = 1
    try:
        for cells in reader:
            if not header:
                header = [cell.strip() or f"{UNNAMED} {i}" for i, cell in enumerate(cells, start=1)]
            elif cells and len(cells) != len(header):
                names = ", ".join(header)
                what = f"{len(cells)} cells under a header of {len(header)}: {names}"
                problems.append((start, what))
            elif cells:
                rows.append(Row(start, dict(zip(header, cells, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise SchemaError(f"{path}, line {start}: not a valid table: {error}.") from error
    if len(header) == 1 and any(other in header[0] for other in ";\t,"):
        raise SchemaError(
            f"{path}: cells are separated by {delimiter!r}; the header is one cell, {header[0]!r}."
        )
    if len(set(header)) < len(header):
        raise SchemaError(f"{path}: every column needs a name of its own; got {', '.join(header)}.")
    refuse(path, problems, total=len(rows) + len(problems))
    if not rows:
        raise SchemaError(f"{path} has a header and no rows.")
    return rows
