"""What is shown tells apart whatever is different."""

import re

from persona_interp.characters import visible


def read_back(text: str) -> str:
    """The text that is shown like this."""
    return re.sub(r"⟨U\+([0-9A-F]{4,6})⟩", lambda code: chr(int(code[1], 16)), text)


def test_every_text_can_be_read_back(hostile_texts: list[str]) -> None:
    texts = [visible(text, limit=1_000_000) for text in hostile_texts]
    assert [read_back(text) for text in texts] == hostile_texts
    assert all(text.isprintable() for text in texts)
    assert "".join(texts).encode().decode() == "".join(texts)


def test_every_code_point_can_be_read_back() -> None:
    text = "".join(map(chr, [*range(0x20000), *range(0xE0000, 0xE0200), 0x10FFFF]))
    assert read_back(visible(text, limit=len(text))) == text


def test_what_is_plain_stays() -> None:
    text = 'John likes football, é日本שלום😀 <b> & "quotes"'
    assert visible(text, limit=100) == text


def test_what_is_cut_is_said() -> None:
    assert visible("x" * 100_000, limit=10) == "x" * 10 + "⟨99,990 more characters⟩"
    assert visible("⟨99,990 more characters⟩", limit=100) != "⟨99,990 more characters⟩"
    assert visible("x" * 10, limit=10) == "x" * 10
