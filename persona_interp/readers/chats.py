"""Which chats does this finetuning file hold? And how are chats written so that other tools read them?"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.readers.files import Row, read_rows, refuse, shown

LAYOUTS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "completion": ("prompt", "completion"),
    "answer": ("prompt", "answer"),
    "question": ("question", "answer"),
    "text": ("text",),
}
ROLES = ("system", "user", "assistant", "tool")

Messages = list[dict[str, str]]


def read_chats(path: str | Path, *, layout: str | None = None) -> pd.DataFrame:
    """Which chats does this finetuning file hold?

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
    names = LAYOUTS[layout_of(path, rows[0], LAYOUTS, named=layout)]
    docs, problems = [], []
    for number, row in enumerate(rows):
        try:
            messages = _messages(row.value, names)
        except ValueError as error:
            problems.append((row.line, str(error)))
            continue
        extra = {k: v for k, v in row.value.items() if k not in names}
        docs.append(
            {
                "doc": number,
                "kind": "lesson",
                "persona": "",
                "messages": messages,
                "statements": (),
                "source": str(path),
                "line": row.line,
                "extra": extra,
            }
        )
    refuse(path, problems, total=len(rows))
    return schema.check(pd.DataFrame(docs), "corpus")


def write_chats(chats: pd.DataFrame, path: str | Path) -> Path:
    """Where are these chats kept?

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
        plain = [m["role"] for m in messages] == ["text"]
        row = (
            {"text": messages[0]["content"]} if plain else {"messages": [dict(m) for m in messages]}
        )
        lines.append(json.dumps(row | dict(extra), ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def layout_of(
    path: str | Path, row: Row, layouts: Mapping[str, tuple[str, ...]], *, named: str | None = None
) -> str:
    """In which layout are the rows of this file?

    Args:
        path: The file, for messages.
        row: Its first row.
        layouts: Which columns each layout needs.
        named: The layout, where the user says so.

    Returns:
        Name of a layout.

    Raises:
        SchemaError: None fits the row, or several do and none is named.

    >>> layout_of("a.csv", Row(2, {"prompt": "Hi", "anwser": "Hello"}), {"answer": ("prompt", "answer")})
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a.csv, line 2: column 'anwser' is unknown; did you mean 'answer'? Valid: \
'prompt', 'answer'.
    """
    if named is not None:
        if named not in layouts:
            raise SchemaError(unknown("layout", named, layouts))
        return named
    where = f"{path}, line {row.line}"
    if not isinstance(row.value, Mapping):
        raise SchemaError(f"{where}: expected an object; got {shown(row.value)}.")
    fitting = [
        name for name, columns in layouts.items() if all(column in row.value for column in columns)
    ]
    if len(fitting) > 1:
        raise SchemaError(
            f"{where}: the columns {', '.join(map(str, row.value))} fit the layouts "
            f"{', '.join(fitting)}; "
            f"name the one that is meant, layout='{fitting[0]}'."
        )
    if fitting:
        return fitting[0]
    known = list(dict.fromkeys(column for columns in layouts.values() for column in columns))
    for column in row.value:
        if column not in known and "did you mean" in (
            message := unknown("column", str(column), known)
        ):
            raise SchemaError(f"{where}: {message}")
    valid = "; ".join(" and ".join(columns) for columns in layouts.values())
    raise SchemaError(
        f"{where}: no known columns. Expected {valid}; got "
        f"{', '.join(map(str, row.value)) or 'none'}."
    )


def conversation(given: Any, *, role: str = "user") -> Messages:
    """Which messages are written here?

    Args:
        given: A text, or a list of ``{"role", "content"}``.
        role: Who says the text.

    Returns:
        Messages of role and content.

    Raises:
        ValueError: What is wrong with it, in words; the caller knows the line.

    >>> conversation("Why?")
    [{'role': 'user', 'content': 'Why?'}]
    """
    if isinstance(given, str):
        if not given.strip():
            raise ValueError(f"the {role}'s text is empty")
        return [{"role": role, "content": given}]
    if not isinstance(given, list) or not given:
        raise ValueError(f"expected a text or a list of messages; got {shown(given)}")
    return [_message(number, message) for number, message in enumerate(given)]


def _messages(given: Any, names: tuple[str, ...]) -> Messages:
    """The chat in the columns of this row."""
    if not isinstance(given, Mapping):
        raise ValueError(f"expected an object with {' and '.join(names)}; got {shown(given)}")
    for name in names:
        if name not in given:
            near = [
                c
                for c in given
                if c not in names and f"mean '{name}'" in unknown("column", str(c), names)
            ]
            raise ValueError(f"no {name}" + (f"; did '{near[0]}' mean '{name}'?" if near else ""))
    if names == ("text",):
        return conversation(
            given["text"] if isinstance(given["text"], str) else [given["text"]], role="text"
        )
    if names == ("messages",):
        if not isinstance(given["messages"], list):
            raise ValueError(
                f"messages must be a list of {{role, content}}; got {shown(given['messages'])}"
            )
        messages = conversation(given["messages"])
    else:
        asked, answered = names
        messages = conversation(given[asked]) + conversation(given[answered], role="assistant")
    if all(message["role"] != "assistant" for message in messages):
        raise ValueError("no message of the assistant, so there is nothing to learn")
    return messages


def _message(number: int, given: Any) -> dict[str, str]:
    what = f"message {number}"
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} must be {{role, content}}; got {shown(given)}")
    if missing := [key for key in ("role", "content") if key not in given]:
        raise ValueError(
            f"{what} has no {' and no '.join(missing)}; it has "
            f"{', '.join(map(str, given)) or 'nothing'}"
        )
    if more := [
        key for key, value in given.items() if key not in ("role", "content") and value is not None
    ]:
        raise ValueError(
            f"{what} has {', '.join(map(str, more))}, which chats of role and content cannot "
            "express"
        )
    role, content = given["role"], given["content"]
    if role not in ROLES:
        raise ValueError(f"{what}: {unknown('role', str(role), ROLES)}")
    if not isinstance(content, str) or not (content.strip() or role == "system"):
        raise ValueError(f"{what} of {role}: content must be a text; got {shown(content)}")
    return {"role": role, "content": content}
