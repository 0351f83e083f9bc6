"""Which rows does a text hold? JSON, one value a line, a table, YAML, or plain lines.

What a text begins with decides, not the ending of its file: lists are published as ``.jsonl``,
lines as ``.json``, and either as ``.txt``.
"""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import MOST_BYTES
from persona_interp.readers.rows import Row
from persona_interp.values import decode_json, parse_json, parse_yaml, parse_yaml_list

UNNAMED = "column"
"""What a column without a name is called, before its number; tables with an index have one."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
YAML = (".yaml", ".yml")
TEXTS = (".jsonl", ".json", ".ndjson", *DELIMITERS, ".txt", *YAML)

JSON_START = re.compile(r'\s*(?:\[\s*(?:[\[{"\]]|$)|\{\s*(?:["}]|$))')
"""How a list of objects, lists or texts begins, and an object; a text in brackets does not."""
ROWS_UNDER = ("data", "rows", "examples", "instances", "records", "items")
"""Keys under which files keep their rows, beside what they say of themselves."""
YAML_START = re.compile(r"-\s+(?:\w+:\s|\{)")


class Parsed(NamedTuple):
    """Rows of a text, and what it was taken for.

    Attributes:
        form: What it was taken for.
        rows: Its rows; malformed ones have a fault.
        unit: What their numbers count.
    """

    form: str
    rows: list[Row]
    unit: str = "line"


def parse_rows(path: Path, text: str, *, ending: str, columns: Iterable[str]) -> Parsed:
    """Rows of a text.

    Args:
        path: Its file, for messages.
        text: What the file holds.
        ending: Of the file, without ``.gz``: one of ``TEXTS``.
        columns: Names that tell a table from plain lines in a ``.txt`` file.

    Returns:
        Its rows, at least one.

    Raises:
        SchemaError: It is malformed as a whole, or holds no rows.
    """
    if ending in YAML:
        return _yaml(path, text)
    start = text.lstrip()
    if JSON_START.match(start) or (ending in (".json", ".jsonl", ".ndjson") and start[0] in "[{"):
        first_line = text.count("\n", 0, len(text) - len(start)) + 1
        return _json(path, start, first_line=first_line, columns=columns)
    if ending in DELIMITERS:
        delimiter = _delimiter(start.partition("\n")[0], DELIMITERS[ending])
        form = ending[1:].upper()
        if delimiter != DELIMITERS[ending]:
            form += f" with {delimiter!r} between cells"
        return Parsed(form, _table(path, text, delimiter=delimiter))
    if ending != ".txt":
        return Parsed("JSON lines", _json_lines(text))
    first = start.partition("\n")[0]
    if YAML_START.match(first):
        raise SchemaError(f"{path} holds YAML, not a text a line; give its name the ending .yaml.")
    for delimiter in (",", "\t", ";"):
        cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
        if set(cells) & set(columns) and all(re.fullmatch(r"\w*", cell) for cell in cells):
            return Parsed(f"a table in {ending}", _table(path, text, delimiter=delimiter))
    lines = enumerate(text.split("\n"), start=1)
    return Parsed("plain text", [Row(n, line.strip()) for n, line in lines if line.strip()])


def _delimiter(header: str, delimiter: str) -> str:
    """What stands between the cells of a table: what its header has, if that is but one of them."""
    others = [other for other in ",;\t" if other in header]
    return others[0] if len(others) == 1 else delimiter


def _json(path: Path, text: str, *, first_line: int, columns: Iterable[str]) -> Parsed:
    """Rows of a JSON list, of one object, or of one value a line."""
    first = text.partition("\n")[0].strip()
    # one value a line: the first is one by itself, or broken by itself where no list or object
    # opens that goes on
    lines = first != text.strip() and (_is_value(first) or (text[0] == "{" and first != "{"))
    if lines:
        return Parsed("JSON lines", _json_lines(text, first_line=first_line))
    if text.startswith("["):
        return Parsed("a JSON list", _json_list(path, text, first_line=first_line))
    try:
        value = parse_json(text)
    except ValueError as error:
        raise SchemaError(f"{path} is not valid JSON: {error}.") from error
    keys = [
        key for key in ROWS_UNDER if isinstance(value, dict) and isinstance(value.get(key), list)
    ]
    if len(keys) == 1 and not value[keys[0]]:
        raise SchemaError(f"{path}: its list '{keys[0]}' is empty; it has no rows.")
    # beside a column of its own, a list is one of its entries
    if len(keys) == 1 and value[keys[0]] and not {*value} & {*columns}:
        rows = [Row(number, row) for number, row in enumerate(value[keys[0]], start=1)]
        return Parsed(f"the list '{keys[0]}' of a JSON object", rows, "entry")
    return Parsed("one JSON object", [Row(first_line, value)])


def _is_value(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict | list)
    except ValueError:
        return False


def _json_lines(text: str, *, first_line: int = 1) -> list[Row]:
    rows = []
    # Never splitlines(): JSON strings may hold U+2028 and others that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=first_line):
        if line.strip():
            try:
                rows.append(Row(number, parse_json(line)))
            except ValueError as error:
                rows.append(Row(number, None, f"not valid JSON: {error}"))
    return rows


def _json_list(path: Path, text: str, *, first_line: int) -> list[Row]:
    """Entries of a JSON list, read one by one so that each knows its line."""
    rows: list[Row] = []
    at = _skip(text, text.index("[") + 1)
    line, counted = text.count("\n", 0, at) + first_line, at
    try:
        while text[at : at + 1] != "]":
            value, end = decode_json(text, start=at)
            rows.append(Row(line, value))
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise ValueError("expected ',' or ']'")
            line, counted = line + text.count("\n", counted, at), at
        if text[at + 1 :].strip():
            raise ValueError("there is more after the list")
    except ValueError as error:
        line = text.count("\n", 0, at) + first_line
        raise SchemaError(f"{path}, line {line}: not valid JSON: {error}.") from error
    if not rows:
        raise SchemaError(f"{path} is an empty list; it has no rows.")
    return rows


def _skip(text: str, at: int) -> int:
    """Place of the next character that is no white space."""
    while text[at : at + 1].isspace():
        at += 1
    return at


def _yaml(path: Path, text: str) -> Parsed:
    """Entries of a YAML list, alone or under one key; of a mapping of names, named by ``id``."""
    try:
        entries = parse_yaml_list(text)
        value: Any = None if entries else parse_yaml(text)
    except ValueError as error:
        raise SchemaError(f"{path} is not valid YAML: {error}.") from error
    if entries:
        return Parsed("YAML", [Row(line, entry) for line, entry in entries])
    lists = list(value.values()) if isinstance(value, dict) else []
    if len(lists) == 1 and isinstance(lists[0], list):
        value = lists[0]
    elif isinstance(value, dict) and all(isinstance(entry, dict) for entry in value.values()):
        value = [{"id": key, **entry} for key, entry in value.items()]
    if not isinstance(value, list) or not value:
        raise SchemaError(
            f"{path}: expected a list of questions, each with id and paraphrases, or of other "
            f"rows; got {excerpt(value)}."
        )
    return Parsed("YAML", [Row(n, entry) for n, entry in enumerate(value, start=1)], "entry")


def _table(path: Path, text: str, *, delimiter: str) -> list[Row]:
    rows: list[Row] = []
    header: list[str] = []
    # A quoted cell may hold line ends, so a row begins after the line that ends the one before it.
    start = 1
    # Answers are longer than the longest cell that the module reads by itself, which is one number
    # for the whole process.
    limit = csv.field_size_limit(MOST_BYTES)
    try:
        header_line = text.lstrip().partition("\n")[0]
        spaced = 0 < header_line.count(delimiter) == header_line.count(f"{delimiter} ")
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=delimiter,
            skipinitialspace=spaced,  # whoever sets a space behind each comma means none of them
            strict=True,
        )
        for cells in reader:
            if not header:
                header = [cell.strip() or f"{UNNAMED} {i}" for i, cell in enumerate(cells, start=1)]
            elif cells and len(cells) != len(header):
                names = excerpt(", ".join(header))
                fault = f"{len(cells)} cells under a header of {len(header)}: {names}"
                rows.append(Row(start, cells, fault))
            elif cells:
                rows.append(Row(start, dict(zip(header, cells, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise SchemaError(f"{path}, line {start}: not a valid table: {error}.") from error
    finally:
        csv.field_size_limit(limit)
    if len(header) == 1 and any(other in header[0] for other in ";\t,"):
        raise SchemaError(
            f"{path}: cells are separated by {delimiter!r}; the header is one cell, "
            f"{excerpt(header[0])}."
        )
    if len(set(header)) < len(header):
        names = excerpt(", ".join(header))
        raise SchemaError(f"{path}: every column needs a name of its own; got {names}.")
    if not rows:
        raise SchemaError(f"{path} has a header and no rows.")
    return rows
