"""How does a notebook show an object that holds more than one wants to read?"""

import html
from collections.abc import Mapping

from persona_interp.characters import visible

MOST_BYTES = 200
"""Of one value, escaped; eight of them stay below 2 kB."""


def card(title: str, rows: Mapping[str, object]) -> str:
    """Short HTML of an object: what it is and what identifies it.

    Args:
        title: Name of its class.
        rows: At most eight values by what they are, numbers or texts of anybody; empty ones are
            left out.

    Returns:
        One line a value, escaped, below 2 kB together; of long values the start.

    >>> card("World", {"name": "<b>", "note": ""})
    '<div><b>World</b><br><i>name</i> &lt;b&gt;</div>'
    """
    lines = [f"<b>{title}</b>"]
    for key, value in rows.items():
        if text := _start(str(value)):
            lines.append(f"<i>{key}</i> {text}")
    return f"<div>{'<br>'.join(lines)}</div>"


def _start(text: str) -> str:
    """As much of a text as the limit lets through, no entity cut in two."""
    parts, size = [], 0
    for char in visible(text, limit=MOST_BYTES):
        part = html.escape(char)
        size += len(part.encode())
        if size > MOST_BYTES:
            return "".join([*parts, "…"])
        parts.append(part)
    return "".join(parts)
