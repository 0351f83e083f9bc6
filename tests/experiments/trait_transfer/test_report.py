"""Sentences about planted tables, null results said as such, and a page of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.trait_transfer import report

NAMES = ("casual", "dry", "wry")


def matrix(*, own: float = 0.5, other: float = 0.0, seeds: int = 1) -> pd.DataFrame:
    rows = [(a, b, own if a == b else other) for a in NAMES for b in NAMES]
    table = pd.DataFrame(rows, columns=["taught", "trait", "estimate"])
    table = table.assign(
        lo=table["estimate"] - 0.25, hi=table["estimate"] + 0.25, base=0.0, lesson=0.0, null=0.0
    )
    q = np.where(table["estimate"].abs() > 0.25, 0.001, 0.5)
    return table.assign(p=q, q=q, n=20, n_seeds=seeds)


def predictors(partial_p: float = 0.001, p_min: float = 0.0002) -> pd.DataFrame:
    ends = {"lo": 0.25, "hi": 0.75, "null_lo": -0.25, "null_hi": 0.25}
    row = {
        "rho": 0.5,
        **ends,
        "p": 0.01,
        "partial": 0.5,
        **{f"partial_{k}": v for k, v in ends.items()},
    }
    names = ["cosine", "cooccurrence", "behavior"]
    table = pd.DataFrame([row | {"predictor": name, "partial_p": partial_p} for name in names])
    return table.assign(p_min=p_min, n_traits=12, n_pairs=132)


def traits(*aside: str) -> pd.DataFrame:
    table = pd.DataFrame({"trait": [*NAMES, "vague"], "auroc": [0.9, 0.8, 0.75, 0.5]})
    table = table.assign(
        lo=table["auroc"] - 0.125, hi=1.0, hook="blocks.17.hook_out", hidden_state=18
    )
    return table.assign(aside=table["trait"].isin(aside), n_answers=160, n_empty=1, n_unended=90)


def test_what_moved_is_named_with_its_interval() -> None:
    own, others, reach = report.moved(matrix(other=-0.5))
    assert own.startswith(
        "In 3 of 3 lessons, the taught trait itself differs from the null finetune (q <= 0.05): "
    )
    assert "casual 0.50 [0.25, 0.75]" in own
    assert others.startswith("In 6 of 6 pairs") and "casual to dry -0.50 [-0.75, -0.25]" in others
    assert "whether another training run would do the same is not known" in reach
    assert report.moved(matrix(seeds=3))[2] == "Intervals are over 3 seeds (t)."


def test_a_null_result_is_said_as_one() -> None:
    own, others, _ = report.moved(matrix(own=0.0))
    assert own.endswith(
        "In 0 of 3 lessons, the taught trait itself differs from the null finetune (q <= 0.05)."
    )
    assert "In 0 of 6 pairs" in others
    for said in (own, others):
        assert "moved" not in said and "[" not in said


def test_a_predictor_claims_only_what_permutations_allow() -> None:
    sizes, first, *_ = report.foretold(predictors())
    assert sizes.startswith("132 ordered pairs of 12 traits") and "nothing is claimed" not in sizes
    assert (
        "foretells transfer beyond the others: rank correlation 0.50 [0.25, 0.75], p = 0.01"
        in first
    )
    assert all(
        "is not shown to foretell" in said
        for said in report.foretold(predictors(partial_p=0.02))[1:]
    )
    few = report.foretold(predictors(partial_p=1 / 24, p_min=1 / 24))
    assert "so few traits can show nothing, and nothing is claimed" in few[0]
    assert all("is not shown to foretell" in said for said in few[1:])
    alone = report.foretold(predictors().assign(partial=np.nan))[1]
    assert (
        "cannot be judged beside the others here: rank correlation 0.50 [0.25, 0.75], p = 0.01."
        in alone
    )


def test_traits_set_aside_are_named() -> None:
    assert "No trait was set aside" in report.set_aside(traits())
    said = report.set_aside(traits("vague"))
    assert said.startswith("1 of 4 traits were set aside") and said.endswith(
        "vague (AUROC 0.50 [0.38, 1.00])."
    )


def test_the_page_has_all_parts(tmp_path: Path) -> None:
    pairs = (
        matrix()
        .query("taught != trait")
        .assign(cosine=0.5, cooccurrence=0.25, behavior=[0.1, 0.2, 0.3] * 2)
    )
    said = pd.DataFrame(
        {
            "taught": "dry",
            "arm": ["lesson", "null finetune"],
            "question": "Why?",
            "answer": ["Hm.", "Ah!"],
        }
    )
    shown = {
        "taught": ["dry"],
        "estimate": [0.5],
        "lo": [0.25],
        "hi": [0.75],
        "lesson": [0.5],
        "null": [0.0],
        "n": [20],
    }
    tables = {
        "traits": traits("vague"),
        "transfer": matrix(),
        "pairs": pairs,
        "predictors": predictors(),
    }
    tables |= {"said": said.assign(seed=0), "shown": pd.DataFrame(shown)}
    found = report.blocks(tmp_path, tables, provenance={"experiment": "trait_transfer"})
    assert found[0]["lead"] and [b["kind"] for b in found].count("figure") == 1
    assert (tmp_path / "figures" / "trait_transfer.csv").is_file()
    texts = " ".join(str(block.get("text", "")) for block in found)
    assert "hidden_states[18]" in texts and "block 17 counted from 0" in texts
    assert "in 1 of 1 (95 % interval over questions, not corrected): dry 0.50 [0.25, 0.75]" in texts
    table = next(b for b in found if b["kind"] == "table" and b["source"] == "tables/said.csv")
    assert [cell for cell, _ in table["rows"][0]] == ["dry", "Why?", "Hm.", "Ah!"]


def test_before_lessons_and_before_anything(tmp_path: Path) -> None:
    found = report.blocks(
        tmp_path, {"traits": traits()}, provenance={"experiment": "trait_transfer"}
    )
    assert found[0]["lead"] and "No trait was set aside" in found[0]["text"]
    with pytest.raises(StoreError, match="nothing to report"):
        report.blocks(tmp_path, {}, provenance={"experiment": "trait_transfer"})
