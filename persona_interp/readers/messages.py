"""Which messages does an entry hold? A text, messages of role and content, or JSON of them."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from persona_interp.errors import excerpt, unknown
from persona_interp.readers.calls import CALLS, call_text
from persona_interp.values import check_surrogates, parse_json, parse_literal

Messages = list[dict[str, str]]

PLAIN = "text"
"""Role of plain text, which is nobody's turn."""
ROLES = ("system", "user", "assistant", "tool")
ROLE_OF = {
    "human": "user",
    "gpt": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "developer": "system",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "observation": "tool",
    "ipython": "tool",
}
"""What other files call the roles."""
TOOLS = {"tool", *(name for name, role in ROLE_OF.items() if role == "tool")}
UNHEARD = (
    "weight",
    "train",
    "training",
    "train_detail",
    "loss",
    "prefix",
    "reasoning",
    "reasoning_content",
    "thinking",
    "refusal",
    "image",
    "images",
    "audio",
    "video",
)
"""Keys of a message that change what a chat says or teaches, and that it cannot express here."""
NEUTRAL = {"weight": 1, "train": True, "training": True, "loss": True, "prefix": False}
"""Values of these that say nothing."""
ROLE_CONTENT, FROM_VALUE = ("role", "content"), ("from", "value")
HEARD = {*ROLE_CONTENT, *FROM_VALUE, *CALLS, *UNHEARD, "tool_call_id"}
"""Keys of a message that are read, or refused."""
TEXT_PARTS = ("text", "input_text", "output_text")
JSON_MESSAGES = re.compile(r"""\s*(?:\[\s*)?\{\s*["'](?:role|content|from|value)["']\s*:""")
TURN = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|begin_of_text|start_of_role|"
    r"user|assistant|system|turn|START_OF_TURN_TOKEN)\|>|\[/?INST\]|<</?SYS>>|"
    r"</?(?:start|end)_of_turn>|<｜(?:User|Assistant)｜>|<\|start\|>(?:system|user|assistant)"
)
"""What chat templates write between turns."""
PLAIN_TURNS = (
    (re.compile(r"\b(?:Human|User|USER): "), re.compile(r"\b(?:Assistant|ASSISTANT|AI):")),
    (re.compile(r"### (?:Instruction|Human|User):"), re.compile(r"### (?:Response|Assistant):")),
)
"""What templates of plain words write before a question and before its answer."""


def conversation(value: Any, *, role: str = "user", of_table: bool = False) -> Messages:
    """Messages that an entry of a file holds.

    Args:
        value: A text, a list of messages, one message, or JSON of them. A message is
            ``{"role", "content"}`` or ``{"from", "value"}``; contents are texts or lists of text
            parts. Calls of tools become text of the assistant (``calls``).
        role: Who says a text alone.
        of_table: Whether it is of a table of this package, whose texts may be empty and nobody's
            ("text").

    Returns:
        Messages of role and content.

    Raises:
        ValueError: What is wrong with it, in words; the caller knows the line.

    >>> conversation("Why?")
    [{'role': 'user', 'content': 'Why?'}]
    >>> conversation([{"from": "human", "value": "Why?"}])
    [{'role': 'user', 'content': 'Why?'}]
    """
    if isinstance(value, str) and JSON_MESSAGES.match(value):
        value = parse_cell(value)
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"the {role}'s text is empty")
        return [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        value = _turned(value)
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a text or a list of messages; got {excerpt(value)}")
    return [_message(number, one, of_table=of_table) for number, one in enumerate(value)]


def repeats(question: Any, messages: Any) -> bool:
    """Whether a question is what a chat begins with.

    Args:
        question: An entry of a row.
        messages: Another.

    Returns:
        Whether it is the text of the first message, or of the user's first.

    >>> repeats("Why?", [{"role": "user", "content": "Why?"}])
    True
    """
    try:
        chat = conversation(messages)
    except ValueError:
        return False
    first = [chat[0], *(message for message in chat if message["role"] == "user")][:2]
    texts = {message["content"].strip() for message in first}
    return isinstance(question, str) and question.strip() in texts


def parse_cell(text: str) -> Any:
    """Value that a cell of a table holds as text.

    Args:
        text: JSON, or what Python prints of lists and dicts, which is what a DataFrame writes.

    Returns:
        The value.

    Raises:
        ValueError: It is neither.

    >>> parse_cell("[{'role': 'user', 'content': 'Why?'}]")
    [{'role': 'user', 'content': 'Why?'}]
    """
    try:
        return parse_json(text)
    except ValueError as error:
        try:
            return parse_literal(text)
        except ValueError:
            raise ValueError(f"it begins like JSON and is none: {error}") from error


def is_printed_list(value: Any) -> bool:
    """Whether a text is the print of a list of texts.

    Args:
        value: An entry of a row.

    Returns:
        Whether it is.

    >>> is_printed_list("['So.', 'No.']"), is_printed_list("[1]"), is_printed_list("So.")
    (True, False, False)
    """
    if not isinstance(value, str) or not (value.strip()[:1] == "[" and value.strip()[-1:] == "]"):
        return False
    try:
        parsed = parse_cell(value)
    except ValueError:
        return False
    return isinstance(parsed, list) and all(isinstance(text, str) for text in parsed)


def unread_keys(value: Any) -> set[str]:
    """Keys of messages that say nothing here, such as the name of a speaker.

    Args:
        value: An entry of a row.

    Returns:
        Those that hold something; of anything but a list of messages none.

    >>> unread_keys([{"role": "user", "name": "Ada", "content": "Why?"}])
    {'name'}
    """
    keys: set[str] = set()
    for message in value if isinstance(value, list) else []:
        if isinstance(message, Mapping):
            # a tool's name stands in the call that it answers
            known = HEARD | {"name"} if message.get("role") in TOOLS else HEARD
            keys |= {
                str(k) for k, entry in message.items() if k not in known and not is_empty(entry)
            }
    return keys


def turn_mark(text: str, *, plain: bool = True) -> str:
    r"""What a chat template has written into a text.

    Args:
        text: A text that should be one turn alone.
        plain: Whether to look for templates of plain words too ("Human: ... Assistant:").

    Returns:
        The mark of a turn; '' if there is none.

    >>> turn_mark("<|im_start|>user\\nWhy?<|im_end|>"), turn_mark("Why?")
    ('<|im_start|>', '')
    """
    if mark := TURN.search(text):
        return mark.group()
    for question, answer in PLAIN_TURNS if plain else ():
        if (start := question.search(text)) and answer.search(text, start.end()):
            return start.group().strip()
    return ""


def is_empty(value: Any) -> bool:
    """Whether an entry says nothing.

    Args:
        value: An entry of a row.

    Returns:
        Whether it is None, an empty list or object, or a text that is blank or says so.

    >>> is_empty(" "), is_empty("[]"), is_empty(0)
    (True, True, False)
    """
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}", "null", "None")
    return value is None or (isinstance(value, list | dict) and not value)


