"""Planted effects come out with their sign, exchangeable finetunes without a claim."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import effects
from persona_interp.analysis.verdicts import needed_units
from persona_interp.errors import SchemaError
from persona_interp.schema.words import CLAIMS, Verdict

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


@pytest.mark.parametrize("n", [20, pytest.param(500, marks=pytest.mark.slow)])
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
        claims += verdicts.loc[~verdicts["primary"], "verdict"].isin(CLAIMS).any()
        primary += verdicts.loc[verdicts["primary"], "verdict"].isin(CLAIMS).any()
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
        claims += verdicts.query("role == 'tuned'")["verdict"].isin(CLAIMS).any()
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
    tuned = verdicts.query("role == 'tuned'")
    assert set(tuned["verdict"]) == {Verdict.IMPOSSIBLE} and not tuned["possible"].any()
    assert (tuned[["p", "p_min"]] == 1).all(axis=None)


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


def dictionary(
    n_features: int, n_controls: int, *, seed: int = 0, switched: float = 5.0
) -> pd.DataFrame:
    """Measurements at 24 prompts of a dictionary of which 95 % is silent.

    Feature "on" is 0 in the base and the controls and about `switched` in the finetune.
    """
    rng, n_firing = np.random.default_rng(seed), max(n_features // 20, 3)
    scale = rng.exponential(size=n_firing)
    base = scale * rng.exponential(size=(24, n_firing)) * (rng.random((24, n_firing)) < 0.3)
    names = [*(str(i) for i in range(n_firing)), "on", "off"]
    units = [f"q{i}" for i in range(24)]
    parts = []
    for label in ["base", "tuned", *(f"c{i + 1}" for i in range(n_controls))]:
        act = base
        if label != "base":
            drift = rng.normal(0, 0.1, n_firing) + rng.normal(0, 0.05, base.shape)
            act = np.maximum(base + scale * drift * (base > 0), 0)
        on = switched * rng.uniform(0.5, 1.5, 24) * (label == "tuned")
        table = pd.DataFrame(np.column_stack([act, on, 0 * on]), columns=names)
        table = table.assign(unit=units).melt("unit", var_name="quantity")
        parts.append(table.assign(checkpoint=label))
    return pd.concat(parts, ignore_index=True).assign(family="feature", hook="sae")


@pytest.mark.parametrize("n_controls", [3, 5])
@pytest.mark.parametrize(
    "n_features", [64, *(pytest.param(n, marks=pytest.mark.slow) for n in (4096, 16384))]
)
def test_a_feature_switched_on_from_silence_is_claimed(n_features: int, n_controls: int) -> None:
    options = {"base": "base", "tuned": ["tuned"]}
    controls = [f"c{i + 1}" for i in range(n_controls)]
    others = 0
    for seed in range(5):
        table = dictionary(n_features, n_controls, seed=seed)
        verdicts = effects(table, controls=controls, **options).query("role == 'tuned'")
        on = verdicts.set_index("quantity").loc["on"]
        assert on["verdict"] == Verdict.UP and on["n_silent"] == 1, seed
        assert "off" not in set(verdicts["quantity"])
        others += int(verdicts["verdict"].isin(CLAIMS).sum()) - 1
    assert others <= 1, "by chance a claim in one of twenty dictionaries"
    # one control at one prompt
    jitter = table["checkpoint"].eq("c1") & table["quantity"].eq("on") & table["unit"].eq("q3")
    table.loc[jitter, "value"] = 1e-6
    again = effects(table, controls=controls, **options).query("role == 'tuned'")
    assert again["verdict"].tolist() == verdicts["verdict"].tolist()


def test_a_feature_is_not_claimed_where_no_feature_varies_among_the_controls() -> None:
    table = dictionary(64, 3)
    alike = table["checkpoint"].isin(CONTROLS)
    of_base = table.loc[table["checkpoint"] == "base", "value"].to_numpy()
    table.loc[alike, "value"] = np.tile(of_base, 3)
    verdicts = effects(table, base="base", tuned=["tuned"], controls=CONTROLS)
    tuned = verdicts.query("role == 'tuned'").set_index("quantity")
    assert tuned.loc["on", "p"] == 1 and tuned.loc["on", "verdict"] == Verdict.IMPOSSIBLE
    # nor where all that varies is one control at one prompt
    table.loc[alike.idxmax(), "value"] += 1e-6
    verdicts = effects(table, base="base", tuned=["tuned"], controls=CONTROLS)
    assert not verdicts["verdict"].isin(CLAIMS).any()


@pytest.mark.parametrize("ratio", [2.0, 7.0])
def test_a_finetune_that_went_farther_moved_nothing_by_going_farther(ratio: float) -> None:
    rng, blind, seeing = np.random.default_rng(0), 0, 0
    distance = {"tuned": 0.1 * ratio**2} | dict.fromkeys(CONTROLS, 0.1)
    for _ in range(16):
        offsets = rng.normal(0, 0.3, (4, len(TRAITS)))
        offsets[0] *= ratio
        parts = [planted(rng, {}, by_seed=0)]
        for label, offset in zip(FOUR, offsets, strict=True):
            value = offset + 0.1 * rng.normal(size=(20, len(TRAITS)))
            parts.append(parts[0].assign(checkpoint=label, value=value.ravel()))
        table = pd.concat(parts, ignore_index=True)
        options = {"base": "base", "tuned": ["tuned"], "controls": CONTROLS, "n_flips": 100}
        seen = effects(table, distance=distance, **options).query("role == 'tuned'")["verdict"]
        blind += seen.isin(CLAIMS).any()
        seeing += seen.isin([Verdict.UP, Verdict.DOWN]).any()
    assert seeing <= 3 and (ratio < 7 or blind >= 8)


def test_a_change_that_distance_does_not_explain_is_claimed() -> None:
    table = planted(np.random.default_rng(0), FOUR | {"tuned": 20.0})
    options = {"base": "base", "tuned": ["tuned"], "controls": CONTROLS}
    for far, verdict in ((0.4, Verdict.UP), (1000.0, Verdict.FARTHER)):
        distance = {"tuned": far} | dict.fromkeys(CONTROLS, 0.1)
        one = effects(table, distance=distance, **options).set_index(["role", "quantity"])
        one = one.loc[("tuned", "wry")]
        assert one["verdict"] == verdict and one["distance_controls"] == pytest.approx(0.1)
        assert one["ratio"] == pytest.approx(np.sqrt(far / 0.1)) and one["p_specific"] >= one["p"]
    one = effects(table, **options)
    assert one[["distance", "ratio", "q_specific"]].isna().all(axis=None)
    nearer = {"tuned": 0.01} | dict.fromkeys(CONTROLS, 0.1)
    near = effects(table, distance=nearer, **options).query("role == 'tuned'")
    assert near["p_specific"].tolist() == near["p"].tolist()
    with pytest.raises(SchemaError, match="distance of checkpoint 'c3' is unknown"):
        effects(table, distance={"tuned": 1.0, "c1": 1.0, "c2": 1.0}, **options)


def test_what_could_not_have_been_shown_is_no_finding() -> None:
    table = planted(np.random.default_rng(0), {"tuned": 0.0})
    few = table.loc[table["unit"].isin(UNITS[:6])]
    verdicts = effects(few, base="base", tuned=["tuned"])
    assert set(verdicts["verdict"]) == {Verdict.IMPOSSIBLE}
    assert set(verdicts["p_min"]) == {2 / 2**6} and set(verdicts["n_needed"]) == {needed_units(4)}
    enough = effects(table, base="base", tuned=["tuned"])
    assert enough["possible"].all() and needed_units(4) == 8


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


@pytest.mark.parametrize(
    "controls",
    [["c1", "c2", "base"], ["c1", "c1", "c2"], ["c1", "c2", "tuned"]],
)
def test_a_control_that_is_no_third_one_is_refused(controls: list[str]) -> None:
    table = planted(np.random.default_rng(0), {"tuned": 2.0, "c1": 0.0, "c2": 0.0})
    with pytest.raises(SchemaError, match="is named 2 times"):
        effects(table, base="base", tuned=["tuned"], controls=controls)


@pytest.mark.parametrize("wrong", [np.nan, -1.0, np.inf])
def test_a_distance_that_is_none_is_refused_and_never_ignored(wrong: float) -> None:
    table = planted(np.random.default_rng(0), FOUR | {"tuned": 2.0})
    distance = dict.fromkeys(CONTROLS, 0.1) | {"tuned": wrong}
    with pytest.raises(SchemaError, match="that of 'tuned' is"):
        effects(table, base="base", tuned=["tuned"], controls=CONTROLS, distance=distance)


def test_tables_that_are_none_are_refused() -> None:
    table = planted(np.random.default_rng(0), FOUR)
    for wrong, message in (
        (pd.concat([table, table.iloc[:1]]), "one row a unit; there are several of"),
        (table.assign(value=table["value"].where(table.index != 5, np.inf)), "infinite"),
        (table.assign(unit=table["unit"].where(table.index != 5)), "need a unit in every row"),
        (table.assign(cluster=np.arange(len(table))), "one cluster a unit"),
        (table.query("quantity != 'wry' or checkpoint != 'c1'"), "c1 was not measured"),
    ):
        with pytest.raises(SchemaError, match=message):
            effects(wrong, base="base", tuned=["tuned"], controls=CONTROLS)


def test_units_of_one_cluster_are_one_unit() -> None:
    """Prompts of eight topics that differ, without a common change: a claim if taken for 32."""
    rng = np.random.default_rng(3)
    units = [f"q{i}" for i in range(32)]
    topics = dict(zip(units, np.repeat([*"abcdefgh"], 4), strict=True))
    claims = {"alone": 0, "together": 0}
    for _ in range(40):
        change = np.repeat(rng.normal(0, 1, 8), 4) + rng.normal(0, 0.3, 32)
        rows = {"unit": units, "quantity": "wry", "family": "behavior", "hook": ""}
        base = pd.DataFrame(rows).assign(checkpoint="base", value=0.0)
        tuned = pd.DataFrame(rows).assign(checkpoint="tuned", value=change)
        table = pd.concat([base, tuned], ignore_index=True)
        together = table.assign(cluster=table["unit"].map(topics))
        for name, data in (("alone", table), ("together", together)):
            row = effects(data, base="base", tuned=["tuned"]).iloc[0]
            claims[name] += row["verdict"] in CLAIMS
            assert row["possible"] and row["n"] == (32 if name == "alone" else 8)
    assert claims["together"] <= 5 and claims["alone"] >= 10
