"""Which characters of a text would a reader not see?

Tokens and sampled answers hold whatever a tokenizer holds: control characters, marks that reverse
the direction of what follows, marks of zero width. A page that prints them as they are shows
another text than the one it was given.
"""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
"""Unicode categories without a glyph: control, format, unassigned, private, surrogates, separators."""

BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
"""Letters, marks and variation selectors that take part in no category above and show nothing either."""


class _Shown(dict[int, str]):
    """What `str.translate` asks: how is this code point shown? Filled as code points occur."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        invisible = unicodedata.category(char) in INVISIBLE and char != " "
        hidden = invisible or code in BLANK or 0xE0100 <= code < 0xE01F0 or char == "⟨"
        self[code] = f"⟨U+{code:04X}⟩" if hidden else char
        return self[code]


_SHOWN = _Shown()


def visible(text: str, *, limit: int) -> str:
    r"""How is this text shown so that every character of it can be seen?

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
    cut = f"⟨{len(text) - limit:,} more characters⟩" if len(text) > limit else ""
    return text[:limit].translate(_SHOWN) + cut