def _message(number: int, value: Any, *, of_table: bool) -> dict[str, str]:
    what = f"message {number}"
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be {{role, content}}; got {excerpt(value)}")
    keys = FROM_VALUE if set(FROM_VALUE) <= set(value) else ROLE_CONTENT
    if {*FROM_VALUE, *ROLE_CONTENT} <= set(value):
        if value["from"] is None:  # a column of a table that other rows fill
            keys = ROLE_CONTENT
        elif value["role"] is not None and value["content"] not in (None, value["value"]):
            raise ValueError(f"{what} says one thing as its content and another as its value")
    value = _with_calls(what, value, keys)
    if missing := [key for key in keys if key not in value]:
        own = ", ".join(map(str, value)) or "nothing"
        raise ValueError(f"{what} has no {' and no '.join(missing)}; it has {own}")
    extra = [str(key) for key in UNHEARD if key in value and _is_heard(value, key)]
    if extra:
        raise ValueError(
            f"{what} has {', '.join(extra)}, which chats of role and content cannot express"
        )
    role = value[keys[0]]
    if not (of_table and role == PLAIN):
        role = _role(what, role)
    content = _content(
        f"{what} of {role}", value[keys[1]], may_be_empty=of_table or role == "system"
    )
    return {"role": role, "content": content}


def _turned(value: Mapping[Any, Any]) -> list[Any]:
    """Messages of one message, or of a list of roles and a list of contents."""
    entries = list(value.values())
    is_turned = "role" in value or "from" in value
    if not is_turned or not all(isinstance(entry, list) for entry in entries):
        return [value]
    if len({len(entry) for entry in entries}) > 1:
        raise ValueError(f"its lists of {', '.join(map(str, value))} are of several lengths")
    return [dict(zip(value, message, strict=True)) for message in zip(*entries, strict=True)]


def _is_heard(message: Mapping[Any, Any], key: str) -> bool:
    value = message.get(key)
    if key in NEUTRAL and value == NEUTRAL[key]:
        return False
    return not is_empty(value)


def _with_calls(what: str, message: Mapping[Any, Any], keys: tuple[str, str]) -> Mapping[Any, Any]:
    """The message with its calls of tools as text, after what it says."""
    role, content = keys
    try:
        if message.get(role) in CALLS:
            return {**message, role: "assistant", content: call_text(message.get(content))}
        calls = [call_text(message[key]) for key in CALLS if not is_empty(message.get(key))]
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    if not calls:
        return message
    rest = message.get(content)
    parts = calls
    if not is_empty(rest):
        parts = [_content(what, rest, may_be_empty=True), *calls]
    return {**message, content: "\n".join(parts)}


def _role(what: str, value: Any) -> str:
    name = value.strip().lower() if isinstance(value, str) else value
    role = ROLE_OF.get(name, name) if isinstance(name, str) else name
    if role not in ROLES:
        raise ValueError(f"{what}: {unknown('role', str(value), (*ROLES, *ROLE_OF))}")
    return role


def _content(what: str, value: Any, *, may_be_empty: bool) -> str:
    """Text of a message; parts of text follow each other without anything between."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list | tuple | np.ndarray) and len(value):
        value = "".join(_part(what, number, part) for number, part in enumerate(value))
    if not isinstance(value, str) or not (value.strip() or may_be_empty):
        raise ValueError(f"{what}: content must be a text; got {excerpt(value)}")
    check_surrogates(value)
    return str(value)


def _part(what: str, number: int, value: Any) -> str:
    if isinstance(value, str):
        return value
    kind = value.get("type", "text") if isinstance(value, Mapping) else value
    if kind not in TEXT_PARTS:
        raise ValueError(f"{what}: part {number} is {excerpt(kind)}; only parts of text are read")
    if not isinstance(value.get("text"), str):
        raise ValueError(f"{what}: part {number} has no text; got {excerpt(value)}")
    return value["text"]
