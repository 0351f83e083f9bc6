import sys
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp.analysis import agreement
from persona_interp.analysis.agreement import agreement_with_truth, best_estimator
from persona_interp.errors import SchemaError


def measure(estimators: dict[str, np.ndarray], seed: int = 0) -> pd.DataFrame:
    rows = [
        (seed, e, f"p{i}", float(x))
        for e, values in estimators.items()
        for i, x in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["seed", "estimator", "persona", "estimate"]).assign(
        lo=0.0, hi=0.0, n=1
    )


def test_rho_is_spearmans_over_all_worlds() -> None:
    rng = np.random.default_rng(0)
    worlds = [
        {"truth": rng.standard_normal(12), "other": rng.standard_normal(12)} for _ in range(3)
    ]
    table = pd.concat([measure(world, seed) for seed, world in enumerate(worlds)])
    row = agreement(table).iloc[0]
    x, y = (np.concatenate([world[e] for world in worlds]) for e in ("truth", "other"))
    assert row.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    within = np.mean(
        [stats.spearmanr(world["truth"], world["other"]).statistic for world in worlds]
    )
    assert row.within == pytest.approx(within) and row.n == 36 and row.n_seeds == 3
    assert row.null_lo < 0 < row.null_hi


def test_any_monotone_change_of_units_is_the_same() -> None:
    x = np.random.default_rng(1).standard_normal(16)
    table = agreement(measure({"truth": x, "exp": np.exp(x), "minus": -x}))
    rho = table.set_index(["one", "other"]).rho
    assert rho["truth", "exp"] == pytest.approx(1) and rho["truth", "minus"] == pytest.approx(-1)
    assert table.p.to_numpy() == pytest.approx(1 / 1001)


def test_the_null_is_right_and_the_interval_covers() -> None:
    rng, rejected, covered = np.random.default_rng(2), 0, 0
    for i in range(60):
        x = rng.standard_normal(16)
        far = agreement(
            measure({"a": x, "b": rng.standard_normal(16)}),
            n_permutations=99,
            n_bootstrap=2,
            seed=i,
        )
        rejected += bool(far.p.iloc[0] <= 0.05)
        near = measure({"a": x, "b": x + rng.standard_normal(16)})
        row = agreement(near, n_permutations=2, n_bootstrap=80, seed=i).iloc[0]
        covered += bool(
            row.lo <= 0.69 <= row.hi
        )  # Spearman's rho of normals that correlate at 0.707
    assert rejected <= 8 and covered >= 50


def distances(at: np.ndarray, estimator: str, *, both: bool = False) -> pd.DataFrame:
    pairs = permutations(range(len(at)), 2) if both else combinations(range(len(at)), 2)
    rows = [(0, estimator, f"p{i}", f"p{j}", float(abs(at[i] - at[j]))) for i, j in pairs]
    table = pd.DataFrame(rows, columns=["seed", "estimator", "name", "other", "estimate"])
    return table.assign(lo=0.0, hi=0.0, n=1)


def test_pairs_are_permuted_by_persona() -> None:
    at = np.random.default_rng(4).standard_normal(10)
    table = pd.concat([distances(at, "truth"), distances(at, "same", both=True)])
    row = agreement(table).iloc[0]
    assert row.rho == pytest.approx(1.0) and row.p == pytest.approx(1 / 1001) and row.n == 45
    independent = stats.norm.ppf(0.975) / np.sqrt(45 - 1)
    other = np.random.default_rng(5).standard_normal(10)
    null = agreement(pd.concat([distances(at, "truth"), distances(other, "other")])).iloc[0]
    assert null.null_hi > 1.1 * independent, (
        "45 pairs of 10 personas are fewer than 45 independent ones"
    )


def test_ranks_over_worlds_are_those_of_every_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((2, 3, 9))
    worlds = [measure({"a": x[w] + 2 * w, "b": y[w] + 2 * w}, seed=w) for w in range(3)]
    row = agreement(pd.concat(worlds), n_permutations=2000, n_bootstrap=2).iloc[0]
    null = []
    for _ in range(500):
        permuted = np.concatenate([rng.permutation(x[w]) + 2 * w for w in range(3)])
        other = np.concatenate([y[w] + 2 * w for w in range(3)])
        null.append(stats.spearmanr(permuted, other).statistic)
    assert np.mean(null) > 0.3, "worlds differ, so personas permuted within them still agree"
    assert row.null_lo == pytest.approx(np.quantile(null, 0.025), abs=0.05)
    assert row.null_hi == pytest.approx(np.quantile(null, 0.975), abs=0.05)
    # The function hides the module of its name.
    monkeypatch.setattr(sys.modules["persona_interp.analysis.agreement"], "CACHED", 900)
    blocks = agreement(pd.concat(worlds), n_permutations=2000, n_bootstrap=2).iloc[0]
    assert blocks.p == pytest.approx(row.p, abs=0.03)


def test_estimators_of_fewer_personas_are_compared_where_both_are_there() -> None:
    at = np.random.default_rng(6).standard_normal(8)
    row = agreement(pd.concat([distances(at, "truth"), distances(at[:5], "some")])).iloc[0]
    assert row.n == 10 and row.rho == pytest.approx(1.0)


def test_infinite_estimates_are_ranked_and_constant_ones_are_not() -> None:
    x = np.array([1.0, 2, 3, np.inf])
    table = agreement(measure({"a": x, "b": np.arange(4.0), "c": np.ones(4)}))
    rho = table.set_index(["one", "other"]).rho
    assert rho["a", "b"] == pytest.approx(1) and np.isnan(rho["a", "c"])


def test_against_sorts_and_judges() -> None:
    x = np.arange(10.0)
    noisy = x + np.array([0, 5, 0, -5, 0, 5, 0, -5, 0, 0])
    table = agreement_with_truth(
        agreement(measure({"wild": -x, "truth": x, "good": x**3, "noisy": noisy})), "truth"
    )
    assert list(table.estimator) == ["good", "noisy", "wild"]
    assert list(table.works) == [True, bool(table.rho[1] >= 0.7), False]
    with pytest.raises(SchemaError, match="estimator 'thruth' is unknown; did you mean 'truth'"):
        agreement_with_truth(agreement(measure({"truth": x, "good": x})), "thruth")


def test_the_predictor_is_chosen_elsewhere() -> None:
    rng = np.random.default_rng(7)
    rows = []
    for seed in range(3):
        share = rng.standard_normal(8)
        trap = (
            share if seed == 0 else rng.permutation(share)
        )  # best in the world that must not choose it
        rows.append(
            pd.DataFrame({"seed": seed, "share": share, "near": -share + 0.1, "trap": trap})
        )
    found = best_estimator(pd.concat(rows), ["trap", "near"])
    assert list(found.estimator) == ["near"] * 3 and found.rho.to_numpy() == pytest.approx(1.0)
    with pytest.raises(SchemaError, match="one world"):
        best_estimator(rows[0], ["near"])
