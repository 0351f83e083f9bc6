"""Whatever a table holds, the page is inert: text stays text, nothing is loaded, nothing runs."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.report import page

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\" onmouseover='alert(3)' {{ 7 * 7 }}"
KNOWN = set(
    "html head meta title link style body h1 h2 p small a figure img figcaption div table thead tbody tr th td".split()
)
VOID = {"meta", "link", "img"}


class Strict(HTMLParser):
    """Every tag known, opened and closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.nodes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, f"<{tag}> in a report"
        self.nodes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(document: str) -> Strict:
    parser = Strict()
    parser.feed(document)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A page with every kind of block, all of them hostile."""
    png = tmp_path / "figures" / "x.png"
    png.parent.mkdir()
    png.write_bytes(b"\x89PNG")
    frame = pd.DataFrame({HOSTILE: [HOSTILE, "plain"], "x": [1.0, float("nan")]})
    blocks = [
        page.heading(HOSTILE),
        page.paragraph(HOSTILE, source="tables/a.csv", lead=True),
        page.paragraph("no source"),
        page.figure(png, caption=HOSTILE),
        page.table(frame, caption=HOSTILE, source="tables/a.csv"),
    ]
    return page.page(HOSTILE, blocks)


def test_hostile_text_stays_text(hostile: str) -> None:
    found = parse(hostile)
    assert "script" not in {tag for tag, _ in found.nodes}
    assert [name for _, attrs in found.nodes for name in attrs if name.startswith("on")] == []
    # title, h1, heading, paragraph, figure; of the table its caption, a column and a cell
    assert found.text.count(HOSTILE) == 8


def test_nothing_is_loaded(hostile: str) -> None:
    nodes = parse(hostile).nodes
    addresses = [attrs[name] or "" for _, attrs in nodes for name in ("src", "href") if name in attrs]
    assert all(re.match(r"data:(image/png;base64,|,)|(tables|figures)/[\w.]+$", a) for a in addresses), addresses
    assert "://" not in hostile
    assert "url(" not in hostile and "@import" not in hostile


def test_the_policy_allows_its_own_style_and_no_script(hostile: str) -> None:
    policies = [attrs["content"] or "" for tag, attrs in parse(hostile).nodes if "http-equiv" in attrs]
    (policy,) = policies
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "script-src" not in policy


def test_equal_blocks_are_equal_bytes() -> None:
    assert page.page("a", [page.heading("b")]) == page.page("a", [page.heading("b")])


def test_a_long_table_says_what_it_hides() -> None:
    frame = pd.DataFrame({"x": range(50), "y": "text"})
    found = parse(page.page("a", [page.table(frame, caption="c", source="tables/t.csv", rows=3)]))
    assert sum(tag == "tr" for tag, _ in found.nodes) == 1 + 3
    assert "47 more rows there" in found.text


def test_what_does_not_exist_is_a_dash() -> None:
    frame = pd.DataFrame({"x": [float("nan"), 1234.5, 1e-9]})
    found = parse(page.page("a", [page.table(frame, caption="c", source="t.csv")]))
    assert "—" in found.text and "nan" not in found.text
    assert "1.23e+03" in found.text and "1e-09" in found.text
