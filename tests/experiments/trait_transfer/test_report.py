"""Sentences about planted tables, null results said as such, and a page of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.trait_transfer import report
from persona_interp.schema.words import Verdict

NAMES = ("casual", "dry", "wry")
MODEL = "SomeModel"
PROVENANCE = {"experiment": "trait_transfer", "start": MODEL}


def matrix(*, own: float = 0.5, other: float = 0.0, seeds: int = 1) -> pd.DataFrame:
    rows = [(a, b, own if a == b else other) for a in NAMES for b in NAMES]
    table = pd.DataFrame(rows, columns=["taught", "trait", "estimate"])
    estimate = table["estimate"]
    table = table.assign(lo=estimate - 0.25, hi=estimate + 0.25, base=0.0, lesson=0.0, null=0.0)
    q = np.where(estimate.abs() > 0.25, 0.001, 0.5)
    claim = Verdict.UP if seeds > 2 else Verdict.DIFFERS
    verdict = np.where(q < 0.05, claim.value, Verdict.NONE.value)
    return table.assign(p=q, q=q, n=20, n_seeds=seeds, n_null=3, verdict=verdict)


def predictors(partial_p: float = 0.001, p_min: float = 0.0002) -> pd.DataFrame:
    ends = {"lo": 0.25, "hi": 0.75, "null_lo": -0.25, "null_hi": 0.25}
    row = {"rho": 0.5, **ends, "p": 0.01, "partial": 0.5}
    row |= {f"partial_{end}": value for end, value in ends.items()}
    names = ["cosine", "cooccurrence", "behavior"]
    table = pd.DataFrame([row | {"predictor": name, "partial_p": partial_p} for name in names])
    return table.assign(p_min=p_min, n_traits=12, n_pairs=132)


def traits(*aside: str) -> pd.DataFrame:
    table = pd.DataFrame({"trait": [*NAMES, "vague"], "auroc": [0.9, 0.8, 0.75, 0.5]})
    table = table.assign(lo=table["auroc"] - 0.125, hi=1.0, aside=table["trait"].isin(aside))
    table = table.assign(hook="blocks.17.hook_out", hidden_state=18)
    return table.assign(n_answers=160, n_empty=1, n_unended=90)


def test_what_moved_is_named_with_its_interval() -> None:
    own, others, reach = report.transfer_sentences(matrix(other=-0.5, seeds=3), model=MODEL)
    assert own.startswith(
        "In 3 of 3 lessons on SomeModel the taught trait itself was moved beyond where null "
        "finetunes move it (q <= 0.05): casual 0.50 [0.25, 0.75]"
    )
    assert others.startswith("In 6 of 6 pairs") and "casual to dry -0.50 [-0.75, -0.25]" in others
    assert "SomeModel" in others
    assert "all 3 null finetunes together" in reach and "over 3 seeds (t)" in reach


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_described_and_claim_nothing(seeds: int) -> None:
    own, others, reach = report.transfer_sentences(matrix(other=-0.5, seeds=seeds), model=MODEL)
    for sentence in (own, others):
        assert "differs beyond" in sentence and "was moved" not in sentence
    assert "claims nothing" in reach and "it takes 3 seeds" in reach


def test_a_null_result_is_said_as_one() -> None:
    own, others, _ = report.transfer_sentences(matrix(own=0.0), model=MODEL)
    assert own.startswith("In 0 of 3 lessons") and own.endswith("(q <= 0.05).")
    assert "In 0 of 6 pairs" in others
    for sentence in (own, others):
        assert "moved" not in sentence and "[" not in sentence


def test_a_predictor_claims_only_what_permutations_allow() -> None:
    sizes, first, *_ = report.predictor_sentences(predictors(), model=MODEL)
    assert (
        sizes.startswith("132 ordered pairs of 12 traits on SomeModel")
        and "nothing is claimed" not in sizes
    )
    assert (
        "foretells transfer beyond the others: rank correlation 0.50 [0.25, 0.75], p = 0.01"
        in first
    )
    unsure = report.predictor_sentences(predictors(partial_p=0.02), model=MODEL)
    assert all("is not shown to foretell" in sentence for sentence in unsure[1:])
    few = report.predictor_sentences(predictors(partial_p=1 / 24, p_min=1 / 24), model=MODEL)
    assert "so few traits can show nothing, and nothing is claimed" in few[0]
    assert all("is not shown to foretell" in sentence for sentence in few[1:])
    alone = report.predictor_sentences(predictors().assign(partial=np.nan), model=MODEL)[1]
    assert (
        "cannot be judged beside the others here: rank correlation 0.50 [0.25, 0.75], p = 0.01."
        in alone
    )


def test_traits_set_aside_are_named() -> None:
    assert "No trait was set aside" in report.set_aside_sentence(traits())
    sentence = report.set_aside_sentence(traits("vague"))
    assert sentence.startswith("1 of 4 traits were set aside")
    assert sentence.endswith("vague (AUROC 0.50 [0.38, 1.00]).")


def test_the_page_has_all_parts(tmp_path: Path) -> None:
    pairs = matrix().query("taught != trait")
    pairs = pairs.assign(cosine=0.5, cooccurrence=0.25, behavior=[0.1, 0.2, 0.3] * 2)
    answers = pd.DataFrame({"arm": ["lesson", "null finetune"], "answer": ["Hm.", "Ah!"]})
    shown = {"taught": "dry", "estimate": 0.5, "lo": 0.25, "hi": 0.75, "lesson": 0.5, "null": 0.0}
    fit = {"trait": "dry", "auroc": 0.75, "lo": 0.5, "hi": 1.0, "pos": 0.5, "neg": 0.0}
    tables = {
        "traits": traits("vague"),
        "judge": pd.DataFrame([{**fit, "n_pos": 8, "n_neg": 8}]),
        "transfer": matrix(),
        "pairs": pairs,
        "predictors": predictors(),
        "answers": answers.assign(taught="dry", question="Why?", seed=0),
        "shown": pd.DataFrame([{**shown, "n": 20}]),
    }
    content = report.blocks(tmp_path, tables, provenance=PROVENANCE)
    assert content[0]["lead"] and [block["kind"] for block in content].count("figure") == 1
    assert (tmp_path / "figures" / "trait_transfer.csv").is_file()
    text = " ".join(str(block.get("text", "")) for block in content)
    assert "hidden_states[18]" in text and "block 17 counted from 0" in text
    assert "in 1 of 1 (95 % interval over questions, not corrected): dry 0.50 [0.25, 0.75]" in text
    assert "SomeModel scores its own answers" in text
    assert "for 0 of 1 traits" in text and "dry 0.75 [0.50, 1.00]" in text
    by_source = {block["source"]: block for block in content if block["kind"] == "table"}
    cells = by_source["tables/answers.csv"]["rows"][0]
    assert [cell for cell, _ in cells] == ["dry", "Why?", "Hm.", "Ah!"]


def test_before_lessons_and_before_anything(tmp_path: Path) -> None:
    first, *_ = report.blocks(tmp_path, {"traits": traits()}, provenance=PROVENANCE)
    assert first["lead"] and "No trait was set aside" in first["text"]
    with pytest.raises(StoreError, match="nothing to report"):
        report.blocks(tmp_path, {}, provenance=PROVENANCE)
