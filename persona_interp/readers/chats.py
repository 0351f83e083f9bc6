"""Which chats does a finetuning file hold, and how are chats written for other tools to read?"""

import json
from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import write_text
from persona_interp.readers.door import read
from persona_interp.values import parse_json


def read_chats(
    source: Any, *, layout: str | None = None, skip: int | Iterable[int] = ()
) -> pd.DataFrame:
    """Chats that a finetuning file holds.

    Args:
        source: As of ``read``. Rows hold ``messages``; ``conversation`` (assistant-axis);
            ``conversations`` of ``from`` and ``value`` (ShareGPT); ``instruction``, ``input`` and
            ``output`` (Alpaca); ``prompt`` or ``question`` and ``completion``, ``response`` or
            ``answer`` (texts or messages); or plain ``text``. A system message may stand in a
            column of its own.
        layout: A name of ``layouts.CHATS``, where rows have the columns of several.
        skip: As of ``read``.

    Returns:
        A corpus table (``schema``) that ``models.train`` takes, one row a row of the file: kind
        "lesson", ``messages`` as written, with ``source`` (the file), ``line`` and ``extra`` (the
        row's other entries).

    Raises:
        SchemaError: The file cannot be read, its columns fit no layout or several, or rows cannot
            be used: every one is named by its line and none is dropped.
    """
    return read(source, "chats", layout=layout, skip=skip)


def write_chats(chats: pd.DataFrame, path: str | Path) -> Path:
    """Write chats to a file that other tools read.

    Args:
        chats: A corpus table, or a prompts table whose ``messages`` are complete, such as
            ``record.conversations`` makes.
        path: A ``.jsonl`` file; an existing one is replaced.

    Returns:
        The path. Each line holds ``messages``, or ``text`` of plain text, and what the row's
        ``extra`` holds.

    Raises:
        SchemaError: It is no such table, an entry of ``extra`` has no JSON or would hide the chat,
            or the file does not end in .jsonl.
    """
    schema.check(chats, "corpus" if "doc" in chats else "prompts")
    path = Path(path).expanduser()
    if path.suffix != ".jsonl":
        raise SchemaError(f"chats are written to a .jsonl file; got '{path.name}'.")
    extras = chats["extra"] if "extra" in chats else [{}] * len(chats)
    lines = []
    for number, (messages, extra) in enumerate(zip(chats["messages"], extras, strict=True)):
        row: dict[str, Any] = {"messages": [dict(message) for message in messages]}
        if [message["role"] for message in messages] == ["text"]:
            row = {"text": messages[0]["content"]}
        if same := row.keys() & dict(extra).keys():
            raise SchemaError(
                f"row {number}: extra holds {', '.join(same)}, which is what its chat is written "
                "under; rename that entry."
            )
        try:
            line = json.dumps(row | dict(extra), ensure_ascii=False, default=_text)
            parse_json(line)  # what our own reader refuses, others would read otherwise
        except (TypeError, ValueError) as error:
            raise SchemaError(f"row {number} cannot be written as JSON: {error}.") from error
        lines.append(line + "\n")
    return write_text("".join(lines), path)


def _text(value: Any) -> str:
    """Text of what columns of parquet hold and JSON has not."""
    if isinstance(value, date | time | timedelta | Decimal | UUID):
        return str(value)
    raise TypeError(f"{excerpt(value)} is no value of JSON")
