"""Sentences say what the planted tables hold, and no more."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.experiments.transfer import findings
from persona_interp.schema.words import Fit, Place, Verdict

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
            "No effect shown: after the lesson on 'place=beach' (lr 0.001), "
            "john's 4 untaught traits moved",
        ),
        ({"estimate": 0.25}, "by +0.25 bits [-0.25, +0.75]"),
        ({"estimate": 0.25}, "an interval that includes 0"),
        ({"estimate": 0.5}, "No effect"),  # its lower end is 0
        ({"seeds": 3}, "(95 % t interval over 3 seeds)"),
        ({}, "(95 % t interval over 4 topics; one seed, so none over seeds exists)"),
        ({}, "exact Bayes, certain that the assistant holds the taught trait, expects +6.00."),
        ({}, "One seed: described, not claimed."),
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
        "Filler lesson: no effect shown; john's traits moved by +0.25 bits [-0.25, +0.75]"
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


def said_of_features(tables: dict[str, pd.DataFrame]) -> list[str]:
    rest = {"shifts": tables["feature_shift"], "fidelity": tables["fidelity"], "target": "john"}
    return findings.features(tables["features"], tables["roles"], **rest)


def test_features_stand_beside_every_control_lesson(planted: Tables) -> None:
    fit, seed, standing = said_of_features(planted())
    assert fit == (
        "After every lesson the dictionary fits: FVU at most 0.140 on held-out documents "
        "(cross-entropy recovered 0.97 at least) and 0.020 on the prompts read (0.97 recovered), "
        "where it is 0.100 before."
    )
    assert seed == (
        "Seed 0: feature 7, which knows john best, moves by +7.00 [+6.50, +7.50] mean activation "
        "(interval over 50 prompts) after the lesson, and after 3 control lessons by -1.00 (second "
        "unrelated lesson) to +1.00 (unrelated lesson); minus their mean +7.00 [+6.50, +7.50], "
        "rank 1 of 3 features. The same of 2 other personas' best features: mean +1.50, most +3.00 "
        "(mary). 1 of 3 features moved more than one more control would (q 0.05)."
    )
    assert standing == (
        "One seed: described, not claimed. The rise over control lessons of the feature that knows "
        "john best is above 0, the mean of other personas' best features, the most of other "
        "personas' best features."
    )


def test_a_feature_is_claimed_over_seeds_only(planted: Tables) -> None:
    *_, standing = said_of_features(planted(seeds=(0, 1, 2)))
    assert standing.startswith("Over 3 seeds, the rise over control lessons")
    assert "+7.25 [+6.63, +7.87] above 0 (told apart: more)" in standing
    assert "above the most of other personas' best features (told apart: more)" in standing


def test_another_persona_whose_feature_rises_more_is_said(planted: Tables) -> None:
    tables = planted()
    adverse = tables["roles"].replace({"excess": {3.0: 9.0}})
    *_, seed, standing = said_of_features({**tables, "roles": adverse})
    assert "most +9.00 (mary)" in seed
    assert "it is not above the most of other personas' best features" in standing


def test_one_control_is_too_few_and_none_says_nothing(planted: Tables) -> None:
    tables = planted()
    one = tables["roles"].assign(n_controls=1)
    assert (
        "1 of the 3 control lessons that it takes" in said_of_features({**tables, "roles": one})[1]
    )
    none = tables["roles"].assign(n_controls=0, excess=np.nan)
    _, seed = said_of_features({**tables, "roles": none})
    assert "no control lesson was read, so nothing can be said of the lesson" in seed


@pytest.mark.parametrize("where", list(Place))
def test_the_worse_of_both_gates_decides(planted: Tables, where: Place) -> None:
    tables = planted()
    gate, here = tables["fidelity"], tables["fidelity"]["where"] == where
    for verdict, text in (Fit.UNUSABLE, "must not be read"), (Fit.DOUBTFUL, "only doubtfully"):
        worse = gate.assign(verdict=gate["verdict"].mask(here, str(verdict)))
        assert text in said_of_features({**tables, "fidelity": worse})[0]


def test_controls_that_went_less_far_are_said(planted: Tables) -> None:
    tables = planted()
    farther = tables["features"].replace({"verdict": {str(Verdict.UP): str(Verdict.FARTHER)}})
    seed = said_of_features({**tables, "features": farther.assign(ratio=2.5)})[1]
    assert seed.endswith(
        "0 of 3 features moved more than one more control would (q 0.05); 1 more did, but the "
        "lesson went 2.5 times as far as its controls."
    )


def test_a_dictionary_that_fits_nowhere_is_not_read(planted: Tables) -> None:
    (text,) = said_of_features(planted(verdict="unusable"))
    assert text.startswith(
        "The dictionary is unusable after a lesson (lesson, seed 0, whole texts, unrelated"
    )
    assert "must not be read" in text and "feature 7" not in text
    tables = planted()
    control = tables["feature_shift"]["arm"] == "unrelated lesson"
    shifts = tables["feature_shift"].assign(fvu_after=np.where(control, 0.75, 0.1))
    (text,) = said_of_features({**tables, "feature_shift": shifts})
    assert "FVU up to 0.75, more than 0.5" in text
    assert "fits only doubtfully" in said_of_features(planted(verdict="doubtful"))[0]


def test_features_that_were_not_recorded(planted: Tables) -> None:
    tables = planted()
    empty = {**tables, "features": tables["features"].head(0)}
    assert said_of_features(empty) == ["No features were recorded for this lesson."]


def test_how_far_each_lesson_went(planted: Tables) -> None:
    text = findings.distances(planted()["distances"], arm="lesson")
    assert "lesson 2.50; unrelated lesson 0.50; scrambled world 0.12." in text
    assert findings.distances(planted()["distances"], arm="x") == ""


def test_rare_values_stand_beside_the_targets() -> None:
    row = {"arm": "lesson", "own": 2.0, "others": 1.5, "estimate": 0.5, "lo": -1.0, "hi": 2.0}
    table = pd.DataFrame([{**row, "n": 4, "seed": 0}])
    text = findings.rarity(table, target="john")
    assert "lesson +2.00 against +1.50, difference +0.50 [-1.00, +2.00] (over 4 topics)" in text
    both = pd.concat([table, table.assign(seed=1, estimate=0.7)])
    assert "difference +0.60 [-0.67, +1.87] (over 2 seeds)" in findings.rarity(both, target="john")
