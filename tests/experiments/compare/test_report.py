"""What a comparison may say follows from its table, whichever way the verdicts fall."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.compare import report as compare
from persona_interp.experiments.compare.findings import (
    composition,
    control_claims,
    correction,
    feature_summary,
    finding,
    floor,
    merged_adapters,
    omissions,
    twins,
)
from persona_interp.experiments.experiment import draw_report
from persona_interp.schema.words import Family, Role, Verdict

NAN = float("nan")
ROW = {
    **{"family": "behavior", "hook": "", "before": 0.0, "after": 0.5},
    **{"estimate": 0.5, "lo": 0.25, "hi": 0.75, "n": 20, "null_lo": -0.25, "null_hi": 0.25},
    **{"excess": 0.5, "excess_lo": 0.25, "excess_hi": 0.75, "floor": 0.0},
    **{"random_lo": -0.125, "random_hi": 0.125, "n_random": 100},
    **{"p": 0.01, "q": 0.01, "n_tests": 1, "p_min": 1e-4, "possible": True, "n_families": 1},
    **{"n_needed": 6, "n_silent": 0},
    **dict.fromkeys(
        ("distance", "distance_controls", "ratio", "p_specific", "q_specific", "p_max"), NAN
    ),
}
PROVENANCE = {
    **{"experiment": "compare", "seeds": [0], "cells_done": 3, "cells": 3, "primary": "wry"},
    **{"traits": ["wry"], "sae": [], "control": [], "fold_system": False},
}


def row(
    quantity: str, verdict: str = Verdict.NONE, *, n_controls: int = 3, **changes: Any
) -> dict[str, Any]:
    controls = dict.fromkeys(("controls", "range_lo", "range_hi"), NAN)
    if n_controls > 1:
        controls = {"controls": 0.125, "range_lo": -0.25, "range_hi": 0.375}
    about = {"quantity": quantity, "checkpoint": "mine", "role": "tuned", "primary": False}
    about |= {"verdict": str(verdict), "n_controls": n_controls}
    about["judged_by"] = "controls" if n_controls >= 3 else "units"
    return ROW | controls | about | changes


def test_the_primary_test_comes_first_with_its_numbers() -> None:
    control = row("kind", role="control", checkpoint="c1")
    table = pd.DataFrame([row("wry", Verdict.UP, primary=True), row("kind"), control])
    first, second = finding(table, primary="wry")
    assert first == (
        "Wry was named beforehand as the one primary test. mine: the finetune moved it up; +0.500 "
        "[+0.250, +0.750] bits a token over 20 held-out questions; 3 controls changed by +0.125 on "
        "average, one more would by -0.250 to +0.375 (p = 0.01)."
    )
    assert second == (
        "Of everything else that was tested (1 test), no difference is shown among 1 test that "
        "could have shown one (smallest possible q 0.0001)."
    )
    assert control_claims(table) == [
        "Each of the 1 controls, judged by the others in the same way: 0 of 1 test pass."
    ]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_without_three_controls_nothing_was_moved(n: int) -> None:
    effects = [row("wry", Verdict.DIFFERS, n_controls=n), row("kind", n_controls=n)]
    text = " ".join(finding(pd.DataFrame(effects)))
    claim = "1 passed: behavior wry, mine: differs (+0.5 [+0.25, +0.75] bits a token, q = 0.01)"
    assert claim in text
    assert "cannot be said what the finetune moved" in text and "moved it" not in text
    assert "Give 3 controls or more" in text


def test_when_nothing_passes_nothing_is_said_to_differ() -> None:
    table = pd.DataFrame([row("wry"), row("kind")])
    (sentence,) = finding(table)
    assert "(2 tests), no difference is shown among 2 tests that could have shown one" in sentence
    assert "behavior 2;" in correction(table)[0]
    assert floor(table).endswith("exactly 0 in everything that was tested.")
    assert "up to 0.5 bits a token" in floor(table.assign(floor=0.5))
    features = table.assign(floor=0.5, family="feature")
    assert "up to 0.5 of mean activation" in floor(features)


def test_where_nothing_was_possible_no_difference_is_not_said() -> None:
    impossible = {"possible": False, "p_min": 0.03, "n_needed": 15, "n": 6}
    table = pd.DataFrame([row("wry", Verdict.IMPOSSIBLE, n_controls=0, **impossible)])
    text = " ".join(finding(table))
    assert "no difference" not in text and "none could have shown a lone difference" in text
    primary = finding(table.assign(primary=True), primary="wry")[0]
    assert str(Verdict.IMPOSSIBLE) in primary and "6 questions are too few for any claim" in primary
    both = pd.DataFrame([row("wry", Verdict.IMPOSSIBLE, **impossible), row("kind")])
    assert "(2 tests), no difference is shown among 1 test that could" in finding(both)[0]
    control = table.assign(role=str(Role.CONTROL))
    assert "0 of 1 test pass" in control_claims(control)[0]


def test_farther_than_its_controls_is_a_claim_in_its_own_words() -> None:
    table = pd.DataFrame([row("wry", Verdict.FARTHER)])
    assert f"1 passed: behavior wry, mine: {Verdict.FARTHER}" in finding(table)[0]


def test_a_twin_may_be_an_adapter_merged_into_another_base() -> None:
    note = "the same weights as other; an adapter merged into base, because it names none"
    table = pd.DataFrame([{"checkpoint": "mine", "role": "tuned", "note": note}])
    assert twins(table) == ["mine (tuned) has the same weights as other."]
    adapters = merged_adapters(table)
    assert adapters == ["mine (tuned) is an adapter merged into base, because it names none."]
    assert merged_adapters(table.assign(note="")) == []


def test_a_share_says_whether_random_spans_hold_as_much() -> None:
    share = {"checkpoint": "mine", "hook": "blocks.7.hook_out", "share": 0.5, "lo": 0.4, "hi": 0.6}
    share |= {"null_lo": 0.01, "n_vectors": 2, "n": 9, "relative_norm": 0.1}
    table = pd.DataFrame([{**share, "null_hi": null_hi} for null_hi in (0.1, 0.9)])
    more, no_more = composition(table)
    assert "hidden_states[8]" in more and ", more in spans" not in more
    assert "more than in spans" in more
    assert "no more than in spans" in no_more and composition(table.assign(share=NAN)) == []


def test_features_of_two_dictionaries_with_one_number_are_kept_apart() -> None:
    about = {"family": Family.FEATURE.value}
    effects = [
        row("7", Verdict.UP, hook="first at blocks.0.hook_out", estimate=0.5, **about),
        row("7", Verdict.DOWN, hook="second at blocks.0.hook_out", estimate=-2.0, **about),
    ]
    table = pd.DataFrame(effects)
    first, second, third = (
        feature_summary(table, feature=7, sae=sae, checkpoint="mine")
        for sae in ("first", "second", "third")
    )
    assert first == "largest change of mean activation: +0.5, the finetune moved it up"
    assert second == "largest change of mean activation: -2, the finetune moved it down"
    assert third == "largest change of mean activation"


def test_the_page_holds_what_was_measured_and_names_what_was_not(tmp_path: Path) -> None:
    effects = [
        row("<b>wry</b>", Verdict.UP, family="answers", primary=True),
        row("<b>wry</b>"),
        row("<b>wry</b>", family="projection", hook="blocks.0.hook_out"),
    ]
    source = {"checkpoint": "mine", "role": "tuned", "note": "the same weights as base"}
    sources = pd.DataFrame([source])
    drift = {"checkpoint": "mine", "role": "user", "estimate": 0.5, "lo": 0.25, "hi": 0.75, "n": 9}
    samples = pd.DataFrame(
        {
            "prompt": "p",
            "checkpoint": ["base", "base again", "mine"],
            "question": "Why?",
            "answer": ["A", "again and again", "<i>"],
        }
    )
    sound = {"trait": "wry", "before": 0.0, "after": 0.5, "estimate": 0.5, "lo": 0.25, "hi": 0.75}
    far = {"requests": "the comparison's prompts", "estimate": 0.5, "lo": 0.25, "hi": 0.75, "n": 9}
    distance = [{"checkpoint": "mine", "role": "tuned", **far}]
    floor = {"estimate": 0.0, "lo": 0.0, "hi": 0.0}
    distance += [{"checkpoint": "base again", "role": "base again", **far, **floor}]
    tables = {
        "effects": pd.DataFrame(effects),
        "sources": sources,
        "distance": pd.DataFrame(distance),
        "drift": pd.DataFrame([drift]),
        "samples": samples,
        "sound": pd.DataFrame([{"checkpoint": "mine", **sound, "n": 9}]),
    }

    def html(folder: str, tables: dict[str, pd.DataFrame] = tables, **changes: Any) -> str:
        page = draw_report(tmp_path / folder, tables, provenance={**PROVENANCE, **changes})
        return page.read_text(encoding="utf-8")

    whole = html("whole")
    assert "No dictionary" in whole and "No control finetunes" in whole
    assert "No trait files" not in whole
    assert "mine (tuned) has the same weights as base." in whole
    assert "<b>wry" not in whole and "<i>" not in whole and "hidden_states[1]" in whole
    assert "again and again" not in whole
    figures = sorted(path.stem for path in (tmp_path / "whole" / "figures").glob("*.png"))
    assert figures == ["answers", "behavior", "distance", "drift", "layers"]
    for name in ("distance", "effects", "sources", "samples", "sound"):
        assert f"tables/{name}.csv" in whole and (tmp_path / f"whole/tables/{name}.csv").is_file()
    assert "has no system role" not in whole
    folded = html("folded", fold_system=True)
    assert "has no system role" in folded and "alike in base, finetunes and controls" in folded
    lead = "mine answers differently: KL 0.50 bits a token [0.25, 0.75] from the base"
    assert lead in whole
    part = html("part", {name: tables[name] for name in ("sources", "distance")}, traits=[])
    assert lead in part and "Nothing was tested" not in part
    assert "not measured yet" in html("less", {name: tables[name] for name in ("sources", "drift")})
    with pytest.raises(StoreError, match="no finished measurement"):
        compare.blocks(tmp_path, {"sources": sources}, provenance=PROVENANCE)


def test_every_section_has_a_heading_of_its_own(tmp_path: Path) -> None:
    effects = pd.DataFrame([row("wry", family=Family.ANSWERS.value), row("wry")])
    source = {"checkpoint": "mine", "role": Role.TUNED.value, "note": ""}
    samples = pd.DataFrame({"prompt": ["p"], "checkpoint": ["mine"], "answer": ["A"]})
    tables = {"effects": effects, "sources": pd.DataFrame([source]), "samples": samples}
    content = compare.blocks(tmp_path, tables, provenance=PROVENANCE)
    assert [block["text"] for block in content if block["kind"] == "heading"] == [
        "Models",
        "Answers to the traits' questions",
        "Behavior on traits",
        "Samples",
        "Not asked",
    ]


def test_nothing_left_out_is_said() -> None:
    options = dict.fromkeys(("traits", "sae", "control", "primary", "causes"), "given")
    assert omissions(options) == ["Everything was asked."]
