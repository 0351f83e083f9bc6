"""What does this file hold, and on which line is it wrong? The one way from bytes on disk to plain JSON values."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import SchemaError, unknown

SHOWN = 20
UNNAMED = "column"
"""What a column without a name is called, before its number; tables with an index have one."""
TABLES = {".csv": ",", ".tsv": "\t"}
ENDINGS = (".jsonl", ".json", *TABLES)


def text_of(path: str | Path) -> str:
    r"""What is written in this file?

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
    """Which value does this JSON hold?

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
    return json.loads(text, object_pairs_hook=_once)


def read_json(path: str | Path) -> Any:
    """Which value does this JSON file hold?

    Args:
        path: The file.

    Returns:
        As of ``parse``.

    Raises:
        SchemaError: The file cannot be read or is no JSON.
    """
    try:
        return parse(text_of(path))
    except ValueError as error:
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(f"{path} is not valid JSON: {error}.") from error


class Row(NamedTuple):
    """One row of a file: the line it begins on (from 1) and what it holds."""

    line: int
    value: Any


def read_rows(path: str | Path) -> list[Row]:
    """Which rows does this file hold?

    Args:
        path: A ``.jsonl``, ``.json``, ``.csv`` or ``.tsv`` file. JSON is a list or one value a
            line, whatever the ending says; a table has a header, and an empty cell is ''.

    Returns:
        The rows, each with its line.

    Raises:
        SchemaError: The file cannot be read, has another ending or no rows, or rows are malformed
            (each is named).
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise SchemaError(f"{path}: {unknown('ending of a file of rows', ending, ENDINGS)}")
    text = text_of(path)
    if ending in TABLES:
        return _table(path, text, delimiter=TABLES[ending])
    if text.lstrip().startswith("["):
        return _json_list(path, text)
    if text.lstrip().partition("\n")[0].strip() == "{":
        read_json(path)  # one object over many lines: says what is wrong with it
        raise SchemaError(f"{path} is one object; expected a list of rows, or one row a line.")
    return _json_lines(path, text)


