"""What does an assistant say that calls a tool? The call as text, for chats of role and content."""

import json
from collections.abc import Mapping
from typing import Any

from persona_interp.errors import excerpt
from persona_interp.values import parse_json

CALL, END = "<tool_call>", "</tool_call>"
"""What stands around a call: the words of Hermes and Qwen, whose templates write calls so."""
CALLS = ("tool_calls", "function_call", "tool_call")
"""Roles and keys under which an assistant calls a tool."""


def call_text(value: Any) -> str:
    r"""Text of the calls of a message.

    Args:
        value: A call, ``{"name", "arguments"}``, alone or under ``function``; a list of them; or a
            text, which is JSON of one or stays as it is.

    Returns:
        Each call as JSON of its name and arguments between ``<tool_call>`` and ``</tool_call>``,
        one after the other.

    Raises:
        ValueError: It is no call, in words.

    >>> call_text([{"function": {"name": "add", "arguments": '{"a": 1}'}}])
    '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    """
    value = _of_json(value)
    calls = value if isinstance(value, list) else [value]
    return "\n".join(f"{CALL}\n{_line(call)}\n{END}" for call in calls)


def calls_a_tool(text: str) -> bool:
    """Whether a text holds a call.

    Args:
        text: Content of a message.

    Returns:
        Whether it does.

    >>> calls_a_tool("So."), calls_a_tool(call_text({"name": "add"}))
    (False, True)
    """
    return CALL in text


def _line(call: Any) -> str:
    """JSON of one call; a text that is none stays as it is."""
    if isinstance(call, str):
        return call.strip()
    function = call.get("function", call) if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise ValueError(f"a tool call has the name of its function; got {excerpt(call)}")
    arguments = function.get("arguments", function.get("parameters", {}))
    entries = {"name": name, "arguments": _of_json(arguments)}
    return json.dumps(entries, ensure_ascii=False)


def _of_json(value: Any) -> Any:
    """The value that a text is JSON of; any other stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value
