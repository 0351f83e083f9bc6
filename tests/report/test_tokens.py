"""Views hold the table, on one scale; what is hostile in it stays text."""

import html
import io
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots.save import as_csv
from persona_interp.report import cell, page, roles, tokens
from persona_interp.report.bundle import scripts
from persona_interp.report.cell import view_html
from persona_interp.report.tokens import piece
from persona_interp.tables import read_table, write_table

Tokens = Callable[..., pd.DataFrame]
WORDS = ["<bos>", "I", " like", " football", "."]


def explained(texts: list[str]) -> pd.DataFrame:
    """A table of roles: a special token, two of the user, the rest of the assistant."""
    owners = ["special", "user", "user", "assistant"]
    rows = []
    for i, text in enumerate(texts):
        row = {"prompt": "p", "pos": i, "piece": text, "role": owners[min(i, 3)]}
        rows.append({**row, "turn": min(i, 3) - 1, "learn": i > 2})
    return pd.DataFrame(rows)


def test_before_stands_beside_after_on_one_scale(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 3, width=5)
    table.loc[table["prompt"] == "doc1", "act"] *= 2
    table = table.sample(frac=1, random_state=0)
    block = tokens(table, feature=7, checkpoints=("tuned", "base"), prompts=2)
    assert block["checkpoints"] == ["tuned", "base"]
    assert block["rows"][0]["prompt"] == "doc1" and len(block["rows"]) == 2
    tuned, base = block["rows"][0]["views"]
    assert [html.unescape(t) for t in tuned["tokens"]] == WORDS
    assert tuned["values"] == [180.0, 4.0, 8.0, 12.0, 16.0]
    assert base["values"] == [180.0, 2.0, 4.0, 6.0, 8.0]
    views = [view for row in block["rows"] for view in row["views"]]
    # The BOS is counted in no statistics, so it does not set the scale.
    assert {(view["minValue"], view["maxValue"]) for view in views} == {(-16.0, 16.0)}
    assert "3 of 15 tokens are in no statistics" in block["caption"]
    assert "1 more prompts" in block["caption"]


def test_what_a_checkpoint_did_not_record_is_said(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 2, width=5)
    table = table.loc[(table["prompt"] != "doc1") | (table["checkpoint"] == "base")]
    assert page.page("a", [tokens(table, feature=7)]).count("not recorded") == 1


def test_a_feature_that_never_fires(tokens_of: Tokens) -> None:
    block = tokens(tokens_of(WORDS).assign(act=0.0), feature=7)
    assert block["rows"][0]["views"][0]["maxValue"] == 1.0


@pytest.mark.parametrize(
    ("change", "question", "message"),
    [
        ({}, {"feature": 8}, "feature '8' is unknown"),
        ({}, {"feature": 7, "checkpoints": ("tund",)}, "did you mean 'tuned'"),
        ({"act": np.nan}, {"feature": 7}, "no finite numbers"),
    ],
)
def test_a_wrong_question_is_answered(
    tokens_of: Tokens, change: dict[str, Any], question: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=re.escape(message)):
        tokens(tokens_of(WORDS).assign(**change), **question)
    with pytest.raises(SchemaError, match="lacks the columns piece"):
        tokens(tokens_of(WORDS).drop(columns="piece"), feature=7)


def test_roles_are_runs_of_one_owner() -> None:
    block = roles(explained(["<bos>", "What", " ?", "Foot", "ball"]))
    (row,) = block["rows"]
    runs = row["runs"]
    assert [run["role"] for run in runs] == ["special", "user", "user", "assistant"]
    pieces = [[str(token["piece"]) for token in run["tokens"]] for run in runs]
    assert pieces == [["&lt;bos&gt;"], ["What"], [" ?"], ["Foot", "ball"]]
    assert [token["learn"] for run in runs for token in run["tokens"]] == [False] * 3 + [True] * 2
    with pytest.raises(SchemaError, match="column 'learn' is unknown"):
        roles(explained(WORDS).drop(columns="learn"))


def test_a_role_that_is_unknown_names_no_class_of_the_page(parse: Callable[[str], Any]) -> None:
    block = roles(explained(WORDS).assign(role='x" onclick="y'))
    nodes = parse(page.page("a", [block])).nodes
    classes = {attrs["class"] for tag, attrs in nodes if tag == "span" and "class" in attrs}
    assert classes <= {"run other", "learn"}


def test_the_bundle_is_read_and_its_python_is_not_run() -> None:
    assert scripts() and "circuitsvis" not in sys.modules, "importing it loads torch"


