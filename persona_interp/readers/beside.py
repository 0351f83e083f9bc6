"""What stands beside a chat in columns of its own: its system message, turns before it, weights.

Capitals of their names, and what stands between the words, do not matter.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from persona_interp.errors import excerpt
from persona_interp.readers.messages import Messages, conversation, is_empty, parse_cell

SYSTEMS = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "system_instructions",
    "system_msg",
    "system_text",
    "sys_prompt",
    "instructions",
)
"""Columns of a system message."""
TURNS = "history"
"""Column of what was said before: (question, answer) pairs, or messages."""
UNHEARD = ("tools", "functions", "image", "images", "audio", "audios", "video", "videos")
"""Columns that change what a chat says, and that it cannot express here."""
WEIGHTS = ("weight", "train")
"""Columns that say how much of a chat is learned."""


def is_beside(name: str) -> bool:
    """Whether a column says something about a chat that stands in other columns.

    Args:
        name: Of the column.

    Returns:
        Whether it holds a system message, turns before the chat, or what changes it.

    >>> is_beside("System Prompt"), is_beside("History"), is_beside("lesson")
    (True, True, False)
    """
    return is_read(name) or _letters(name) in (*UNHEARD, *WEIGHTS) or bool(_nearly_system(name))


def is_read(name: str) -> bool:
    """Whether a column holds a system message or turns before a chat.

    Args:
        name: Of the column.

    Returns:
        Whether it does.
    """
    return _is_system(name) or _letters(name) == TURNS


def refuse_unheard(row: Mapping[Any, Any]) -> None:
    """Refuse a row with entries that change its chat and that messages cannot express.

    Args:
        row: The row.

    Raises:
        ValueError: It has some.
    """
    unheard = [str(k) for k in row if _letters(str(k)) in UNHEARD and not is_empty(row[k])]
    if unheard:
        raise ValueError(f"it has {', '.join(unheard)}, which a chat of texts cannot express")
    for key, value in row.items():
        if _letters(str(key)) in WEIGHTS and _is_partial(value):
            raise ValueError(
                f"its {key} is {excerpt(value)}, and every chat counts alike here; leave out what "
                "is not to be learned"
            )


def history(row: Mapping[Any, Any]) -> Messages:
    """Turns that came before a chat.

    Args:
        row: The row.

    Returns:
        Their messages; none where there is no such column.

    Raises:
        ValueError: They are neither pairs of question and answer nor messages.

    >>> history({"History": [["Hi", "Hello"]]})[1]
    {'role': 'assistant', 'content': 'Hello'}
    """
    turns = next((row[key] for key in row if _letters(str(key)) == TURNS), None)
    if isinstance(turns, str) and turns.strip()[:1] == "[":
        turns = parse_cell(turns)
    if is_empty(turns):
        return []
    if isinstance(turns, list) and all(isinstance(turn, Mapping) for turn in turns):
        return conversation(turns)
    messages: Messages = []
    for pair in turns if isinstance(turns, list) else [turns]:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(
                f"{TURNS} must be pairs of question and answer, or messages; got {excerpt(turns)}"
            )
        for text, role in zip(pair, ("user", "assistant"), strict=True):
            messages += conversation(text, role=role)
    return messages


def system(row: Mapping[Any, Any], *, others: tuple[str, ...]) -> str:
    """The system message in a column of its own.

    Args:
        row: The row.
        others: Columns that are something else, whatever their names are like.

    Returns:
        Its text; '' for none.

    Raises:
        ValueError: It is no text, two columns differ, or a name is nearly that of such a column.

    >>> system({"System Prompt": "Be dry."}, others=())
    'Be dry.'
    """
    texts: dict[str, str] = {}
    for key, value in row.items():
        name = str(key)
        if name in others or is_empty(value):
            continue
        if _is_system(name):
            texts[name] = _text(name, value)
        elif near := _nearly_system(name):
            raise ValueError(f"column '{name}' is unknown; did you mean '{near}'?")
    if len(set(texts.values())) > 1:
        raise ValueError(f"the columns {' and '.join(texts)} hold different system messages")
    return next(iter(texts.values()), "")


def _text(name: str, value: Any) -> str:
    """Text of a system message, which may be written as a message or a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping) and value.get("role", value.get("from")) == "system":
        value = conversation(value)[0]["content"]
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text; got {excerpt(value)}")
    return value


def _is_partial(value: Any) -> bool:
    """Whether a weight is another than 1, or false."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "false"
    try:
        return not is_empty(value) and float(value) != 1
    except (TypeError, ValueError, OverflowError):
        return False


def _is_system(name: str) -> bool:
    return _letters(name) in _SYSTEM_LETTERS


@lru_cache(maxsize=1000)
def _nearly_system(name: str) -> str:
    """Column of a system message that this name nearly is; '' for none."""
    near = get_close_matches(_letters(name), _SYSTEM_LETTERS, n=1, cutoff=0.9)
    return SYSTEMS[_SYSTEM_LETTERS.index(near[0])] if near else ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_SYSTEM_LETTERS = tuple(map(_letters, SYSTEMS))
