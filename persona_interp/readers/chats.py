"""Which chats does a finetuning file hold, and how are chats written for other tools to read?"""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.files import write_text
from persona_interp.readers.rows import Row, read_rows, refuse

COLUMNS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "answer": ("prompt", "answer"),
    "question": ("question", "answer"),
    "text": ("text",),
}
ROLES = ("system", "user", "assistant", "tool")

Messages = list[dict[str, str]]


def read_chats(path: str | Path, *, layout: str | None = None) -> pd.DataFrame:
    """Chats that a finetuning file holds.

    Args:
        path: A ``.jsonl``, ``.json``, ``.csv`` or ``.tsv`` file. All its rows have one layout:
            ``messages``; ``prompt`` and ``completion`` (texts or lists of messages); ``prompt`` and
            ``answer``; ``question`` and ``answer``; or plain ``text``.
        layout: messages, completion, answer, question or text; None: the one whose columns the
            first row has.

    Returns:
        A corpus table (``schema``) that ``models.train`` takes, one row a row of the file: kind
        "lesson", ``messages`` as written, with ``source`` (the file), ``line`` and ``extra`` (the
        row's other entries).

    Raises:
        SchemaError: The file cannot be read, its columns fit no layout or several, or rows cannot
            be used: every one is named by its line and none is dropped.
    """
    rows = read_rows(path)
    columns = COLUMNS[layout_of(path, rows[0], COLUMNS, layout=layout)]
    documents, problems = [], []
    for number, row in enumerate(rows):
        try:
            messages = _messages(row.value, columns)
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        document = {
            "doc": number,
            "kind": "lesson",
            "persona": "",
            "messages": messages,
            "statements": (),
            "source": str(path),
            "line": row.line,
            "extra": {key: value for key, value in row.value.items() if key not in columns},
        }
        documents.append(document)
    refuse(path, problems, total=len(rows))
    return schema.check(pd.DataFrame(documents), "corpus")


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
        SchemaError: It is no such table, or the file does not end in .jsonl.
    """
    schema.check(chats, "corpus" if "doc" in chats else "prompts")
    path = Path(path).expanduser()
    if path.suffix != ".jsonl":
        raise SchemaError(f"chats are written to a .jsonl file; got '{path.name}'.")
    extras = chats["extra"] if "extra" in chats else [{}] * len(chats)
    lines = []
    for messages, extra in zip(chats["messages"], extras, strict=True):
        row: dict[str, Any] = {"messages": [dict(message) for message in messages]}
        if [message["role"] for message in messages] == ["text"]:
            row = {"text": messages[0]["content"]}
        lines.append(json.dumps(row | dict(extra), ensure_ascii=False) + "\n")
    return write_text("".join(lines), path)


def layout_of(
    path: str | Path, row: Row, layouts: Mapping[str, tuple[str, ...]], *, layout: str | None = None
) -> str:
    """Layout of the rows of a file.

    Args:
        path: The file, for messages.
        row: Its first row.
        layouts: Which columns each layout needs.
        layout: The layout, where the user says so.

    Returns:
        Name of a layout.

    Raises:
        SchemaError: None fits the row, or several do and none is named.

    >>> row = Row(2, {"prompt": "Hi", "anwser": "Hello"})
    >>> layout_of("a.csv", row, {"answer": ("prompt", "answer")})
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.csv, line 2: column 'anwser' is unknown; \
did you mean 'answer'? Valid: 'prompt', 'answer'.
    """
    if layout is not None:
        if layout not in layouts:
            raise SchemaError(unknown("layout", layout, layouts))
        return layout
    where = f"{path}, line {row.line}"
    if not isinstance(row.value, Mapping):
        raise SchemaError(f"{where}: expected an object; got {excerpt(row.value)}.")
    # Two layouts that fit are two readings of the file, between which only the user can decide.
    own = ", ".join(map(str, row.value)) or "none"
    fitting = [name for name, columns in layouts.items() if set(columns) <= set(row.value)]
    if len(fitting) > 1:
        raise SchemaError(
            f"{where}: the columns {own} fit the layouts {', '.join(fitting)}; name the one that "
            f"is meant, layout='{fitting[0]}'."
        )
    if fitting:
        return fitting[0]
    valid_columns = list(dict.fromkeys(chain.from_iterable(layouts.values())))
    for column in row.value:
        message = unknown("column", str(column), valid_columns)
        if column not in valid_columns and "did you mean" in message:
            raise SchemaError(f"{where}: {message}")
    valid = "; ".join(" and ".join(columns) for columns in layouts.values())
    raise SchemaError(f"{where}: no known columns. Expected {valid}; got {own}.")


def conversation(value: Any, *, role: str = "user") -> Messages:
    """Messages that an entry of a file holds.

    Args:
        value: A text, or a list of ``{"role", "content"}``.
        role: Who says the text.

    Returns:
        Messages of role and content.

    Raises:
        ValueError: What is wrong with it, in words; the caller knows the line.

    >>> conversation("Why?")
    [{'role': 'user', 'content': 'Why?'}]
    """
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"the {role}'s text is empty")
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a text or a list of messages; got {excerpt(value)}")
    return [_message(number, message) for number, message in enumerate(value)]


def _messages(row: Any, columns: tuple[str, ...]) -> Messages:
    """The chat in the columns of a row."""
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object with {' and '.join(columns)}; got {excerpt(row)}")
    for column in columns:
        if column not in row:
            raise ValueError(f"no {column}{_misspelling(row, column, columns)}")
    if columns == ("text",):
        # A text alone is nobody's turn; anything else is refused as a message would be.
        text = row["text"]
        return conversation(text if isinstance(text, str) else [text], role="text")
    if columns == ("messages",):
        messages = row["messages"]
        if not isinstance(messages, list):
            raise ValueError(
                f"messages must be a list of {{role, content}}; got {excerpt(messages)}"
            )
        messages = conversation(messages)
    else:
        question, answer = columns
        messages = conversation(row[question]) + conversation(row[answer], role="assistant")
    if all(message["role"] != "assistant" for message in messages):
        raise ValueError("no message of the assistant, so there is nothing to learn")
    return messages


def _misspelling(row: Mapping[Any, Any], column: str, columns: tuple[str, ...]) -> str:
    """Question whether a key of the row means the column; '' if none is near."""
    for key in row:
        if key not in columns and f"mean '{column}'" in unknown("column", str(key), columns):
            return f"; did '{key}' mean '{column}'?"
    return ""


def _message(number: int, value: Any) -> dict[str, str]:
    what = f"message {number}"
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be {{role, content}}; got {excerpt(value)}")
    if missing := [key for key in ("role", "content") if key not in value]:
        own = ", ".join(map(str, value)) or "nothing"
        raise ValueError(f"{what} has no {' and no '.join(missing)}; it has {own}")
    # Tool calls, weights and the like change what a chat teaches; empty ones say nothing.
    extra = [str(k) for k, v in value.items() if k not in ("role", "content") and v is not None]
    if extra:
        raise ValueError(
            f"{what} has {', '.join(extra)}, which chats of role and content cannot express"
        )
    role, content = value["role"], value["content"]
    if role not in ROLES:
        raise ValueError(f"{what}: {unknown('role', str(role), ROLES)}")
    if not isinstance(content, str) or not (content.strip() or role == "system"):
        raise ValueError(f"{what} of {role}: content must be a text; got {excerpt(content)}")
    return {"role": role, "content": content}