def test_the_bundle_can_stand_in_a_page() -> None:
    bundle, ours = scripts()
    assert "ColoredTokens" in bundle and "CircuitsVis.render" in ours
    for script in (bundle, ours):
        # The parser would end or alter it there.
        assert not re.search(r"</script|<!--|[\r\0]", script, re.I)
    assert not re.search(r"innerHTML\s*=|eval|Function", ours)


def test_hostile_tokens_come_out_as_they_went_in(
    hostile_texts: list[str], tokens_of: Tokens, parse: Callable[[str], Any], tmp_path: Path
) -> None:
    table = tokens_of(hostile_texts)
    csv = io.BytesIO(as_csv(table))
    pd.testing.assert_series_equal(pd.read_csv(csv, keep_default_na=False)["piece"], table["piece"])
    path = write_table(table, tmp_path / "tokens.parquet")
    pd.testing.assert_frame_equal(read_table(path), table)

    view = tokens(table, feature=7, prompts=100)
    owners = roles(explained(hostile_texts))
    text = page.page("a", [view, page.details("b", [view, owners])])
    assert text.encode()
    document = parse(text)
    assert tuple(document.scripts) == scripts(), "nothing runs but the two constants"
    assert [name for _, attrs in document.nodes for name in attrs if name.startswith("on")] == []
    assert all(data.isascii() and not set("<>&") & set(data) for data in document.data)
    views = [json.loads(data) for data in document.data]
    pieces = [html.escape(piece(text)) for text in hostile_texts]
    expected = {tuple(pieces[i : i + 50]) for i in range(0, 2_000, 50)}
    assert {tuple(view["tokens"]) for view in views} == expected and len(views) == 2 * 2 * 40
    assert all(piece(text) in document.text for text in hostile_texts), "the role view"


class Cell(HTMLParser):
    """Tags of a cell's output; nothing in it may be an event handler."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        names = {"style", "title", "class", "data-act", "data-persona-scale"}
        assert {name for name, _ in attrs} <= names
        self.titles += [str(value) for name, value in attrs if name == "title"]


@pytest.fixture
def shown_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another cell of this kernel has the bundle."""
    monkeypatch.setattr(cell, "_bundle_cell", ["first"])


@pytest.mark.usefixtures("shown_before")
def test_a_notebook_gets_escaped_spans(hostile_texts: list[str], tokens_of: Tokens) -> None:
    fires = tokens(tokens_of(hostile_texts), feature=7)
    owners = roles(explained(hostile_texts[:200]))
    for view, script in ((fires, {"script", "style"}), (owners, set())):
        parser, output = Cell(), view_html(view, cell="second")
        parser.feed(output)
        assert output.encode() and len(output) < 500_000
        shown = {"div", "p", "small", "table", "tr", "th", "td", "span", "b", "u"}
        assert parser.tags <= shown | script
    assert "innerHTML =" not in scripts()[1]


@pytest.mark.usefixtures("shown_before")
def test_hovering_tells_activation_text_and_role(tokens_of: Tokens) -> None:
    parser = Cell()
    view = tokens(tokens_of(["<bos>", "I", ' "like"']), feature=7, checkpoints=("tuned",))
    parser.feed(view_html(view, cell="second"))
    assert parser.titles == ["90 · <bos> · special", "2 · I · assistant", '4 ·  "like" · assistant']


def test_one_cell_of_a_kernel_brings_the_bundle(
    tokens_of: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "_bundle_cell", [])
    view = tokens(tokens_of(WORDS), feature=7)
    bundle = scripts()[0]
    cells = ("first", "second", "first", "")
    assert [bundle in view_html(view, cell=name) for name in cells] == [True, False, True, False]
    assert len(view_html(view, cell="second")) < 20_000
    assert repr(view) == f"View({view['caption']!r})"


@pytest.mark.usefixtures("shown_before")
def test_more_activation_is_more_color(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS, checkpoints=("base",)).assign(act=[0.0, -1.0, 0.5, 1.0, 4.0])
    pattern = (
        r'data-act="(\S+)" title="[^"]*" style="background:rgb\((\d+),(\d+),(\d+)\);color:(\w+)'
    )
    colors = re.findall(pattern, view_html(tokens(table, feature=7), cell="second"))
    assert [color[0] for color in colors] == ["0", "-1", "0.5", "1", "4"]
    assert colors[0][1:] == ("255", "255", "255", "black")
    assert colors[-1][1:] == ("0", "114", "178", "white")
    assert int(colors[1][1]) > int(colors[1][3]) and int(colors[3][1]) < int(colors[3][3])
