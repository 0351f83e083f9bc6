"""A feature's page holds its figures, its examples and their CSVs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.report import examples, feature_page, page

Tokens = Callable[..., pd.DataFrame]
WORDS = ["<bos>", "I", " like", " football", "."]


def test_examples_are_the_strongest_counted_tokens(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 2, width=5)
    table.loc[(table["prompt"] == "doc1") & (table["pos"] == 2), "act"] = 50.0
    table = table.sample(frac=1, random_state=0)
    rows = examples(table, feature=7, checkpoints=("base", "tuned"))
    assert rows.columns.tolist() == ["prompt", "before", "piece", "after", "base", "tuned"]
    assert rows.iloc[0].tolist() == ["doc1", "<bos>I", " like", " football.", 50.0, 50.0]
    assert rows.iloc[1].tolist() == ["doc0", "<bos>I like football", ".", "", 4.0, 8.0]


def test_an_example_that_one_checkpoint_lacks(tokens_of: Tokens) -> None:
    table = tokens_of(WORDS * 2, width=5)
    table = table.loc[(table["prompt"] != "doc1") | (table["checkpoint"] == "tuned")]
    rows = examples(table, feature=7).set_index("prompt")
    assert math.isnan(rows.loc["doc1", "base"]) and rows.loc["doc1", "tuned"] == 8.0


def test_the_page_is_one_folded_block(
    tokens_of: Tokens, provenance: dict[str, Any], parse: Callable[[str], Any], tmp_path: Path
) -> None:
    edits = {"edit": ["ablate 7", "ablate 8", "random 0"], "share": [0.5, 0.1, 0.0]}
    causes = pd.DataFrame(edits).assign(base=-5.0, tuned=1.0, edited=0.0, lo=0.0, hi=1.0, n=4)
    block = feature_page(
        tmp_path,
        tokens_of(WORDS * 2, width=5),
        feature=7,
        provenance=provenance,
        summary="john <b>",
        hint="https://a.example/<7>",
        lens=pd.DataFrame({"token": [" football", "\n"], "weight": [2.5, -1.0]}),
        nearest=pd.DataFrame({"feature": [8], "cosine": [0.5]}),
        causes=causes,
        others=("ablate 8",),
        random=("random 0",),
    )
    document = parse(page.page("a", [block]))
    assert "Perhaps described at https://a.example/<7> (not verified" in document.text
    assert "Feature 7: john <b>" in document.text and "⟨U+000A⟩" in document.text
    assert [tag for tag, _ in document.nodes].count("img") == 2
    assert len(document.scripts) == 2 and len(document.data) == 4
    links = [attrs["href"] for tag, attrs in document.nodes if tag == "a"]
    assert all((tmp_path / str(link)).is_file() for link in links) and len(links) == 9


def test_a_page_needs_nothing_but_tokens(
    tokens_of: Tokens, provenance: dict[str, Any], tmp_path: Path
) -> None:
    block = feature_page(tmp_path, tokens_of(WORDS), feature=7, provenance=provenance)
    assert block["summary"] == "Feature 7"
    assert [inner["kind"] for inner in block["blocks"]] == ["figure", "tokens", "table"]
