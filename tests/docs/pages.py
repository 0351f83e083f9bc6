"""Python of the pages: every block, and why one is not run where it says so."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCK = re.compile(
    r"(?:^ *<!-- not run: ([^>]*?) -->\n\n?)?^ *```(?:python|py|pycon)\n(.*?)^ *```",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """One block of Python.

    Attributes:
        code: As it stands on the page.
        reason: Why it is not run, of the comment before it; "" for one that is.
    """

    code: str
    reason: str


def blocks(name: str) -> list[Block]:
    """All blocks of a page, named by its path in the checkout, in order."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [Block(code, reason) for reason, code in BLOCK.findall(text)]


def code_of(name: str) -> list[str]:
    """The blocks of a page that are run."""
    return [block.code for block in blocks(name) if not block.reason]
