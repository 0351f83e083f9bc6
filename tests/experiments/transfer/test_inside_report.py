"""Blocks of the report on the inside hold what the planted tables hold, controls beside it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.transfer.inside.report import contexts, grouped, inside, layers
from persona_interp.report import page

T = float(stats.t.ppf(0.975, 1))
"""Half a 95 % interval over two seeds, in standard errors."""
AT: dict[str, Any] = {"arm": "lesson", "target": "john", "lr": 0.001, "hook": "blocks.1.hook_out"}
Tables = dict[str, pd.DataFrame]


def texts(blocks: list[page.Block]) -> str:
    return "\n".join(block.get("text", "") or block.get("caption", "") for block in blocks)


def test_bars_of_one_seed(one: Tables) -> None:
    bars = grouped(one["causes"]).set_index("edit")
    assert bars.index.tolist() == [
        "minimal pair",
        "top feature",
        "single features that know the persona",
        "base residual patched in",
        "other personas' vectors",
        "random directions of equal norm",
        "random directions that vary as residuals do",
        "features that fire as often in documents",
    ]
    assert bars.loc["minimal pair", ["share", "lo", "hi", "n"]].tolist() == [0.75, 0.5, 1.0, 5]
    half = T * 0.125  # sd of 1/8 and -1/8 over the root of 2
    others = bars.loc["other personas' vectors"]
    assert others[["share", "lo", "hi", "n"]].tolist() == pytest.approx([0, -half, half, 2])
    assert others[["least", "most"]].tolist() == [-0.125, 0.125]
    random = bars.loc["random directions of equal norm"]
    assert random[["share", "lo", "hi"]].tolist() == pytest.approx([0, -T / 4, T / 4])
    assert bars["base"].eq(-5).all() and bars.loc["minimal pair", "edited"] == 1 - 6 * 0.75


def test_bars_over_seeds(two: Tables) -> None:
    bars = grouped(two["causes"]).set_index("edit")
    half = T * 0.125  # every share has 0 and 1/4 more
    for edit, share in (
        ("minimal pair", 0.875),
        ("other personas' vectors", 0.125),
        ("random directions of equal norm", 0.125),
    ):
        assert bars.loc[edit, ["share", "lo", "hi", "n"]].tolist() == pytest.approx(
            [share, share - half, share + half, 2]
        )


def test_the_inside_in_order(one: Tables, provenance: dict[str, Any], tmp_path: Path) -> None:
    blocks = inside(tmp_path, one, provenance=provenance, **AT)
    kinds = ["heading", *["paragraph"] * 3, "table", *["paragraph"] * 10, "figure", "table"]
    kinds += "figure table paragraph paragraph figure paragraph details".split()
    assert [block["kind"] for block in blocks] == kinds
    assert blocks[-1]["summary"] == "Feature 7: AUROC for john 0.62 on hidden documents"
    kinds = [block["kind"] for block in blocks[-1]["blocks"]]
    assert kinds == ["figure", "tokens", "table", "table", "figure"]
    assert "taken out of the tuned model, one seed." in texts(blocks)
    bars = pd.read_csv(tmp_path / "figures" / "feature_7_blocks_1_hook_out_lr0.001_causes.csv")
    random = ["random 0 (norm)", "random 1 (norm)", "random 0 (variance)"]
    assert bars["edit"].tolist() == ["minimal pair", "feature 7", "sam", "mary", *random]
    lens = pd.read_csv(tmp_path / "tables" / "feature_7_blocks_1_hook_out_lr0.001_lens.csv")
    assert lens["token"].tolist() == [" 7-0", " 7-1", " 7-2"]


def test_several_seeds_are_said(two: Tables, provenance: dict[str, Any], tmp_path: Path) -> None:
    text = texts(inside(tmp_path, two, provenance=provenance, **AT))
    assert "taken out of the tuned model, 2 seeds." in text
    assert "Seed 0; all seeds are in tables/baselines.csv." in text
    assert "seed 1: feature 7" in text


@pytest.mark.parametrize(
    ("table", "change"),
    [("fidelity", {"verdict": "unusable"}), ("feature_shift", {"fvu_after": 0.75})],
)
def test_no_feature_page_where_the_dictionary_does_not_fit(
    one: Tables, provenance: dict[str, Any], tmp_path: Path, table: str, change: dict[str, Any]
) -> None:
    blocks = inside(
        tmp_path, {**one, table: one[table].assign(**change)}, provenance=provenance, **AT
    )
    assert "does not fit here after the lesson, so no feature is read" in texts(blocks)
    assert "details" not in [block["kind"] for block in blocks]
    assert not list(tmp_path.rglob("feature_*"))


def test_an_unfinished_run_is_told_as_far_as_it_is(
    one: Tables, two: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    assert inside(tmp_path, {"scores": one["scores"]}, provenance=provenance, **AT) == []
    blocks = inside(tmp_path, {"directions": one["directions"]}, provenance=provenance, **AT)
    assert [block["kind"] for block in blocks] == ["heading", *["paragraph"] * 3]
    of_causes = (
        "causes",
        "rivals",
        "chance",
        "baselines",
        "tokens",
        "lens",
        "nearest",
        "refit",
    )  # not finished in the first seed
    late = {
        name: table.query("seed == 1") if name in of_causes else table
        for name, table in two.items()
    }
    blocks = inside(tmp_path, late, provenance=provenance, **AT)
    assert "Seed 1; all seeds are in tables/baselines.csv." in texts(blocks)
    assert blocks[-1]["summary"].startswith("Feature 7")
    assert layers(tmp_path, one, lr=0.5, target="john", provenance=provenance) == []
    assert contexts(one, lr=0.5) == []
    assert (
        layers(tmp_path, {}, lr=0.001, target="john", provenance=provenance)
        == contexts({}, lr=0.001)
        == []
    )


def test_layers_and_contexts(
    one: Tables, two: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    heading, figure = layers(tmp_path, two, lr=0.001, target="john", provenance=provenance)
    assert heading["text"] == "Layers and roles, lesson at lr 0.001"
    assert (
        "john's minimal pair vector of each hook, lesson at lr 0.001, seed 0: 0 = it stayed"
        in figure["caption"]
    )
    assert pd.read_csv(tmp_path / "figures" / "layers_lr0.001.csv")["estimate"].tolist() == [
        0.0,
        0.5,
    ]
    _, table = contexts(one, lr=0.001)
    cells = {row[1][0]: [cell for cell, _ in row[2:]] for row in table["rows"]}
    assert cells == {
        "nameless": ["+2.00 [+1.75, +2.25]", "+4.00 [+3.75, +4.25]"],
        "named average": ["+0.50 [+0.25, +0.75]", "—"],
        "named worst": ["+0.50 [+0.25, +0.75]", "—"],
    }
    _, table = contexts(two, lr=0.001)
    assert table["rows"][0][2][0] == f"+2.50 [{2.5 - T / 2:+.2f}, {2.5 + T / 2:+.2f}]", (
        "over seeds 2 and 3"
    )


def test_the_whole_report(
    one: Tables, provenance: dict[str, Any], parse: Callable[[str], Any], tmp_path: Path
) -> None:
    path = draw_report(tmp_path, one, provenance=provenance)
    html = parse(path.read_text(encoding="utf-8"))
    for text in (
        "Inside at blocks.1.hook_out, lesson at lr 0.001",
        "Layers and roles",
        "Other contexts",
        "Feature 7:",
    ):
        assert text in html.text
    links = {str(attrs["href"]) for tag, attrs in html.nodes if tag == "a"} - {"run.json"}
    files = [link for link in links if not link.startswith("#")]
    assert [link for link in files if not (tmp_path / link).is_file()] == []
    # nearest and cosines are figures only
    sources = "directions scores causes refit stated cooccurrence lens baselines contexts".split()
    assert {f"tables/{name}.csv" for name in sources} <= links
    assert not re.search(r"\bnan\b", html.text)
