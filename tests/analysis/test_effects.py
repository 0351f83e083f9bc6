"""Planted effects come out with their sign, exchangeable finetunes without a claim."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import effects
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Verdict

CONTROLS = ["c1", "c2", "c3"]
TRAITS = ["wry", "kind", "terse", "bold"]
UNITS = [f"q{i}" for i in range(20)]


def planted(
    rng: np.random.Generator,
    moves: Mapping[str, float],
    *,
    by_seed: float = 0.1,
    family: str = "behavior",
) -> pd.DataFrame:
    """Every finetune shifts every trait by the lesson and chance; `moves` adds to the first."""
    lesson = rng.normal(0, 0.3, len(TRAITS))
    parts = []
    for label, move in {"base": 0.0, **moves}.items():
        value = np.zeros((len(UNITS), len(TRAITS)))
        if label != "base":
            luck_of_seed = rng.normal(0, by_seed, len(TRAITS))
            value = value + lesson + luck_of_seed + rng.normal(0, 0.1, value.shape)
            value[:, 0] += move
        names = {"quantity": np.tile(TRAITS, len(UNITS)), "unit": np.repeat(UNITS, len(TRAITS))}
        parts.append(pd.DataFrame({"checkpoint": label, **names, "value": value.ravel()}))
    return pd.concat(parts, ignore_index=True).assign(family=family, hook="")


FOUR = {"tuned": 0.0, "c1": 0.0, "c2": 0.0, "c3": 0.0}


@pytest.mark.parametrize(("sign", "verdict"), [(1.0, Verdict.UP), (-1.0, Verdict.DOWN)])
def test_a_planted_effect_is_found_with_its_sign(sign: float, verdict: str) -> None:
    table = planted(np.random.default_rng(0), FOUR | {"tuned": 2.0 * sign})
    verdicts = effects(
        table, base="base", tuned=["tuned"], controls=CONTROLS, primary=[("tuned", "wry")]
    )
    one = verdicts.loc[verdicts["primary"]].iloc[0]
    assert one["verdict"] == verdict and one["n_tests"] == 1 and one["q"] == one["p"] <= 0.05
    assert np.sign(one["excess"]) == sign and one["excess"] == pytest.approx(
        one["estimate"] - one["controls"]
    )
    assert not one["range_lo"] <= one["estimate"] <= one["range_hi"]
    controls = verdicts.loc[verdicts["role"] == "control"]
    assert set(controls["n_controls"]) == {2} and set(controls["judged_by"]) == {"controls"}


@pytest.mark.parametrize("n", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_exchangeable_finetunes_give_no_claim_more_often_than_they_may(n: int) -> None:
    claims, primary = 0, 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        table = pd.concat(
            [planted(rng, FOUR), planted(rng, FOUR, family="projection")], ignore_index=True
        )
        verdicts = effects(
            table,
            base="base",
            tuned=["tuned"],
            controls=CONTROLS,
            primary=[("tuned", "wry")],
            n_flips=100,
        )
        verdicts = verdicts.loc[verdicts["role"] == "tuned"]
        claims += (verdicts.loc[~verdicts["primary"], "verdict"] != Verdict.NONE).any()
        primary += (verdicts.loc[verdicts["primary"], "verdict"] != Verdict.NONE).any()
    slack = 2 * np.sqrt(0.05 * 0.95 / n)
    assert claims / n <= 0.05 + slack and primary / n <= 0.05 + slack


@pytest.mark.parametrize("n", [15, pytest.param(100, marks=pytest.mark.slow)])
def test_exchangeable_features_give_no_claim_though_most_hardly_fire(n: int) -> None:
    claims = 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        rate = rng.beta(0.3, 5, 300)
        parts = []
        for label in ["base", *FOUR]:
            act = rng.exponential(size=(20, 300)) * (rng.random((20, 300)) < rate)
            names = {
                "quantity": np.tile(np.arange(300).astype(str), 20),
                "unit": np.repeat(UNITS, 300),
            }
            parts.append(pd.DataFrame({"checkpoint": label, **names, "value": act.ravel()}))
        table = pd.concat(parts).assign(family="feature", hook="sae")
        verdicts = effects(table, base="base", tuned=["tuned"], controls=CONTROLS, n_flips=100)
        claims += (verdicts.query("role == 'tuned'")["verdict"] != Verdict.NONE).any()
    assert claims / n <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n)


def test_who_stayed_where_the_base_is_moved_nothing() -> None:
    rng = np.random.default_rng(0)
    table = planted(rng, {"tuned": 0.0} | dict.fromkeys(CONTROLS, -3.0))
    stayed = (table["checkpoint"] == "tuned") & (table["quantity"] == "wry")
    table.loc[stayed, "value"] = 0.1 * rng.normal(size=stayed.sum())
    verdicts = effects(table, base="base", tuned=["tuned"], controls=CONTROLS)
    wry = verdicts.query("role == 'tuned'").set_index("quantity").loc["wry"]
    assert wry["excess_lo"] > 1 and wry["estimate"] > wry["range_hi"]
    assert wry["verdict"] == Verdict.NONE


def test_controls_that_do_not_vary_cannot_judge() -> None:
    table = planted(np.random.default_rng(0), {"tuned": 2.0, "c1": 0.0})
    same = [
        table.loc[table["checkpoint"] == "c1"].assign(checkpoint=label) for label in ("c2", "c3")
    ]
    verdicts = effects(pd.concat([table, *same]), base="base", tuned=["tuned"], controls=CONTROLS)
    assert set(verdicts.query("role == 'tuned'")["verdict"]) == {Verdict.NONE}
    assert (verdicts["p"] == 1).any()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_with_fewer_than_three_controls_nothing_moved_it(n: int) -> None:
    labels = CONTROLS[:n]
    table = planted(np.random.default_rng(0), {"tuned": 2.0} | dict.fromkeys(labels, 0.0))
    verdicts = effects(table, base="base", tuned=["tuned"], controls=labels)
    tuned = verdicts.query("role == 'tuned'").set_index("quantity")
    assert tuned.loc["wry", "verdict"] == Verdict.DIFFERS
    assert set(verdicts["verdict"]) <= {Verdict.DIFFERS, Verdict.NONE}
    assert set(tuned["judged_by"]) == {"units"} and tuned["range_lo"].isna().all() == (n < 2)


def test_a_base_does_not_differ_from_itself() -> None:
    table = planted(np.random.default_rng(0), {"c1": 0.0, "c2": 0.0, "c3": 0.0})
    base = table.loc[table["checkpoint"] == "base"]
    table = pd.concat([table, base.assign(checkpoint="tuned"), base.assign(checkpoint="again")])
    options = {"base": "base", "again": "again", "tuned": ["tuned"]}
    alone = effects(table, **options)
    assert (alone["estimate"] == 0).all() and (alone["p"] == 1).all()
    assert (alone["floor"] == 0).all() and set(alone["verdict"]) == {Verdict.NONE}
    beside = effects(table, controls=CONTROLS, **options)
    assert (beside.query("role == 'tuned'")["estimate"] == 0).all()


def test_what_differs_by_no_more_than_the_floor_is_not_claimed() -> None:
    table = planted(np.random.default_rng(0), {"tuned": 2.0})
    base = table.loc[table["checkpoint"] == "base"]
    table = pd.concat([table, base.assign(checkpoint="again", value=base["value"] + 9.0)])
    verdicts = effects(table, base="base", tuned=["tuned"], again="again")
    assert (verdicts["floor"] == 9).all() and set(verdicts["verdict"]) == {Verdict.NONE}


def test_each_trait_may_have_questions_of_its_own() -> None:
    table = planted(np.random.default_rng(0), {"tuned": 2.0})
    table["unit"] = table["quantity"] + table["unit"]
    table = table.loc[~((table["quantity"] == "kind") & table["unit"].isin(["kindq0", "kindq1"]))]
    verdicts = effects(table, base="base", tuned=["tuned"]).set_index("quantity")
    assert verdicts.loc["wry", "n"] == 20 and verdicts.loc["kind", "n"] == 18
    assert verdicts["n_tests"].eq(4).all()


def test_bad_input_is_refused_by_name() -> None:
    table = planted(np.random.default_rng(0), {"tuned": 0.0, "c1": 0.0})
    with pytest.raises(SchemaError, match="did you mean 'tuned'"):
        effects(table, base="base", tuned=["tunde"])
    with pytest.raises(SchemaError, match="primary quantity 'wri' is unknown; did you mean 'wry'"):
        effects(table, base="base", tuned=["tuned"], primary=[("tuned", "wri")])
    short = table.loc[~((table["checkpoint"] == "c1") & (table["unit"] == "q3"))]
    with pytest.raises(SchemaError, match="c1 was not measured at the same units"):
        effects(short, base="base", tuned=["tuned"], controls=["c1"])
