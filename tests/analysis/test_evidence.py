import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import bits_per_unit, evidence_curve, lasting_effect, logodds
from persona_interp.analysis.evidence import pooled_lasting_effect
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World

AMOUNTS = {"documents": 8.0, "statements": 8.0, "fact_tokens": 32.0}


def mixed(world: World, weight: float) -> pd.DataFrame:
    """Probabilities of a mixture: the target has this weight, and Mary the rest."""
    mixture = (
        weight * world.statements().loc["john"] + (1 - weight) * world.statements().loc["mary"]
    )
    return pd.DataFrame({"trait": mixture.index, "probability": mixture.to_numpy()})


def curve(
    bits: list[float], *, steps: tuple[int, ...] = (0, 1, 4, 16), **extra: object
) -> pd.DataFrame:
    """An evidence table with these beliefs."""
    table = pd.DataFrame(
        {"step": steps, "persona_bits": bits, "effect": np.subtract(bits, bits[0])}
    )
    amounts = {name: table["step"] * amount for name, amount in AMOUNTS.items()}
    labels = [f"lesson@{s}" for s in steps]
    return table.assign(
        checkpoint=labels, weight=0.5, misfit=0.0, p_taught=0.9, **amounts, **{"seed": 0, **extra}
    )


def test_planted_weights_give_their_odds(world: World, planted) -> None:
    steps = {0: mixed(world, 1 / 17), 4: mixed(world, 0.5), 16: mixed(world, 16 / 17)}
    table = evidence_curve(planted(steps), world, per_step=AMOUNTS)
    assert table["persona_bits"].tolist() == pytest.approx([-4, 0, 4], abs=0.02)
    assert table["documents"].tolist() == [0, 32, 128] and table["fact_tokens"].tolist() == [
        0,
        128,
        512,
    ]
    assert table["misfit"].max() < 1e-5


def test_the_effect_is_the_mean_change_of_untaught_traits(world: World, planted) -> None:
    behavior = planted({0: mixed(world, 0.1), 4: mixed(world, 0.7)}, sd=0.5)
    table = evidence_curve(behavior, world, per_step=AMOUNTS)
    own = [str(t) for t in world.persona("john").traits if t.topic != "place"]
    odds = (
        logodds(behavior)
        .assign(trait=lambda x: x["topic"] + "=" + x["value"])
        .set_index(["step", "trait"])
    )
    moved = odds["logodds"].loc[4][own].mean() - odds["logodds"].loc[0][own].mean()
    assert table["effect"].tolist() == pytest.approx([0, moved])
    assert table["p_taught"].tolist() == pytest.approx(
        odds["probability"].unstack()["place=beach"].tolist()
    )


def test_runs_are_kept_apart_and_in_order(world: World, planted) -> None:
    fast = planted({4: mixed(world, 0.9), 0: mixed(world, 0.2)}, lr=1e-3, seed=1)
    slow = planted({0: mixed(world, 0.2), 4: mixed(world, 0.4)}, lr=1e-4, seed=1)
    table = evidence_curve(pd.concat([fast, slow]), world, per_step=AMOUNTS)
    assert table[["lr", "step"]].values.tolist() == [[1e-3, 0], [1e-3, 4], [1e-4, 0], [1e-4, 4]]
    assert table.loc[table["step"] == 0, "effect"].tolist() == [0, 0]


def test_bits_are_shared_out_over_what_was_seen() -> None:
    bits = bits_per_unit(curve([-4, -3.5, 0, 2])).set_index("unit")["estimate"]
    expected = {
        "step": 1.0,
        "document": 1 / 8,
        "statement": 1 / 8,
        "fact token": 1 / 32,
        "first step": 0.5,
    }
    assert bits.to_dict() == pytest.approx(expected)
    assert bits_per_unit(curve([-4, -3.5, 0, 2]), until=16)["estimate"].iloc[0] == pytest.approx(
        6 / 16
    )


def test_every_run_has_its_own_rate() -> None:
    both = pd.concat([curve([-4, -3, 0, 2], lr=1e-3), curve([-4, -4, -4, -4], lr=1e-4)])
    rates = bits_per_unit(both).pivot(index="lr", columns="unit", values="estimate")
    assert rates["step"].tolist() == [0, 1]


def test_what_lasts_is_the_end_over_the_peak() -> None:
    (row,) = lasting_effect(curve([-4, -1, 0, -2])).to_dict("records")
    assert (row["peak"], row["peak_step"], row["last"], row["kept"]) == (4, 4, 2, 0.5)
    assert row["p_taught"] == 0.9


def test_where_nothing_rose_nothing_is_kept() -> None:
    assert np.isnan(lasting_effect(curve([-4, -5, -5, -6]))["kept"].item())


def test_bad_input_is_named(world: World, planted) -> None:
    behavior = planted({0: mixed(world, 0.5)})
    with pytest.raises(SchemaError, match="fact_tokens is missing"):
        evidence_curve(behavior, world, per_step={"documents": 1, "statements": 1})
    with pytest.raises(WorldError, match="trait"):
        evidence_curve(behavior, world, per_step=AMOUNTS, taught="place=moon")
    with pytest.raises(SchemaError, match="step '4'"):
        bits_per_unit(curve([-4, -3, 0, 2], steps=(0, 1, 2, 8)))
    with pytest.raises(SchemaError, match="two rows of one run"):
        lasting_effect(pd.concat([curve([-4, -3, 0, 2])] * 2))
    with pytest.raises(SchemaError, match="only the state before"):
        lasting_effect(curve([-4], steps=(0,)))


def test_what_is_kept_is_a_ratio_of_means() -> None:
    peak, last = np.array([0.2, 2.0, 2.4]), np.array([0.19, 0.8, 1.0])
    lasting = pd.DataFrame({"seed": [0, 1, 2], "peak": peak, "last": last, "lr": 1e-3})
    lasting = lasting.assign(peak_step=8, p_taught=1.0)
    (row,) = pooled_lasting_effect(lasting, by="lr").to_dict("records")
    assert row["estimate"] == pytest.approx(last.mean() / peak.mean())
    assert row["estimate"] < 0.5 < np.mean(last / peak), (
        "the smallest peak rules the mean of ratios"
    )
    assert (row["peak"], row["last"]) == pytest.approx((peak.mean(), last.mean()))
    assert row["lost"] == pytest.approx(np.mean(peak - last)) and row["lost_lo"] < row["lost"]
    twice = pd.concat([lasting, lasting.assign(order=1)])
    again = pooled_lasting_effect(twice, by="lr")
    assert again["n_seeds"].item() == 3 and again["lo"].item() == pytest.approx(row["lo"])
    flat = lasting.assign(peak=[0.5, 0.1, -0.5])
    assert np.isinf(pooled_lasting_effect(flat, by="lr")["hi"].item()), "nothing rose for sure"
    one = pooled_lasting_effect(lasting.iloc[:1], by="lr")
    assert np.isnan(one["lo"].item()) and one["estimate"].item() == pytest.approx(0.95)
