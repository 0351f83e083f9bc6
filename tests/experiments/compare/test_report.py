"""What a comparison may say follows from its table, whichever way the verdicts fall."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.compare import report as compare
from persona_interp.experiments.compare.findings import (
    corrected,
    finding,
    floors,
    made_of,
    merged,
    not_asked,
    sanity,
    twins,
)
from persona_interp.experiments.experiment import draw_report

NAN = float("nan")
UP, NONE, DIFFERS = "the finetune moved it up", "no difference shown", "differs"
ROW = {
    "family": "behavior",
    "hook": "",
    "before": 0.0,
    "after": 0.5,
    "estimate": 0.5,
    "lo": 0.25,
    "hi": 0.75,
    "n": 20,
}
ROW |= {
    "null_lo": -0.25,
    "null_hi": 0.25,
    "excess": 0.5,
    "excess_lo": 0.25,
    "excess_hi": 0.75,
    "floor": 0.0,
}
ROW |= {
    "random_lo": -0.125,
    "random_hi": 0.125,
    "n_random": 100,
    "p": 0.01,
    "q": 0.01,
    "n_tests": 1,
}
PROVENANCE = {"experiment": "compare", "seeds": [0], "cells_done": 3, "cells": 3, "primary": "wry"}
PROVENANCE |= {"traits": ["wry"], "sae": [], "control": []}


def row(
    quantity: str, verdict: str = NONE, *, n_controls: int = 3, **changes: Any
) -> dict[str, Any]:
    beside = {"controls": 0.125, "range_lo": -0.25, "range_hi": 0.375} if n_controls > 1 else {}
    beside = dict.fromkeys(("controls", "range_lo", "range_hi"), NAN) | beside
    said = {
        "quantity": quantity,
        "checkpoint": "mine",
        "role": "tuned",
        "primary": False,
        "verdict": verdict,
    }
    by = "controls" if n_controls >= 3 else "units"
    return ROW | beside | said | {"n_controls": n_controls, "judged_by": by} | changes


def test_the_primary_test_comes_first_with_its_numbers() -> None:
    table = pd.DataFrame(
        [row("wry", UP, primary=True), row("kind"), row("kind", role="control", checkpoint="c1")]
    )
    first, second = finding(table, primary="wry")
    assert first == (
        "Wry was named beforehand as the one primary test. mine: the finetune moved it up; +0.500 "
        "[+0.250, +0.750] "
        "bits a token over 20 held-out questions; 3 controls changed by +0.125 on average, one "
        "more would by -0.250 "
        "to +0.375 (p = 0.01)."
    )
    assert second == "Of everything else that was tested (1 test), no difference is shown."
    assert sanity(table) == [
        "Each of the 1 controls, judged by the others in the same way: 0 of 1 test pass."
    ]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_without_three_controls_nothing_was_moved(n: int) -> None:
    said = " ".join(
        finding(pd.DataFrame([row("wry", DIFFERS, n_controls=n), row("kind", n_controls=n)]))
    )
    assert (
        "1 passed: behavior wry, mine: differs (+0.5 [+0.25, +0.75] bits a token, q = 0.01)" in said
    )
    assert "cannot be said what the finetune moved" in said and "moved it" not in said


def test_when_nothing_passes_nothing_is_said_to_differ() -> None:
    table = pd.DataFrame([row("wry"), row("kind")])
    assert finding(table) == ["Of everything that was tested (2 tests), no difference is shown."]
    assert "behavior 2;" in corrected(table)[0] and floors(table).endswith(
        "exactly 0 in everything that was tested."
    )
    assert "up to 0.5 bits a token" in floors(table.assign(floor=0.5))


def test_a_twin_may_be_an_adapter_merged_into_another_base() -> None:
    note = "the same weights as other; an adapter merged into base, because it names none"
    table = pd.DataFrame([{"checkpoint": "mine", "role": "tuned", "note": note}])
    assert twins(table) == ["mine (tuned) has the same weights as other."]
    assert merged(table) == ["mine (tuned) is an adapter merged into base, because it names none."]
    assert merged(table.assign(note="")) == []


def test_a_share_says_whether_random_spans_hold_as_much() -> None:
    share = {
        "checkpoint": "mine",
        "hook": "blocks.7.hook_out",
        "share": 0.5,
        "lo": 0.4,
        "hi": 0.6,
        "null_lo": 0.01,
    }
    table = pd.DataFrame(
        [
            {**share, "null_hi": hi, "n_vectors": 2, "n": 9, "relative_norm": 0.1}
            for hi in (0.1, 0.9)
        ]
    )
    more, no_more = made_of(table)
    assert (
        "hidden_states[8]" in more
        and ", more in spans" not in more
        and "more than in spans" in more
    )
    assert "no more than in spans" in no_more and made_of(table.assign(share=NAN)) == []


def test_the_page_holds_what_was_measured_and_names_what_was_not(tmp_path: Path) -> None:
    effects = [
        row("<b>wry</b>", UP, primary=True),
        row("<b>wry</b>", family="projection", hook="blocks.0.hook_out"),
    ]
    sources = pd.DataFrame(
        [{"checkpoint": "mine", "role": "tuned", "note": "the same weights as base"}]
    )
    kl = pd.DataFrame(
        [{"checkpoint": "mine", "role": "user", "estimate": 0.5, "lo": 0.25, "hi": 0.75, "n": 9}]
    )
    samples = pd.DataFrame(
        {"prompt": "p", "checkpoint": ["base", "mine"], "question": "Why?", "answer": ["A", "<i>"]}
    )
    tables = {"effects": pd.DataFrame(effects), "sources": sources, "kl": kl, "samples": samples}
    html = draw_report(tmp_path, tables, provenance=PROVENANCE).read_text(encoding="utf-8")
    assert (
        "No dictionary" in html and "No control finetunes" in html and "No trait files" not in html
    )
    assert "mine (tuned) has the same weights as base." in html
    assert "<b>wry" not in html and "<i>" not in html and "hidden_states[1]" in html
    assert sorted(p.stem for p in (tmp_path / "figures").glob("*.png")) == [
        "behavior",
        "kl",
        "layers",
    ]
    assert "has no system role" not in html
    folded = draw_report(
        tmp_path / "b", tables, provenance={**PROVENANCE, "folded": True}
    ).read_text(encoding="utf-8")
    assert "has no system role" in folded and "alike in base, finetunes and controls" in folded
    only = {name: tables[name] for name in ("sources", "kl")}
    assert "Nothing was tested" in draw_report(
        tmp_path / "a", only, provenance=PROVENANCE
    ).read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="no finished measurement"):
        compare.blocks(tmp_path, {"sources": sources}, provenance=PROVENANCE)


def test_nothing_left_out_is_said() -> None:
    assert not_asked(dict.fromkeys(("traits", "sae", "control", "primary"), "given")) == [
        "Everything was asked."
    ]
