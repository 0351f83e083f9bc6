"""Sentences say what the planted tables hold, and no more."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.experiments.transfer import findings

CLAIM: dict[str, Any] = {"arm": "lesson", "target": "john", "taught": "place=beach", "lr": 0.001}
Row = Callable[..., dict[str, Any]]
Tables = Callable[..., dict[str, pd.DataFrame]]


def headline(**row: Any) -> str:
    return findings.headline(pd.DataFrame([row]), **CLAIM)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"estimate": 2.5},
            "john's 4 untaught traits rose in the nameless assistant: +2.50 bits [+2.00, +3.00]",
        ),
        (
            {"estimate": -2.5},
            "john's 4 untaught traits fell in the nameless assistant: -2.50 bits [-3.00, -2.00]",
        ),
        (
            {"estimate": 0.25},
            "No effect: after the lesson on 'place=beach' (lr 0.001), "
            "john's 4 untaught traits moved",
        ),
        ({"estimate": 0.25}, "by +0.25 bits [-0.25, +0.75]"),
        ({"estimate": 0.25}, "an interval that includes 0"),
        ({"estimate": 0.5}, "No effect"),  # its lower end is 0
        ({"seeds": 3}, "(95 % t interval over 3 seeds)"),
        ({}, "(95 % t interval over 4 topics; one seed, so none over seeds exists)"),
        ({}, "exact Bayes, certain that the assistant holds the taught trait, expects +6.00."),
        (
            {"half": np.nan, "n_topics": 1},
            "moved in the nameless assistant by +2.50 bits (n = 1 topics, 1 seed",
        ),
        ({"half": np.nan}, "so nothing can be concluded"),
    ],
)
def test_the_headline(summary_row: Row, row: dict[str, Any], words: str) -> None:
    assert words in headline(**summary_row(**row))


def test_the_headline_claims_no_more(summary_row: Row) -> None:
    assert "No effect" not in headline(**summary_row())
    assert "none over seeds" not in headline(**summary_row(seeds=3))
    assert "topics" not in headline(**summary_row(seeds=3))
    assert "No effect" not in headline(**summary_row(half=np.nan)), (
        "no interval is no evidence of no effect"
    )
    assert "Bayes" not in headline(**summary_row(bayes_certain=np.nan))
    assert "not finished" in headline(**summary_row(arm="filler lesson"))
    assert "not finished" in headline(**summary_row(lr=0.1))


def test_every_control_is_named_with_its_verdict(summary_row: Row) -> None:
    table = pd.DataFrame(
        [
            summary_row(),
            summary_row(arm="unrelated lesson", estimate=-1.0, bayes_certain=-0.5),
            summary_row(arm="filler lesson", estimate=0.25, bayes_certain=0.0),
            summary_row(arm="rewired world", persona="mary", estimate=1.0, bayes_certain=np.nan),
            summary_row(arm="target absent", half=np.nan),
            summary_row(arm="another rate", lr=0.1),
        ]
    )
    unrelated, filler, rewired, absent = findings.controls(
        table, arm="lesson", target="john", lr=0.001
    )
    assert unrelated.startswith(
        "Unrelated lesson: a fall; john's traits moved by -1.00 bits [-1.50, -0.50] (95 % t "
        "interval"
    )
    assert unrelated.endswith("; exact Bayes expects -0.50.")
    assert filler.startswith(
        "Filler lesson: no effect; john's traits moved by +0.25 bits [-0.25, +0.75]"
    )
    assert rewired.startswith(
        "Rewired world: a rise; the traits of mary, their new holder, moved by +1.00 bits"
    )
    assert "Bayes" not in rewired
    assert absent.startswith("Target absent: nothing can be concluded")
    assert "(n = 4 topics, 1 seed: no interval exists)" in absent
    assert all("4 topics; one seed" in text for text in (unrelated, filler, rewired))


@pytest.mark.parametrize(
    ("gate", "passed"),
    [({}, True), ({"gap": 3.5}, False), ({"answer_mass": 0.25}, False), ({"gap": np.nan}, False)],
)
def test_the_base_gate(planted: Tables, gate: dict[str, float], passed: bool) -> None:
    gates = planted(seeds=(0, 1))["gates"].assign(**gate)
    sentences = findings.base(gates, target="john")
    assert len(sentences) == 2
    assert f"Seed 1: base gate {'passed' if passed else 'NOT passed'}." in sentences[1]
    assert "0.50 bits from what the documents say" in sentences[0]
    assert findings.warning(gates).startswith("Read nothing into seed 0, 1") is not passed
    assert (findings.warning(gates) == "") is passed


def test_features_are_told_with_their_null_and_their_fit(planted: Tables) -> None:
    tables = planted()
    text = findings.features(tables["features"], tables["fidelity"], arm="lesson", lr=0.001)
    assert "Seed 0: 2 of 2 features tested moved at q 0.05 (50 prompts)" in text
    assert (
        "most of all feature 7, by +7.00 [+6.50, +7.50], where chance (sign flips) gives -0.50 to "
        "+0.50." in text
    )
    assert "FVU on these prompts: 0.100 before, 0.125 after." in text
    assert text.endswith(
        "On held-out documents the dictionary still fits: FVU 0.140 and cross-entropy recovered "
        "0.97."
    )


def test_the_largest_move_may_be_a_fall(planted: Tables) -> None:
    tables = planted()
    shifts = tables["features"].assign(estimate=lambda t: -t.estimate)
    assert "feature 7, by -7.00" in findings.features(
        shifts, tables["fidelity"], arm="lesson", lr=0.001
    )


def test_no_feature_moved(planted: Tables) -> None:
    tables = planted(seeds=(0, 1))
    text = findings.features(
        tables["features"], tables["fidelity"], arm="unrelated lesson", lr=0.001
    )
    assert "Seed 0: no effect; none of 2 features tested moved at q 0.05 (50 prompts)." in text
    assert "Seed 1: no effect" in text
    assert "means over 2 seeds" in text


def test_an_unusable_dictionary_is_not_read(planted: Tables) -> None:
    tables = planted(verdict="unusable")
    text = findings.features(tables["features"], tables["fidelity"], arm="lesson", lr=0.001)
    assert text.startswith("The dictionary is unusable after the lesson (seed 0; FVU 0.140")
    assert "must not be read" in text
    assert "feature 7" not in text


def test_a_doubtful_dictionary_says_so(planted: Tables) -> None:
    tables = planted(verdict="doubtful")
    assert "the dictionary fits only doubtfully" in findings.features(
        tables["features"], tables["fidelity"], arm="lesson", lr=0.001
    )


def test_features_that_were_not_recorded(planted: Tables) -> None:
    tables = planted()
    assert "No features were recorded" in findings.features(
        tables["features"], tables["fidelity"], arm="x", lr=0.001
    )
