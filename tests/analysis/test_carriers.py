"""Shares, nulls and verdicts of candidates, from tables whose truth is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis, schema
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Carries, Group, Way
from persona_interp.worlds import World
from tests.analysis.test_causes import AT, ODDS
from tests.analysis.test_causes import planted as planted_behavior

QUESTIONS = 8
SITE = "blocks.0.hook_out"
LESSONS = ("one", "two", "three")


def planted(
    effects: dict[str, float], *, lessons: tuple[str, ...] = LESSONS, total: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases and scores: each edit of a tuned model takes this share of the whole effect."""
    rng, cases, scores = np.random.default_rng(0), [], []
    questions = rng.normal(0, 0.3, QUESTIONS)
    for i, of in enumerate(lessons):
        ends = {("base", "none"): 0.0, (of, "none"): total}
        for edit, share in effects.items():
            group, _, _ = edit.partition(":")
            ends[of, edit] = total * (1 - share * (1 + 0.02 * i))
            cases.append((of, edit, edit, group, f"{Way.REMOVED} 1"))
        for (checkpoint, edit), mean in ends.items():
            values = mean + questions + rng.normal(0, 0.01, QUESTIONS)
            rows = {"question": list("abcdefgh"), "logodds": values, "of": of}
            scores.append(pd.DataFrame({"checkpoint": checkpoint, "edit": edit, **rows}))
    table = pd.DataFrame(cases, columns=["of", "edit", "candidate", "group", "null"])
    table = table.assign(kind="direction", size=1, sites=SITE, how=str(Way.REMOVED), strength=1.0)
    return table, pd.concat(scores, ignore_index=True)


def null(spread: float, n: int = 6) -> dict[str, float]:
    """Random edits of both kinds, around 0."""
    values = np.linspace(-spread, spread, n)
    return {
        f"{kind}: {i}": v for kind in (Group.NORM, Group.VARIANCE) for i, v in enumerate(values)
    }


def verdict_of(effects: dict[str, float], **options: Any) -> pd.Series:
    """Row of the candidate among these."""
    cases, scores = planted(effects, **options)
    table = analysis.carriers(cases, scores, base="base")
    return table.loc[table["group"] == Group.CANDIDATE].iloc[0]


OWN, PATCH = f"{Group.CANDIDATE}: own", f"{Group.PATCH}: all"


def test_what_takes_most_of_the_effect_carries_it() -> None:
    row = verdict_of({OWN: 0.9, PATCH: 0.95} | null(0.05))
    assert row["verdict"] == Carries.CARRIES and row["n_tuned"] == 3 and row["n"] == QUESTIONS
    assert row["share_of_patch"] == pytest.approx(0.9 / 0.95, abs=0.02)
    assert row["tuned_lo"] < row["share_of_patch"] < row["tuned_hi"]
    assert row["null_lo"] < 0 < row["null_hi"] and row["q"] < 0.05
    assert row["effect"] == pytest.approx(0.918, abs=0.02) and row["lo"] < 0.918 < row["hi"]


def test_fewer_finetunes_have_no_interval_and_the_word_says_so() -> None:
    row = verdict_of({OWN: 0.9, PATCH: 0.95} | null(0.05), lessons=("one", "two"))
    assert row["verdict"] == Carries.HERE
    assert np.isnan(row["tuned_lo"]) and np.isnan(row["tuned_hi"])


def test_what_random_edits_take_too_is_not_told_from_chance() -> None:
    row = verdict_of({OWN: 0.3, PATCH: 0.95} | null(0.5))
    assert row["verdict"] == Carries.NONE and row["p"] > 0.05
    without = verdict_of({OWN: 0.9, PATCH: 0.95})
    assert without["verdict"] == Carries.NONE and np.isnan(without["p"])


def test_what_adds_when_it_is_removed_works_against_it() -> None:
    assert verdict_of({OWN: -0.9, PATCH: 0.95} | null(0.05))["verdict"] == Carries.AGAINST


def test_no_effect_is_shared_out() -> None:
    row = verdict_of({OWN: 0.9, PATCH: 0.95} | null(0.05), total=0.001)
    assert row["verdict"] == Carries.UNDEFINED and np.isnan(row["share"]) and "below" in row["note"]
    assert np.isfinite(row["effect"])


def test_the_harder_kind_of_chance_decides() -> None:
    wide = {name: v * (10 if Group.VARIANCE in name else 1) for name, v in null(0.05).items()}
    row = verdict_of({OWN: 0.6, PATCH: 0.95} | wide)
    assert row["null_hi"] > 0.6 and row["verdict"] == Carries.NONE


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.2, 0.8), Carries.CARRIES),
        ((0.2, 1.8), Carries.UNSURE),  # the mean is below the limit of 1.0, and does not decide
        ((1.2, 1.8), Carries.BROKEN),
    ],
)
def test_coherence_is_told_by_an_interval(ends: tuple[float, float], verdict: Carries) -> None:
    cases, scores = planted({OWN: 0.9, PATCH: 0.95} | null(0.05))
    numbers = {"excess": sum(ends) / 2, "excess_lo": ends[0], "excess_hi": ends[1]}
    spoken = cases.assign(nats=1.5, limit=1.0, **numbers)
    table = analysis.carriers(spoken, scores, base="base")
    own = table.loc[table["group"] == Group.CANDIDATE].iloc[0]
    assert own["verdict"] == verdict and own["excess_hi"] == pytest.approx(ends[1])


