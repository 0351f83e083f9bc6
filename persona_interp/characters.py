"""Which characters of a text would a reader not see?

Tokens and sampled answers hold whatever a tokenizer holds: control characters, marks that reverse
the direction of what follows, marks of zero width. A page that prints them as they are shows
another text than the one it was given.
"""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
"""Unicode categories without a glyph.

Control, format, unassigned, private, surrogates, separators.
"""

BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
"""Letters, marks and variation selectors of no category above that show nothing either."""

VARIATION_SELECTORS = range(0xE0100, 0xE01F0)
"""The 240 of the supplement (U+E0100 to U+E01EF); the first 16 are among the blank ones."""


class _Glyphs(dict[int, str]):
    """Table for `str.translate`: visible text of each code point, filled as code points occur."""

    def __missing__(self, code: int) -> str:
        self[code] = _glyph(code)
        return self[code]


_GLYPHS = _Glyphs()


def visible(text: str, *, limit: int) -> str:
    r"""Text in which every character can be seen.

    Two texts of at most ``limit`` characters are shown alike only if they are equal: the bracket
    that opens a code point is itself shown as one.

    Args:
        text: Any text, lone surrogates included.
        limit: Characters shown; of a longer text the number of those cut is said.

    Returns:
        Printable text that UTF-8 can hold.

    >>> visible("a\u202eb\n", limit=10), visible("football", limit=4)
    ('a⟨U+202E⟩b⟨U+000A⟩', 'foot⟨4 more characters⟩')
    """
    start = text[:limit].translate(_GLYPHS)
    if len(text) <= limit:
        return start
    return f"{start}⟨{len(text) - limit:,} more characters⟩"


def _glyph(code: int) -> str:
    """The character of a code point, or its number between brackets where it shows nothing."""
    char = chr(code)
    if char == " ":
        return char
    is_blank = code in BLANK or code in VARIATION_SELECTORS
    # The bracket itself is spelled out, so that no text can imitate a spelled-out character.
    if is_blank or char == "⟨" or unicodedata.category(char) in INVISIBLE:
        return f"⟨U+{code:04X}⟩"
    return char
