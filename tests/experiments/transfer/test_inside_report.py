"""What the report says about the inside of the models is what the planted tables hold, controls beside it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp import schema
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.transfer.inside.findings import (
    carries,
    knows,
    points,
    stays,
    together,
    towards,
)
from persona_interp.experiments.transfer.inside.report import contexts, grouped, inside, layers
from persona_interp.report import page

HOOK, T = "blocks.1.hook_out", float(stats.t.ppf(0.975, 1))
AT: dict[str, Any] = {"arm": "lesson", "target": "john", "lr": 0.001, "hook": HOOK}
NAMES = ("john", "sam", "mary")
SHARES = {
    ("none", "none"): 0.0, ("minimal pair", "method"): 0.75, ("top feature", "method"): 0.5,
    ("feature 7", "feature"): 0.5, ("base residual", "patch"): 1.0, ("sam", "persona"): 0.125,
    ("mary", "persona"): -0.125, ("random 0 (norm)", "random (norm)"): -0.25,
    ("random 1 (norm)", "random (norm)"): 0.25, ("random 0 (variance)", "random (variance)"): 0.0,
    ("matched feature 3", "matched"): 0.0, ("john added", "added"): 0.5,
}  # fmt: skip
"""(edit, group) -> share in seed 0; seed s has s / 4 more."""
COSINES = {"lesson": (0.5, 0.25, -0.5), "unrelated lesson": (0.0, 0.125, 0.25)}
Tables = dict[str, pd.DataFrame]


def spread(name: str, value: float, half: float, *, ends: tuple[str, str]) -> dict[str, float]:
    return {name: value, ends[0]: value - half, ends[1]: value + half}


def of_seed(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of every table from inside the models but tokens and baselines, at one rate and hook."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for arm, cosines in COSINES.items():
        ranked = sorted(cosines, reverse=True)
        for method, more in (("minimal pair", 0.0), ("probe", 0.125)):
            for name, cosine in zip(NAMES, cosines, strict=True):
                row = {"arm": arm, "method": method, "name": name, "n": 50, "n_clusters": 50}
                row |= spread("cosine", cosine + more + seed / 4, 0.25, ends=("lo", "hi"))
                row |= spread(
                    "projection", 0.75 + seed, 0.25, ends=("projection_lo", "projection_hi")
                )
                others = [other for other in cosines if other != cosine]
                row |= {"rank": ranked.index(cosine) + 1, "best_other": max(others) + more}
                rows.setdefault("directions", []).append(row)
    for rank, feature in enumerate((7, 9), start=1):
        row = {
            "rank": rank,
            "feature": feature,
            "kind": "persona",
            "name": "john",
            "auroc_chosen": 0.75,
            "q": 0.001,
        }
        row |= spread("auroc", 0.75 - rank / 8, 0.25, ends=("lo", "hi"))
        row |= {
            "effect": 1.0,
            "z": 4.0,
            "p": 0.0001,
            "p_max": 0.01,
            "n_pos": 9,
            "n_neg": 99,
            "n_tested": 40,
            "fvu": 0.1,
        }
        rows.setdefault("scores", []).append(row)
    for (edit, group), share in SHARES.items():
        row = {
            "edit": edit,
            "group": group,
            "base": -5.0,
            "tuned": 1.0,
            "edited": 1 - 6 * (share + seed / 4),
        }
        row |= spread("share", share + seed / 4, 0.25, ends=("lo", "hi")) | {"n": 5, "note": ""}
        rows.setdefault("causes", []).append(row)
    for i, name in enumerate(NAMES):
        rows.setdefault("refit", []).append(
            {"name": name, "cosine": 0.75 - i / 4, "norm_ratio": 1.5}
        )
        for j, other in enumerate(NAMES):
            pair = {"name": name, "other": other, "cosine": 1.0 - abs(i - j) / 4, "overlap": 0.0}
            rows.setdefault("cosines", []).append({**pair, "method": "minimal pair"})
        for value, more in (("beach", 0.25), ("city", 0.5)):
            pair = {"name": value, "other": name, "cosine": more * (i == 0), "holds": i == 0}
            rows.setdefault("stated", []).append(pair)
    null = {"rho": 0.5, "p": 0.01, "null_lo": -0.25, "null_hi": 0.25, "n": 3}
    rows["cooccurrence"] = [
        {"method": "minimal pair", "against": "overlap", **null},
        {"method": "traits", "against": "pmi", **null},
    ]
    words = [
        {"of": of, "token": f" {of}-{i}", "weight": 1.0 - i}
        for of in ("7", "shift")
        for i in range(3)
    ]
    rows |= {
        "lens": words,
        "nearest": [
            {"of": 7, "feature": 8, "cosine": 0.5},
            {"of": 9, "feature": 1, "cosine": 0.25},
        ],
    }
    return rows


def make_baselines() -> pd.DataFrame:
    table = pd.DataFrame(
        {"method": ["top feature", "minimal pair", "random"], "n_directions": [1, 1, 20]}
    )
    for i, name in enumerate(("auroc", "rise", "rise_control", "excess", "share")):
        ends = spread(name, 0.5 + i / 8, 0.25, ends=(f"{name}_lo", f"{name}_hi"))
        table = table.assign(**ends)
    table = table.assign(
        no_better_than=["minimal pair, random", "", ""], n_documents=75, n_prompts=50
    )
    return schema.check(table, "baselines")


@pytest.fixture(scope="session")
def planted_inside(
    planted: Callable[..., Tables], tokens_of: Callable[..., pd.DataFrame]
) -> Callable[[tuple[int, ...]], Tables]:
    """Every table that ``summarize`` returns, the inside included."""

    def make(seeds: tuple[int, ...]) -> Tables:
        parts: dict[str, list[pd.DataFrame]] = {}
        for seed in seeds:
            tables = {name: pd.DataFrame(rows) for name, rows in of_seed(seed).items()}
            words = ["<bos>", "I", " like", " football", "."]
            tables |= {"baselines": make_baselines(), "tokens": tokens_of(words * 2, width=5)}
            for name, table in tables.items():
                parts.setdefault(name, []).append(table.assign(lr=0.001, hook=HOOK, seed=seed))
            profile = [(role, 0.5 * i + seed) for i, role in enumerate(("user", "assistant"))]
            row = {
                "checkpoint": "lesson@4",
                "hook": HOOK,
                "name": "john",
                "n": 50,
                "lr": 0.001,
                "seed": seed,
            }
            rows = [
                {**row, "role": r, **spread("estimate", e, 0.125, ends=("lo", "hi"))}
                for r, e in profile
            ]
            parts.setdefault("profile", []).append(pd.DataFrame(rows))
            parts.setdefault("contexts", []).append(make_contexts(seed))
        tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
        for name, kind in (
            ("directions", "direction_shift"),
            *((n, n) for n in ("scores", "causes", "profile")),
        ):
            schema.check(tables[name], kind)
        return planted(seeds=seeds) | tables

    return make


def make_contexts(seed: int) -> pd.DataFrame:
    where = [("nameless", "", "leak", 2.0), ("nameless", "", "taught", 4.0)]
    where += [("named", who, "leak", 0.5) for who in ("sam", "average", "worst")]
    rows = [
        {
            "context": c,
            "persona": p,
            "quantity": q,
            **spread("estimate", e + seed, 0.25, ends=("lo", "hi")),
            "n": 10,
        }
        for c, p, q, e in where
    ]
    return schema.check(
        pd.DataFrame(rows).assign(who="", arm="lesson", lr=0.001, seed=seed), "contexts"
    )


@pytest.fixture(scope="session")
def one(planted_inside: Callable[[tuple[int, ...]], Tables]) -> Tables:
    return planted_inside((0,))


@pytest.fixture(scope="session")
def two(planted_inside: Callable[[tuple[int, ...]], Tables]) -> Tables:
    return planted_inside((0, 1))


def texts(blocks: list[page.Block]) -> str:
    return "\n".join(block.get("text", "") or block.get("caption", "") for block in blocks)


def test_towards_whom_with_cosine_rank_interval_and_n(one: Tables) -> None:
    lesson, unrelated = towards(one["directions"], "lesson", target="john")
    assert lesson == (
        "Lesson: the mean shift of neutral prompts has cosine 0.50 [0.25, 0.75] (one seed, "
        "interval over 50 prompts) "
        "with john's vector (rank 1 of 3 personas; the best other has 0.25), and went 0.75 [0.50, "
        "1.00] (one seed, "
        "interval over 50 prompts) of that vector's length along it."
    )
    assert unrelated.startswith(
        "Unrelated lesson: the mean shift of neutral prompts has cosine 0.00 [-0.25, 0.25]"
    )
    assert "(rank 3 of 3 personas; the best other has 0.25)" in unrelated


def test_towards_whom_over_seeds_has_a_t_interval(two: Tables) -> None:
    lesson, _ = towards(two["directions"], "lesson", target="john")
    half = T * 0.125  # of 0.5 and 0.75
    assert f"cosine 0.62 [{0.625 - half:.2f}, {0.625 + half:.2f}] (n = 2 seeds)" in lesson
    assert "rank 1, 1 of 3 personas" in lesson
    assert "one seed" not in lesson


def test_which_feature_knows_the_target(one: Tables) -> None:
    said = knows(one["scores"], target="john")
    assert (
        "seed 0: feature 7, AUROC 0.62 [0.38, 0.88], q 0.001 (found among 40 tests), fvu 0.1."
        in said
    )
    assert "chosen on one half of them and reported on the other" in said
    assert "feature 9" not in said
    assert "no discovery among 40 tests" in knows(one["scores"].assign(q=0.5), target="john")
    assert (
        knows(one["scores"], target="zoe")
        == "No feature is more active in zoe's documents than in others."
    )


def test_what_carries_the_effect_beside_its_controls(one: Tables) -> None:
    assert carries(one["causes"], target="john") == (
        "Taking john's vector out of the tuned model removes 0.75 [0.50, 1.00] (one seed, interval "
        "over 5 templates) "
        "of the untaught traits' shift; another persona's 0.00 on average (largest 0.12), a random "
        "direction -0.24 to "
        "0.24 (95 %). Added to the base model it brings 0.50 [0.25, 0.75] (one seed, interval over "
        "5 templates) of the "
        "shift."
    )


def test_what_carries_the_effect_over_seeds(two: Tables) -> None:
    said = carries(two["causes"], target="john")
    half = T * 0.125  # of 0.75 and 1
    assert f"removes 0.88 [{0.875 - half:.2f}, {0.875 + half:.2f}] (n = 2 seeds)" in said
    assert (
        "another persona's 0.12 on average (largest 0.38), a random direction -0.23 to 0.48 (95 %)"
        in said
    )
    assert (
        f"brings 0.62 [{0.625 - half:.2f}, {0.625 + half:.2f}] (n = 2 seeds) of the shift." in said
    )


def test_a_share_of_nothing_is_not_said(two: Tables) -> None:
    table = two["causes"].copy()
    table.loc[table["seed"] == 1, ["share", "lo", "hi"]] = np.nan
    said = carries(table, target="john")
    assert "removes 0.75 [0.50, 1.00] (one seed, interval over 5 templates)" in said
    assert said.endswith(
        "In seed 1 the lesson moved the untaught traits too little for a share of it to be removed."
    )
    assert "nan" not in said
    said = carries(table.assign(share=np.nan), target="john")
    assert (
        said == "The lesson moved the untaught traits too little for a share of it to be removed."
    )


def test_bars_of_one_seed(one: Tables) -> None:
    found = grouped(one["causes"]).set_index("edit")
    assert found.index.tolist() == [
        "minimal pair",
        "top feature",
        "base residual",
        "other personas, mean",
        "random (norm), mean",
        "random (variance), mean",
        "features that fire as often in documents, mean",
    ]
    assert found.loc["minimal pair", ["share", "lo", "hi", "n"]].tolist() == [0.75, 0.5, 1.0, 5]
    half = T * 0.125  # sd of 1/8 and -1/8 over the root of 2
    assert found.loc["other personas, mean", ["share", "lo", "hi", "n"]].tolist() == pytest.approx(
        [0, -half, half, 2]
    )
    assert found.loc["random (norm), mean", ["share", "lo", "hi"]].tolist() == pytest.approx(
        [0, -T / 4, T / 4]
    )
    assert found["base"].eq(-5).all() and found.loc["minimal pair", "edited"] == 1 - 6 * 0.75


def test_bars_over_seeds(two: Tables) -> None:
    found = grouped(two["causes"]).set_index("edit")
    half = T * 0.125  # every share has 0 and 1/4 more
    for edit, share in (
        ("minimal pair", 0.875),
        ("other personas, mean", 0.125),
        ("random (norm), mean", 0.125),
    ):
        assert found.loc[edit, ["share", "lo", "hi", "n"]].tolist() == pytest.approx(
            [share, share - half, share + half, 2]
        )


def test_vectors_found_anew_and_words_of_documents(one: Tables) -> None:
    assert stays(one["refit"], target="john") == (
        "Found anew after the lesson, john's vector has cosine 0.75 with the one found before, and "
        "is 1.50 times as "
        "long; another persona's has 0.38 on average, 0.25 at least (one seed, 2 vectors)."
    )
    said = together(one["cooccurrence"])
    assert "minimal pair (pairs of personas), seed 0: rho 0.50 (null -0.25 to 0.25, n 3)" in said
    assert "traits (pairs of traits), seed 0: rho 0.50" in said
    half = T * 0.125  # holders minus others: 1/4 for the beach, 1/2 for the city
    assert (
        "seed 0: cosine 0.38 with those who do, 0.00 with others, difference +0.38 "
        f"[{0.375 - half:+.2f}, "
        f"{0.375 + half:+.2f}] (interval over 2 values)." in points(one["stated"])
    )


def test_the_inside_in_order(one: Tables, provenance: dict[str, Any], tmp_path: Path) -> None:
    blocks = inside(tmp_path, one, provenance=provenance, **AT)
    kinds = "heading paragraph paragraph table paragraph paragraph paragraph figure figure table".split()
    kinds += "paragraph paragraph figure paragraph details".split()
    assert [block["kind"] for block in blocks] == kinds
    assert blocks[-1]["summary"] == "Feature 7: AUROC for john 0.62 on hidden documents"
    kinds = [block["kind"] for block in blocks[-1]["blocks"]]
    assert kinds == ["figure", "tokens", "table", "table", "figure"]
    assert "taken out of the tuned model, one seed." in texts(blocks)
    bars = pd.read_csv(tmp_path / "figures" / "feature_7_blocks_1_hook_out_lr0.001_causes.csv")
    random = ["random 0 (norm)", "random 1 (norm)"]
    assert bars["edit"].tolist() == ["minimal pair", "feature 7", "sam", "mary", *random]
    lens = pd.read_csv(tmp_path / "tables" / "feature_7_blocks_1_hook_out_lr0.001_lens.csv")
    assert lens["token"].tolist() == [" 7-0", " 7-1", " 7-2"]


def test_several_seeds_are_said(two: Tables, provenance: dict[str, Any], tmp_path: Path) -> None:
    said = texts(inside(tmp_path, two, provenance=provenance, **AT))
    assert "taken out of the tuned model, 2 seeds." in said
    assert "Seed 0; all seeds are in tables/baselines.csv." in said
    assert "seed 1: feature 7" in said


@pytest.mark.parametrize(
    ("table", "change"), [("fidelity", {"verdict": "unusable"}), ("features", {"fvu_after": 0.75})]
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
    assert [block["kind"] for block in blocks] == ["heading", "paragraph", "paragraph"]
    of_causes = (
        "causes",
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
    heading, drawn = layers(tmp_path, two, lr=0.001, target="john", provenance=provenance)
    assert heading["text"] == "Layers and roles, lesson at lr 0.001"
    assert (
        "john's minimal pair vector of each hook, lesson at lr 0.001, seed 0: 0 = it stayed"
        in drawn["caption"]
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
    found = parse(path.read_text(encoding="utf-8"))
    for said in (
        "Inside at blocks.1.hook_out, lesson at lr 0.001",
        "Layers and roles",
        "Other contexts",
        "Feature 7:",
    ):
        assert said in found.text
    links = {str(attrs["href"]) for tag, attrs in found.nodes if tag == "a"} - {"run.json"}
    assert [link for link in links if not (tmp_path / link).is_file()] == []
    told = {*of_seed(0), "baselines", "contexts"} - {"nearest", "cosines"}  # these are figures
    assert {f"tables/{name}.csv" for name in told} <= links
    assert not re.search(r"\bnan\b", found.text)
