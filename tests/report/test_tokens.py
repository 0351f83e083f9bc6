"""Views hold the table, on one scale; what is hostile in it stays text."""

import html
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots.save import as_csv
from persona_interp.report import page, role_view, show, token_view
from persona_interp.report.tokens import piece, scripts
from persona_interp.tables import read_table, write_table

Tokens = Callable[..., pd.DataFrame]
WORDS = ["<bos>", "I", " like", " football", "."]


def explained(texts: list[str]) -> pd.DataFrame:
    roles = ["special", "user", "user", "assistant"]
    rows = [
        {
            "prompt": "p",
            "pos": i,
            "piece": t,
            "role": roles[min(i, 3)],
            "turn": min(i, 3) - 1,
            "learn": i > 2,
        }
        for i, t in enumerate(texts)
    ]
    return pd.DataFrame(rows)


def test_before_stands_beside_after_on_one_scale(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 3, width=5)
    table.loc[table["prompt"] == "doc1", "act"] *= 2
    block = token_view(
        table.sample(frac=1, random_state=0), feature=7, checkpoints=("tuned", "base"), prompts=2
    )
    assert block["checkpoints"] == ["tuned", "base"]
    assert block["rows"][0]["prompt"] == "doc1" and len(block["rows"]) == 2
    tuned, base = block["rows"][0]["views"]
    assert [html.unescape(t) for t in tuned["tokens"]] == WORDS
    assert tuned["values"] == [180.0, 4.0, 8.0, 12.0, 16.0] and base["values"] == [
        180.0,
        2.0,
        4.0,
        6.0,
        8.0,
    ]
    scales = {
        (view["minValue"], view["maxValue"]) for row in block["rows"] for view in row["views"]
    }
    assert scales == {(-16.0, 16.0)}, (
        "the BOS is counted in no statistics, so it does not set the scale"
    )
    assert (
        "3 of 15 tokens are in no statistics" in block["caption"]
        and "1 more prompts" in block["caption"]
    )


def test_what_a_checkpoint_did_not_record_is_said(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 2, width=5)
    table = table.loc[(table["prompt"] != "doc1") | (table["checkpoint"] == "base")]
    assert page.page("a", [token_view(table, feature=7)]).count("not recorded") == 1


def test_a_feature_that_never_fires(tokens_of: Tokens) -> None:
    block = token_view(tokens_of(WORDS).assign(act=0.0), feature=7)
    assert block["rows"][0]["views"][0]["maxValue"] == 1.0


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        ({}, {"feature": 8}, "feature '8' is unknown"),
        ({}, {"feature": 7, "checkpoints": ("tund",)}, "did you mean 'tuned'"),
        ({"act": np.nan}, {"feature": 7}, "no finite numbers"),
    ],
)
def test_a_wrong_question_is_answered(
    tokens_of: Tokens, change: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(SchemaError, match=re.escape(said)):
        token_view(tokens_of(WORDS).assign(**change), **asked)
    with pytest.raises(SchemaError, match="lacks the columns piece"):
        token_view(tokens_of(WORDS).drop(columns="piece"), feature=7)


def test_roles_are_runs_of_one_owner() -> None:
    block = role_view(explained(["<bos>", "What", " ?", "Foot", "ball"]))
    (row,) = block["rows"]
    assert [(run["role"], [str(t["piece"]) for t in run["tokens"]]) for run in row["runs"]] == [
        ("special", ["&lt;bos&gt;"]),
        ("user", ["What"]),
        ("user", [" ?"]),
        ("assistant", ["Foot", "ball"]),
    ]
    assert [t["learn"] for run in row["runs"] for t in run["tokens"]] == [
        False,
        False,
        False,
        True,
        True,
    ]
    with pytest.raises(SchemaError, match="column 'learn' is unknown"):
        role_view(explained(WORDS).drop(columns="learn"))


def test_a_role_that_is_unknown_names_no_class_of_the_page(parse: Callable[[str], Any]) -> None:
    block = role_view(explained(WORDS).assign(role='x" onclick="y'))
    found = parse(page.page("a", [block]))
    assert {attrs["class"] for tag, attrs in found.nodes if tag == "span" and "class" in attrs} <= {
        "run other",
        "learn",
    }


def test_the_bundle_is_read_and_its_python_is_not_run() -> None:
    assert scripts() and "circuitsvis" not in sys.modules, "importing it loads torch"


def test_the_bundle_can_stand_in_a_page() -> None:
    bundle, ours = scripts()
    assert "ColoredTokens" in bundle and "CircuitsVis.render" in ours
    for script in (bundle, ours):
        assert not re.search(r"</script|<!--|[\r\0]", script, re.I), (
            "the parser would end or alter it"
        )
        assert "innerHTML" not in ours


def test_hostile_tokens_come_out_as_they_went_in(
    hostile_texts: list[str], tokens_of: Tokens, parse: Callable[[str], Any], tmp_path: Path
) -> None:
    table = tokens_of(hostile_texts)
    csv = io.BytesIO(as_csv(table))
    pd.testing.assert_series_equal(pd.read_csv(csv, keep_default_na=False)["piece"], table["piece"])
    pd.testing.assert_frame_equal(
        read_table(write_table(table, tmp_path / "tokens.parquet")), table
    )

    view = token_view(table, feature=7, prompts=100)
    roles = role_view(explained(hostile_texts))
    document = page.page("a", [view, page.details("b", [view, roles])])
    assert document.encode()
    found = parse(document)
    assert tuple(found.scripts) == scripts(), "nothing runs but the two constants"
    assert [name for _, attrs in found.nodes for name in attrs if name.startswith("on")] == []
    assert all(
        "<" not in data and ">" not in data and "&" not in data and data.isascii()
        for data in found.data
    )
    shown = [json.loads(data) for data in found.data]
    prompts = {tuple(view["tokens"]) for view in shown}
    expected = [
        tuple(html.escape(piece(t)) for t in hostile_texts[i : i + 50]) for i in range(0, 2_000, 50)
    ]
    assert prompts == set(expected) and len(shown) == 2 * 2 * 40
    assert all(piece(text) in found.text for text in hostile_texts), "the role view"


def test_a_notebook_gets_spans_and_no_script(hostile_texts: list[str], tokens_of: Tokens) -> None:
    from html.parser import HTMLParser

    tags: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not [name for name, _ in attrs if name not in ("style", "title")]

    for block in (
        token_view(tokens_of(hostile_texts), feature=7),
        role_view(explained(hostile_texts[:200])),
    ):
        shown = show(block)
        Tags().feed(shown._repr_html_())
        assert shown.encode() and len(shown) < 200_000
    assert tags <= {"p", "small", "br", "span", "b", "u"}
    with pytest.raises(SchemaError, match="got a block 'heading'"):
        show(page.heading("x"))


def test_more_activation_is_more_color(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS, checkpoints=("base",)).assign(act=[0.0, -1.0, 0.5, 1.0, 4.0])
    colors = re.findall(
        r'title="(\S+)" style="background:rgb\((\d+),(\d+),(\d+)\);color:(\w+)',
        show(token_view(table, feature=7)),
    )
    assert [c[0] for c in colors] == ["0", "-1", "0.5", "1", "4"]
    assert colors[0][1:] == ("255", "255", "255", "black") and colors[-1][1:] == (
        "0",
        "114",
        "178",
        "white",
    )
    assert int(colors[1][1]) > int(colors[1][3]) and int(colors[3][1]) < int(colors[3][3])