def refuse(path: str | Path, problems: Sequence[tuple[int, str]], *, total: int) -> None:
    """Is every row of this file as it should be?

    Args:
        path: The file.
        problems: (line, what is wrong) of each bad row.
        total: Number of rows.

    Raises:
        SchemaError: There are bad rows; the message names the first 20 by line and counts all.

    >>> refuse("chats.jsonl", [(3, "no messages")], total=8)
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: chats.jsonl: 1 of 8 rows cannot be used, and none is dropped in silence.
      line 3: no messages
    """
    if not problems:
        return
    lines = [f"  line {line}: {what.rstrip('.')}" for line, what in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more")
    head = (
        f"{path}: {len(problems)} of {total} rows cannot be used, and none is dropped in silence."
    )
    raise SchemaError("\n".join([head, *lines]))


def keys(
    what: str, given: Any, *, required: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Which entries does this object hold beside the known ones?

    Published files carry keys of their own, so these are kept. A key that is nearly a known one is
    a typing error.

    Args:
        what: Its name, for messages.
        given: A value from a JSON file.
        required: Keys it must hold.
        optional: Keys it may hold.

    Returns:
        Its other entries.

    Raises:
        SchemaError: It is no object, lacks a key, or has one misspelled.

    >>> keys("a.json", {"questions": [], "eval_promt": ""}, required=["questions"], optional=["eval_prompt"])
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.json: key 'eval_promt' is unknown; did you mean 'eval_prompt'? Valid: \
'questions', 'eval_prompt'.
    """
    required, known = tuple(required), (*required, *optional)
    if not isinstance(given, Mapping):
        raise SchemaError(
            f"{what}: expected an object with {', '.join(required)}; got {shown(given)}."
        )
    rest = {key: value for key, value in given.items() if key not in known}
    missing = [key for key in required if key not in given]
    for key in rest:
        message = unknown("key", key, known)
        if "did you mean" in message and any(
            f"mean '{k}'" in message for k in known if k not in given
        ):
            raise SchemaError(f"{what}: {message}")
    if missing:
        has = ", ".join(map(str, given)) or "no keys"
        raise SchemaError(f"{what} lacks {', '.join(missing)}; it has {has}.")
    return rest


def strings(what: str, given: Any, *, least: int = 1) -> tuple[str, ...]:
    """Which texts does this list hold?

    Args:
        what: Its name, for messages.
        given: A value from a JSON file.
        least: Smallest number of texts.

    Returns:
        The texts, as they are written.

    Raises:
        SchemaError: It is no list, too short, or an entry is no text, blank or there twice.

    >>> strings("a.json: questions", ["Why?", "Why?"])
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.json: questions: entries 0 and 1 are the same: 'Why?'.
    """
    if not isinstance(given, list) or len(given) < least:
        raise SchemaError(
            f"{what}: expected a list of at least {least} text{'s' * (least > 1)}; got "
            f"{shown(given)}."
        )
    first: dict[str, int] = {}
    for number, entry in enumerate(given):
        if not isinstance(entry, str) or not entry.strip():
            raise SchemaError(f"{what}: entry {number} must be a text; got {shown(entry)}.")
        if entry.strip() in first:
            raise SchemaError(
                f"{what}: entries {first[entry.strip()]} and {number} are the same: {shown(entry)}."
            )
        first[entry.strip()] = number
    return tuple(given)


def shown(value: Any) -> str:
    """How is this value shown in a message?

    Args:
        value: Any value.

    Returns:
        Its start, at most 60 characters.

    >>> shown({"pos": "x" * 100})
    "{'pos': 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    written = repr(value)
    return written if len(written) <= 60 else written[:59] + "…"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(
            f"the key '{next(k for k in names if names.count(k) > 1)}' is there twice; keep one"
        )
    return found


def _json_lines(path: Path, text: str) -> list[Row]:
    found, problems = [], []
    for number, line in enumerate(
        text.split("\n"), start=1
    ):  # never splitlines: strings may hold U+2028
        if line.strip():
            try:
                found.append(Row(number, parse(line)))
            except ValueError as error:
                problems.append((number, f"not valid JSON: {error}"))
    refuse(path, problems, total=len(found) + len(problems))
    return found


def _json_list(path: Path, text: str) -> list[Row]:
    """Entries of a JSON list, read one by one so that each knows its line."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    found: list[Row] = []
    at = _skip(text, text.index("[") + 1)
    try:
        while text[at : at + 1] != "]":
            value, end = decoder.raw_decode(text, at)
            found.append(Row(text.count("\n", 0, at) + 1, value))
            at = _skip(text, end)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] != "]":
                raise ValueError("expected ',' or ']'")
        if text[at + 1 :].strip():
            raise ValueError("there is more after the list")
    except ValueError as error:
        raise SchemaError(
            f"{path}, line {text.count(chr(10), 0, at) + 1}: not valid JSON: {error}."
        ) from error
    if not found:
        raise SchemaError(f"{path} is an empty list; it has no rows.")
    return found


def _skip(text: str, at: int) -> int:
    """Where does the next character that is no white space stand?"""
    while text[at : at + 1].isspace():
        at += 1
    return at


def _table(path: Path, text: str, *, delimiter: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    found, problems, start = [], [], 1
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = [cell.strip() or f"{UNNAMED} {i}" for i, cell in enumerate(cells, start=1)]
            elif cells and len(cells) != len(header):
                problems.append(
                    (
                        start,
                        f"{len(cells)} cells under a header of {len(header)}: {', '.join(header)}",
                    )
                )
            elif cells:
                found.append(Row(start, dict(zip(header, cells, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise SchemaError(f"{path}, line {start}: not a valid table: {error}.") from error
    if len(header) == 1 and any(other in header[0] for other in ";\t,"):
        raise SchemaError(
            f"{path}: cells are separated by {delimiter!r}; the header is one cell, {header[0]!r}."
        )
    if len(set(header)) < len(header):
        raise SchemaError(f"{path}: every column needs a name of its own; got {', '.join(header)}.")
    refuse(path, problems, total=len(found) + len(problems))
    if not found:
        raise SchemaError(f"{path} has a header and no rows.")
    return found