def test_several_finetunes_are_corrected_together() -> None:
    alone = []
    for of in ("one", "two"):
        effects = {OWN: 0.9, PATCH: 0.95} | null(0.05 if of == "one" else 0.5)
        table = analysis.carriers(*planted(effects, lessons=(of,)), base="base")
        alone.append(table.assign(of=of))
    together = analysis.in_one_family(pd.concat(alone, ignore_index=True))
    claims = together.loc[together["group"] == Group.CANDIDATE]
    assert set(claims["family"]) == {"behavior: 2 tests, 2 finetunes"}
    assert {table["family"].iloc[0] for table in alone} == {"behavior: 1 test"}
    least = claims["p"].min()
    assert claims["q"].min() == pytest.approx(2 * least) and claims["q"].max() >= claims["p"].max()
    pd.testing.assert_frame_equal(analysis.in_one_family(together), together)


def test_what_was_found_alone_is_not_found_among_many() -> None:
    cases, scores = planted({OWN: 0.22, PATCH: 0.95} | null(0.1), lessons=("one",))
    table = analysis.carriers(cases, scores, base="base").assign(of="one")
    own = table["group"] == Group.CANDIDATE
    assert table.loc[own, "verdict"].item() == Carries.HERE
    others = [table.loc[own].assign(of=f"other {i}", p=0.9) for i in range(20)]
    together = analysis.in_one_family(pd.concat([table, *others], ignore_index=True))
    assert together.loc[together["of"] == "one"].loc[own, "verdict"].item() == Carries.NONE


def test_what_breaks_both_models_alike_takes_nothing_net() -> None:
    rows = {("b", "none"): 0.0, ("b", "x"): -3.0, ("t", "none"): 2.0, ("t", "x"): -1.0}
    scores = [
        pd.DataFrame({"checkpoint": at, "edit": edit, "question": list("abcd")}).assign(
            logodds=[value + wobble for wobble in (-0.1, 0, 0, 0.1)]
        )
        for (at, edit), value in rows.items()
    ]
    table = analysis.net_effects(pd.concat(scores, ignore_index=True), base="b", tuned="t")
    assert table["effect"].item() == pytest.approx(0) and table["share"].item() == pytest.approx(0)


def test_a_lost_edit_is_named() -> None:
    cases, scores = planted({OWN: 0.9, PATCH: 0.95})
    with pytest.raises(SchemaError, match="measured edit"):
        analysis.carriers(cases, scores.loc[scores["edit"] != OWN], base="base")


def test_in_a_world_the_shares_are_those_of_removed_share(world: World) -> None:
    behavior = planted_behavior(world, ODDS, sd=0.5)
    expected = analysis.removed_share(behavior, **AT, world=world, patch="b").set_index("edit")
    cases = pd.DataFrame({"edit": ["a", "b"], "group": [Group.CANDIDATE, Group.PATCH]})
    cases = cases.assign(of="lesson@40", candidate=cases["edit"], kind="direction", size=1, null="")
    cases = cases.assign(sites=SITE, how=str(Way.REMOVED), strength=1.0)
    measured = behavior.assign(of="lesson@40")
    table = analysis.carriers(cases, measured, base="base@0", world=world).set_index("candidate")
    columns = ["share_of_patch", "share_of_patch_lo", "share_of_patch_hi"]
    numbers = table.loc["a", ["share", "share_lo", "share_hi", *columns]].astype(float)
    np.testing.assert_allclose(
        numbers.to_numpy(), expected.loc["a", ["share", "lo", "hi", *columns]].astype(float)
    )
    assert list(table.reset_index().columns.difference(schema.TABLES["carriers"])) == []


def test_features_are_ranked_by_the_size_of_their_effect() -> None:
    rows = {"of": ["a", "a", "b"], "dictionary": "sae", "feature": [3, 5, 3], "before": 0.0}
    table = pd.DataFrame({**rows, "after": 1.0, "effect": [0.2, -0.9, 0.4], "share": 0.5})
    ranking = analysis.causal_ranking(table, n_tuned=3)
    assert ranking["feature"].tolist() == [5, 3] and ranking["rank"].tolist() == [1, 2]
    # in the third finetune neither was among those most moved
    np.testing.assert_allclose(ranking["effect"], [-0.3, 0.2])
    assert ranking["lo"].notna().all() and (ranking["n_tuned"] == 3).all()
