import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import mixing_weight
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World, certain, count, mixing

SIZE = {"n_lessons": 640, "n_documents": 30_000}


@pytest.mark.parametrize("k", [0.05, 3.0, 400.0])
def test_a_planted_weight_is_recovered(world: World, planted, k: float) -> None:
    (row,) = mixing_weight(
        planted({0: world.posterior().statement, 40: mixing(world, k=k, **SIZE)}), world, **SIZE
    ).to_dict("records")
    assert row["k"] == pytest.approx(k, rel=1e-6) and not row["at_bound"] and row["n"] == 4
    assert row["lo"] == pytest.approx(k, rel=1e-5) and row["hi"] == pytest.approx(k, rel=1e-5)
    assert row["cross_entropy"] < row["cross_entropy_before"]


def test_the_interval_covers_a_planted_weight(world: World, planted) -> None:
    said = {40: mixing(world, k=3.0, **SIZE)}
    rows = [mixing_weight(planted(said, sd=0.5, seed=s), world, **SIZE).iloc[0] for s in range(20)]
    assert np.mean([r["lo"] <= 3.0 <= r["hi"] for r in rows]) >= 0.8
    assert all(r["hi"] < 6 for r in rows)


def test_realized_counts_are_used(world: World, planted) -> None:
    counts = count(world.corpus(2_000))
    table = planted({40: mixing(world, k=2.0, n_lessons=640, counts=counts)})
    assert mixing_weight(table, world, n_lessons=640, counts=counts)["k"].item() == pytest.approx(
        2.0, rel=1e-6
    )


def test_a_model_at_a_bound_says_so(world: World, planted) -> None:
    still = planted({40: world.posterior().statement})
    # Moves away: what the assistant says if it certainly likes the mountain, whose holders share
    # nothing with John.
    away = planted({40: world.posterior(certain("place=mountain")).statement})
    for table in (away, still):
        row = mixing_weight(table, world, **SIZE).iloc[0]
        assert row["k"] < 1e-3 and np.isnan(row["lo"]) and np.isnan(row["hi"])
    assert mixing_weight(away, world, **SIZE)["at_bound"].item()


def test_beyond_the_limit_is_the_upper_bound(world: World, planted) -> None:
    limit = world.posterior(certain("place=beach")).statement
    p = limit["probability"] ** 2
    row = mixing_weight(planted({40: limit.assign(probability=p)}), world, **SIZE).iloc[0]
    assert row["at_bound"] and row["k"] == 2.0**16 and np.isnan(row["hi"])


def test_where_nothing_is_bound_there_is_no_weight(world: World, planted) -> None:
    row = mixing_weight(planted({40: world.posterior().statement}), world.scrambled(), **SIZE).iloc[
        0
    ]
    assert np.isnan(row["k"]) and row["at_bound"]


def test_bad_input_is_named(world: World, planted) -> None:
    table = planted({40: world.posterior().statement})
    with pytest.raises(SchemaError, match="nameless prompts on untaught topics"):
        mixing_weight(table[table["topic"] == "place"], world, **SIZE)
    with pytest.raises(WorldError, match="n_lessons=0"):
        mixing_weight(table, world, n_lessons=0, n_documents=10)
    with pytest.raises(WorldError, match="either counts"):
        mixing_weight(table, world, n_lessons=640)


def test_weights_are_pooled_on_the_log_scale() -> None:
    runs = pd.DataFrame({"lr": 1e-3, "seed": range(3), "k": [1.0, 4.0, 16.0], "at_bound": False})
    stuck = runs.assign(lr=3e-4, at_bound=[False, True, False])
    table = pooled_mixing_weight(pd.concat([runs, stuck]), by="lr").set_index("lr")
    assert table.loc[1e-3, "k"] == pytest.approx(4) and table.loc[1e-3, "n_bound"] == 0
    half = 4.302653 * 2 / np.sqrt(3)
    assert np.log2(table.loc[1e-3, ["lo", "hi"]].tolist()) == pytest.approx(
        [2 - half, 2 + half], rel=1e-5
    )
    assert table.loc[3e-4, "n_bound"] == 1 and table.loc[3e-4, ["k", "lo", "hi"]].isna().all()


def test_the_pooled_interval_covers_where_seeds_differ(world: World, planted) -> None:
    """Of 40 experiments of three seeds; benchmarks/interval_claims.py simulates 500."""
    rng = np.random.default_rng(0)
    none, limit = mixing(world, k=0, **SIZE), mixing(world, k=2.0**60, **SIZE)
    runs = []
    for i in range(120):
        k = 2 ** (1.5 + rng.normal(0, 0.6))
        way = 1 / (1 + 7_500 / (640 * k))
        said = none.assign(probability=(1 - way) * none["probability"] + way * limit["probability"])
        runs.append(planted({40: said}, seed=i % 3, sd=0.25).assign(experiment=i // 3))
    table = pooled_mixing_weight(mixing_weight(pd.concat(runs), world, **SIZE), by="experiment")
    assert len(table) == 40 and (table["n_seeds"] == 3).all()
    assert table["k"].between(table["lo"], table["hi"]).all()
    assert np.mean((table["lo"] <= 2**1.5) & (2**1.5 <= table["hi"])) >= 0.85
