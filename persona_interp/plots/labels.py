"""How wide is a label, and how does a long one fit? Broken where names break, else cut."""

import re
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import findfont, get_font

ELLIPSIS = "…"
INCH = 72  # points
LINE = 1.25
"""Height of a line, in font sizes."""
SLACK = 1.04
"""Hinting makes a drawn text this much wider than its outlines, at most."""
FONT = "DejaVu Sans"
"""Comes with matplotlib: the same figure on every machine."""
PARTS = re.compile(r"[^\s/_\-@:=+.,]*[\s/_\-@:=+.,]*")
"""A part of a name, with what ends it."""
WORDS = re.compile(r"\S*\s*")
"""A word of prose, with the blanks behind it."""
CUTS = (0.5, 0.8, 0.2, 1.0, 0.0)
"""Where a label is cut, as a fraction of what stays: in the middle if others then differ."""


def text_width(text: str, *, size: float) -> float:
    """Width of a text as it is drawn.

    Args:
        text: One or several lines.
        size: Of the font (points).

    Returns:
        Points, of its longest line.

    >>> 2 * text_width("model", size=7) == text_width("model", size=14)
    True
    """
    return SLACK * size * max(sum(map(_advance, line)) for line in text.split("\n"))


@cache
def _advance(character: str) -> float:
    """Width of a character, in font sizes."""
    font = get_font(findfont(FONT))
    font.set_size(100, INCH)
    return font.load_char(ord(character)).linearHoriAdvance / 65536 / 100


def text_height(text: str, *, size: float) -> float:
    r"""Height of a text as it is drawn.

    Args:
        text: One or several lines.
        size: Of the font (points).

    Returns:
        Points.

    >>> text_height("two\nlines", size=8)
    20.0
    """
    return LINE * size * (1 + text.count("\n"))


def wrap(text: str, *, room: float, size: float, parts: re.Pattern[str] = PARTS) -> str:
    """Break a text into lines, by default at blanks and after the signs that join a name's parts.

    Args:
        text: Any text.
        room: Width of a line (points).
        size: Of the font (points).
        parts: What stays together.

    Returns:
        The text as it is where it fits, else its lines; a part that is longer than a line is
        broken anywhere.

    >>> print(wrap("google/gemma-2-2b-it", room=60, size=7))
    google/gemma-
    2-2b-it
    """
    if text_width(text, size=size) <= room:
        return text
    lines, line = [], ""
    for part in parts.findall(text.replace("\n", " ")):
        if line and text_width((line + part).rstrip(), size=size) > room:
            lines.append(line)
            line = ""
        line += part
        while text_width(line.rstrip(), size=size) > room and len(line) > 1:
            n = len(line) - 1
            while n > 1 and text_width(line[:n], size=size) > room:
                n -= 1
            lines.append(line[:n])
            line = line[n:]
    return "\n".join(line.rstrip() for line in [*lines, line] if line.strip())


def cut(text: str, n: int, *, at: float = 0.5) -> str:
    """Leave out what is too much of a text.

    Args:
        text: Any text.
        n: Characters that stay, the ellipsis among them.
        at: Fraction of them that stand before the ellipsis.

    Returns:
        The text, or its beginning and end.

    >>> cut("google/gemma-2-2b-it@0123456789abcdef", 16)
    'google/g…9abcdef'
    """
    if len(text) <= n:
        return text
    before = round(at * (n - 1))
    after = n - 1 - before
    return f"{text[:before]}{ELLIPSIS}{text[len(text) - after :]}"


def fit(labels: Sequence[str], *, room: float, size: float, lines: int = 2) -> list[str]:
    r"""Wrap labels, and cut those that need more lines, so that different ones stay different.

    Args:
        labels: Any texts.
        room: Width of a line (points).
        size: Of the font (points).
        lines: Lines that a label may take.

    Returns:
        The labels. Where every cut would make two of them alike they keep all their lines.

    >>> fit([f"a/very/long/name/of/model_{i}/with/an/end" for i in (1, 2)], room=50, size=7)
    ['a/ve…odel_1/\nwith/an/end', 'a/ve…odel_2/\nwith/an/end']
    """
    different = len(set(labels))
    whole = [wrap(label, room=room, size=size) for label in labels]
    for at in CUTS:
        short = [
            text if text.count("\n") < lines else _cut_to(label, room, size, lines, at)
            for text, label in zip(whole, labels, strict=True)
        ]
        if len(set(short)) == different:
            return short
    return whole


def _cut_to(text: str, room: float, size: float, lines: int, at: float) -> str:
    """The longest cut of a text that takes no more lines than these."""
    few, many = 1, len(text)
    while few < many:
        n = (few + many + 1) // 2
        if wrap(cut(text, n, at=at), room=room, size=size).count("\n") < lines:
            few = n
        else:
            many = n - 1
    return wrap(cut(text, few, at=at), room=room, size=size)
