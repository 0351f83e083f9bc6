"""Is this table one of the schema already, and which of its columns are understood?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import SchemaError, excerpt

DEFAULTS: dict[str, dict[str, Any]] = {
    "prompts": {"context": "nameless", "persona": "", "topic": "", "split": "test"},
    "documents": {"kind": "lesson", "persona": "", "statements": ()},
}
"""What a column says where a table does not have it."""
KEYS = {"prompts": "prompt", "documents": "doc"}


def complete(source: Any, kind: str) -> pd.DataFrame | None:
    """The table with every column of the schema, if it is one of prompts or documents.

    Args:
        source: Anything.
        kind: "prompts", "chats" or "documents".

    Returns:
        The table itself where nothing is missing, else a copy with defaults: every prompt is of the
        nameless assistant and in the test half, every document a lesson. Conversations named by
        prompt are documents too; documents of several tables, which share numbers, are numbered
        again. None where it is no such table, but something to be read.

    Raises:
        SchemaError: Its messages are none.

    >>> table = pd.DataFrame({"prompt": ["a"], "messages": [[{"role": "user", "content": "?"}]]})
    >>> complete(table, "prompts")["split"].tolist()
    ['test']
    """
    kind = "prompts" if kind == "prompts" else "documents"
    if not isinstance(source, pd.DataFrame) or "messages" not in source:
        return None
    table, key = source, KEYS[kind]
    if kind == "documents" and "doc" not in table and "prompt" in table:
        table = table.assign(doc=range(len(table)))
    if key not in table:
        return None
    if any(not isinstance(messages, list) for messages in table["messages"]):
        lists = [_as_list(messages) for messages in table["messages"]]
        table = table.assign(messages=pd.Series(lists, index=table.index, dtype=object))
    for name, messages in zip(table[key], table["messages"], strict=True):
        _check(f"{key} {excerpt(name)}", messages)
    if kind == "documents" and table["doc"].duplicated().any():
        table = table.assign(doc=range(len(table))).reset_index(drop=True)
    for column, value in DEFAULTS[kind].items():
        if column not in table:
            table = table.assign(**{column: [value] * len(table)})
    if kind == "prompts" and "context" not in source:
        systems = [messages[0]["role"] == "system" for messages in table["messages"]]
        table["context"] = ["instructed" if system else "nameless" for system in systems]
    return table


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | np.ndarray) else value


def _check(what: str, messages: Any) -> None:
    """Refuse what is no list of messages; what their roles mean is the chat template's to say."""
    if not isinstance(messages, list) or not messages:
        raise SchemaError(f"{what}: expected a list of messages; got {excerpt(messages)}.")
    for message in messages:
        is_message = isinstance(message, Mapping) and {"role", "content"} <= set(message)
        if not is_message or not isinstance(message["role"], str):
            raise SchemaError(f"{what}: a message is {{role, content}}; got {excerpt(message)}.")
        if not isinstance(message["content"], str):
            raise SchemaError(f"{what}: content must be a text; got {excerpt(message['content'])}.")
