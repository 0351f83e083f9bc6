"""Whatever a table holds, the page is inert: text stays text, nothing is loaded, nothing runs."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.report import page

Parse = Callable[[str], Any]
HOSTILE = (
    "</script><img src=x onerror=alert(1)><script>alert(2)</script>\" onmouseover='alert(3)' "
    "{{ 7 * 7 }}"
)

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
"""A picture of one pixel."""


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A page with every kind of block, all of them hostile."""
    png = tmp_path / "figures" / "x.png"
    png.parent.mkdir()
    png.write_bytes(PIXEL)
    frame = pd.DataFrame({HOSTILE: [HOSTILE, "plain"], "x": [1.0, float("nan")]})
    blocks = [
        page.heading(HOSTILE),
        page.paragraph(HOSTILE, source="tables/a.csv", lead=True),
        page.paragraph("no source"),
        page.figure(png, caption=HOSTILE),
        page.table(frame, caption=HOSTILE, source="tables/a.csv"),
        page.details(HOSTILE, [page.paragraph(HOSTILE), page.figure(png, caption="folded")]),
        *page.first_open([[[page.heading("open")]], [[page.heading(HOSTILE)]]]),
    ]
    return page.page(HOSTILE, blocks)


def test_hostile_text_stays_text(hostile: str, parse: Parse) -> None:
    document = parse(hostile)
    assert "script" not in {tag for tag, _ in document.nodes}
    assert [name for _, attrs in document.nodes for name in attrs if name.startswith("on")] == []
    # title, h1, heading, paragraph, figure; of the table its caption, a column and a cell; of the
    # details two; a folded section; two entries of the contents
    assert document.text.count(HOSTILE) == 13


def test_nothing_is_loaded(hostile: str, parse: Parse) -> None:
    nodes = parse(hostile).nodes
    addresses = [attrs[name] for _, attrs in nodes for name in ("src", "href") if name in attrs]
    harmless = re.compile(r"data:(image/png;base64,|,)|(tables|figures)/[\w.]+$|#section-\d+$")
    assert all(harmless.match(address or "") for address in addresses), addresses
    assert "://" not in hostile
    assert "url(" not in hostile and "@import" not in hostile


def test_the_policy_allows_its_own_style_and_no_script(hostile: str, parse: Parse) -> None:
    nodes = parse(hostile).nodes
    (policy,) = [attrs["content"] or "" for _, attrs in nodes if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'; img-src data: 'self' file:; style-src 'sha256-")
    assert "unsafe" not in policy and "script-src" not in policy


def test_only_what_is_folded_stands_beside_the_page(hostile: str, parse: Parse) -> None:
    pictures = [attrs for tag, attrs in parse(hostile).nodes if tag == "img"]
    first, folded = pictures
    assert (first["src"] or "").startswith("data:image/png;base64,") and "loading" not in first
    assert folded["src"] == "figures/x.png" and folded["loading"] == "lazy"
    assert all(attrs["width"] == attrs["height"] == "1" for attrs in pictures)


def test_contents_lead_to_every_section_once(parse: Parse) -> None:
    rates = [[[page.heading(f"lr {lr}"), page.heading("more")]] for lr in (1, 2)]
    document = parse(page.page("a", [*page.first_open(rates), page.heading("end")]))
    places = [attrs["id"] for _, attrs in document.nodes if "id" in attrs]
    links = [attrs["href"] for tag, attrs in document.nodes if tag == "a"]
    assert links == [f"#{place}" for place in places] and len(places) == 5
    assert [attrs for tag, attrs in document.nodes if tag == "details"] == [{}]


def test_equal_blocks_are_equal_bytes() -> None:
    assert page.page("a", [page.heading("b")]) == page.page("a", [page.heading("b")])


def test_a_long_table_says_what_it_hides(parse: Parse) -> None:
    frame = pd.DataFrame({"x": range(50), "y": "text"})
    document = parse(
        page.page("a", [page.table(frame, caption="c", source="tables/t.csv", rows=3)])
    )
    assert sum(tag == "tr" for tag, _ in document.nodes) == 1 + 3
    assert "47 more rows there" in document.text


def test_what_does_not_exist_is_a_dash(parse: Parse) -> None:
    frame = pd.DataFrame({"x": [float("nan"), 1234.5, 1e-9]})
    document = parse(page.page("a", [page.table(frame, caption="c", source="t.csv")]))
    assert "—" in document.text and "nan" not in document.text
    assert "1.23e+03" in document.text and "1e-09" in document.text


def test_details_hold_blocks(parse: Parse) -> None:
    inside = [page.paragraph("inside"), page.details("deeper", [page.heading("deepest")])]
    document = parse(page.page("a", [page.details("outer", inside, opened=True)]))
    assert [attrs for tag, attrs in document.nodes if tag == "details"] == [{"open": None}, {}]
    assert all(word in document.text for word in ("outer", "inside", "deeper", "deepest"))


def test_scripts_come_with_blocks_once_and_are_allowed_by_hash(parse: Parse) -> None:
    block = page.paragraph("x") | {"scripts": ("let a = 1 < 2;", "let b;")}
    nested = page.details("d", [block, page.details("e", [block])])
    document = parse(page.page("a", [block, nested]))
    assert document.scripts == ["let a = 1 < 2;", "let b;"]
    (policy,) = [attrs["content"] for _, attrs in document.nodes if "http-equiv" in attrs]
    assert re.search(r"script-src 'sha256-\S{44}' 'sha256-\S{44}'$", policy)
    assert "unsafe" not in policy


def test_what_nobody_sees_is_spelled_out() -> None:
    document = page.page("a", [page.paragraph("left\u202eright\x00\ud800")])
    assert "left⟨U+202E⟩right⟨U+0000⟩⟨U+D800⟩" in document and document.encode()


def test_a_very_long_text_says_how_much_is_cut() -> None:
    frame = pd.DataFrame({"text": ["x" * 100_000]})
    document = page.page("a", [page.table(frame, caption="c", source="t.csv")])
    assert "⟨90,000 more characters⟩" in document and len(document) < 20_000
