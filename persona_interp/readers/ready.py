"""Is this table one of the schema already, and which of its columns are understood?"""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import excerpt
from persona_interp.readers.layouts import is_heard
from persona_interp.readers.messages import conversation, parse_cell, repeats
from persona_interp.readers.rows import refuse

DEFAULTS: dict[str, dict[str, Any]] = {
    "prompts": {"context": "nameless", "persona": "", "topic": "", "split": "test"},
    "corpus": {"kind": "lesson", "persona": "", "statements": ()},
}
"""What a column says where a table does not have it."""
WAITING = ("user", "tool", "text")
"""Roles after which an answer may come."""
KEYS = {"prompts": "prompt", "corpus": "doc"}


def complete(source: Any, kind: str, *, answered: bool = False) -> pd.DataFrame | None:
    """The table with every column of the schema, if it is one of prompts or documents.

    Args:
        source: Anything.
        kind: "prompts", "chats" or "documents".
        answered: Whether prompts may be conversations, which keep their last answer.

    Returns:
        The table itself where nothing is missing, else a copy with defaults: every prompt is of the
        nameless assistant and in the test half, every document a lesson; an answer at the end of a
        prompt is its ``reference``. Conversations named by prompt are documents too; documents of
        several tables, which share numbers, are numbered again. None where it is no such table, but
        something to be read: it has other columns of a chat (``system``, ``response``), or its
        ``prompt`` is the text of the question.

    Raises:
        RowError: Its messages are none, two prompts share a name, or a chat has no answer; each
            row is named.

    >>> table = pd.DataFrame({"prompt": ["a"], "messages": [[{"role": "user", "content": "?"}]]})
    >>> complete(table, "prompts")["split"].tolist()
    ['test']
    """
    table_kind = "prompts" if kind == "prompts" else "corpus"
    if not isinstance(source, pd.DataFrame) or "messages" not in source:
        return None
    if not source.columns.is_unique:
        return None
    table, key = source, KEYS[table_kind]
    if key not in table and "prompt" not in table:
        return None
    is_own = any(set(schema.TABLES[one]) <= set(table) for one in (table_kind, "prompts"))
    if not is_own and _is_foreign(table):
        return None
    if table_kind == "corpus" and "doc" not in table:
        table = table.assign(doc=range(len(table)))
    name = key if key in source else "prompt"
    table = _heard(table, name, kind=kind, is_own=is_own or answered)
    if table_kind == "corpus" and table["doc"].duplicated().any():
        table = table.assign(doc=range(len(table))).reset_index(drop=True)
    for column, value in DEFAULTS[table_kind].items():
        if column not in table:
            table = table.assign(**{column: [value] * len(table)})
    if table_kind == "prompts" and "context" not in source:
        systems = [messages[0]["role"] == "system" for messages in table["messages"]]
        table["context"] = ["instructed" if system else "nameless" for system in systems]
    return table


def _is_foreign(table: pd.DataFrame) -> bool:
    """Whether a chat stands in other columns too, or ``prompt`` is no name but a question."""
    known = {*schema.TABLES["prompts"], *schema.TABLES["corpus"]}
    if any(is_heard(str(column)) for column in table if column not in known):
        return True
    if "prompt" not in table or table.empty:
        return False
    pairs = zip(table["prompt"], map(_as_list, table["messages"]), strict=True)
    return all(repeats(prompt, messages) for prompt, messages in pairs)


def _heard(table: pd.DataFrame, key: str, *, kind: str, is_own: bool) -> pd.DataFrame:
    """The table with messages of known roles and texts; itself where all are so already."""
    chats, references, problems = [], [], []
    rows: dict[str, int] = {}  # name -> number
    for number, (name, value) in enumerate(zip(table[key], table["messages"], strict=True)):
        try:
            chat = _chat(value)
            roles = [message["role"] for message in chat]
            reference = ""
            if not is_own and kind == "prompts":
                if str(name) in rows:
                    raise ValueError(f"the name is that of row {rows[str(name)]}")
                if roles[-1] == "assistant":
                    *chat, last = chat
                    reference = last["content"]
                if not chat or chat[-1]["role"] not in WAITING:
                    raise ValueError("no question of the user at the end")
            if not is_own and kind == "chats" and not {"assistant", "text"} & {*roles}:
                raise ValueError("no message of the assistant, so there is nothing to learn")
        except ValueError as error:
            problems.append((number, f"{key} {excerpt(name)}: {error}"))
            continue
        rows[str(name)] = number
        chats.append(chat)
        references.append(reference)
    refuse("this DataFrame", problems, total=len(table), unit="row")
    if any(references):
        table = table.assign(reference=references)
    same = zip(chats, table["messages"], strict=True)
    if all(isinstance(own, list) and chat == own for chat, own in same):
        return table
    return table.assign(messages=pd.Series(chats, index=table.index, dtype=object))


def _chat(value: Any) -> list[dict[str, str]]:
    """Messages of a cell; plain text of this package is one message of nobody."""
    value = _as_list(value)
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        value = parse_cell(value)
    if isinstance(value, str):
        raise ValueError(f"expected a list of messages; got {excerpt(value)}")
    return conversation(value, of_table=True)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | np.ndarray) else value
