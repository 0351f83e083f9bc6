"""The built site loads nothing from elsewhere, and shows what it should; run by make docs."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
LOADS = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "embed": "src",
    "object": "data",
    "video": "src",
    "audio": "src",
}
"""Element -> attribute whose address a browser fetches without being asked."""
ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)

pytestmark = pytest.mark.site


class Loads(HTMLParser):
    """What a page fetches, and the places in it that a link can lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "prev", "next"):
            return  # addresses that are not fetched
        if address := values.get(LOADS.get(tag, ""), ""):
            self.addresses.append(address)
        if styled := values.get("style"):
            self.addresses += re.findall(r"url\(['\"]?([^'\")]*)", styled)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: Path) -> Loads:
    parser = Loads()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_nothing_is_loaded_from_elsewhere() -> None:
    pages = sorted(SITE.rglob("*.html"))
    assert len(pages) > 40
    fetched = {(page.name, a) for page in pages for a in read(page).addresses}
    assert len(fetched) > 100
    assert sorted(pair for pair in fetched if ELSEWHERE.match(pair[1])) == []
    for style in SITE.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        addresses = re.findall(r"url\(['\"]?([^'\")]*)|@import\s+['\"]([^'\"]*)", text)
        assert [pair for pair in addresses if ELSEWHERE.match("".join(pair))] == [], style


def test_every_file_that_is_loaded_is_there() -> None:
    for page in SITE.rglob("*.html"):
        if page.name == "404.html":
            continue  # served from any place, so its addresses begin at the root
        for address in read(page).addresses:
            path = address.partition("#")[0].partition("?")[0]
            if path and not path.startswith("data:"):
                assert (page.parent / path).is_file(), f"{page.name}: {address}"


def test_every_room_shows_all_that_it_exports() -> None:
    for init in (ROOT / "persona_interp").glob("*/__init__.py"):
        page = SITE / "reference" / f"{init.parent.name}.html"
        if init.parent.name == "cli":
            continue  # its reference is --help
        text = re.sub(r"\s+", " ", read(page).text)
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                for name in ast.literal_eval(node.value):
                    assert f"{init.parent.name}.{name}" in text, name


def test_notebooks_have_their_pictures() -> None:
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = SITE / "notebooks" / f"{notebook.stem}.html"
        pictures = [a for a in read(page).addresses if f"{notebook.stem}/" in a]
        drawn = notebook.read_text(encoding="utf-8").count("pi.plots.")
        assert len(pictures) == drawn > 0, notebook.stem
        for noise in ("Traceback", "Warning:", "it/s]", "s/it]"):
            assert noise not in read(page).text, f"{notebook.stem}: {noise}"
