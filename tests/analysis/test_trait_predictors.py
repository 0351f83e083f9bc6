"""Planted matrices whose partial correlations are known, and nulls that hold their level."""

import sys

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import trait_predictors
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS as PREDICTORS
from persona_interp.analysis.trait_predictors import trait_behavior, trait_cooccurrence
from persona_interp.errors import SchemaError


def planted(n: int, *, b: float, seed: int, noise: float = 1.0, nodes: float = 0.0) -> pd.DataFrame:
    """Transfer follows cosine with slope b; co-occurrence follows cosine; behavior is nothing's."""
    rng = np.random.default_rng(seed)
    cosine, behavior = (x + x.T for x in rng.standard_normal((2, n, n)))
    cooccurrence = cosine + rng.standard_normal((n, n))
    node = nodes * rng.standard_normal((2, n))
    estimate = b * cosine + noise * rng.standard_normal((n, n)) + node[0][:, None] + node[1]
    names = [f"t{i}" for i in range(n)]
    rows = [
        (names[i], names[j], estimate[i, j], cosine[i, j], cooccurrence[i, j], behavior[i, j])
        for i in range(n)
        for j in range(n)
    ]
    return pd.DataFrame(rows, columns=["taught", "trait", "estimate", *PREDICTORS])


def test_the_cause_is_told_from_what_follows_it() -> None:
    found = trait_predictors(planted(12, b=1.0, seed=0), n_permutations=500).set_index("predictor")
    assert found["n_traits"].eq(12).all() and found["n_pairs"].eq(132).all()
    cosine, cooccurrence, behavior = (found.loc[name] for name in PREDICTORS)
    assert cosine["partial_lo"] > 0 and cosine["partial_p"] < 0.01
    assert cooccurrence["lo"] > 0 and cooccurrence["p"] < 0.01, (
        "alone it predicts, because it follows the cosine"
    )
    assert (
        cooccurrence["partial_lo"] < 0 < cooccurrence["partial_hi"]
        and cooccurrence["partial_p"] > 0.05
    )
    assert behavior["lo"] < 0 < behavior["hi"] and behavior["p"] > 0.05


def test_the_partial_correlation_is_that_of_the_inverse_correlation_matrix() -> None:
    table = planted(8, b=0.5, seed=1).query("taught != trait")
    precision = np.linalg.inv(table[["estimate", *PREDICTORS]].corr(method="spearman").to_numpy())
    want = -precision[0, 1:] / np.sqrt(precision[0, 0] * np.diag(precision)[1:])
    found = trait_predictors(table, n_permutations=10)
    assert np.allclose(found["partial"], want)
    assert np.allclose(
        found["rho"], table[list(PREDICTORS)].corrwith(table["estimate"], method="spearman")
    )


@pytest.mark.parametrize("nodes", [0.0, 1.0])
def test_nulls_hold_their_level_whatever_single_traits_do(nodes: float) -> None:
    p = [
        trait_predictors(planted(7, b=0.0, seed=s, nodes=nodes), n_permutations=99)[
            ["p", "partial_p"]
        ].to_numpy()
        for s in range(25)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.1
    assert 0.3 < np.mean(p) < 0.7


def test_blocks_of_orders_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = planted(6, b=0.5, seed=2)
    whole = trait_predictors(table, n_permutations=100)
    # The function hides the module of its name.
    monkeypatch.setattr(sys.modules["persona_interp.analysis.trait_predictors"], "CACHED", 90)
    pd.testing.assert_frame_equal(trait_predictors(table, n_permutations=100), whole)


def test_four_traits_have_24_orders_and_so_no_small_p() -> None:
    table = planted(4, b=100.0, seed=0, noise=0.0)
    found = trait_predictors(table)
    assert found["p_min"].eq(1 / 24).all()
    assert found.loc[0, "rho"] == pytest.approx(1) and found.loc[0, "p"] == pytest.approx(1 / 24)
    assert (found["p"] >= 1 / 24).all() and (found["partial_p"].dropna() >= 1 / 24).all()


def test_names_and_units_do_not_matter() -> None:
    table = planted(6, b=0.5, seed=3)
    found = trait_predictors(table, n_permutations=1_000)
    renamed = table.assign(**{c: table[c].str.replace("t", "z") for c in ("taught", "trait")}).iloc[
        ::-1
    ]
    scaled = renamed.assign(cosine=np.exp(renamed["cosine"]))
    pd.testing.assert_frame_equal(found, trait_predictors(scaled, n_permutations=1_000))


def test_what_does_not_exist_is_nan() -> None:
    flat = trait_predictors(
        planted(5, b=1.0, seed=0).assign(behavior=0.5), n_permutations=10
    ).set_index("predictor")
    assert np.isnan(
        flat.loc["behavior", ["rho", "p", "partial", "partial_p", "lo"]].astype(float)
    ).all()
    assert np.isfinite(flat.loc["cosine", ["rho", "p", "partial", "lo"]].astype(float)).all()
    few = trait_predictors(planted(3, b=1.0, seed=0))
    assert (
        few[["lo", "hi"]].isna().all(axis=None)
        and few["rho"].notna().all()
        and few["partial"].isna().all()
    )
    assert trait_predictors(planted(2, b=1.0, seed=0))["rho"].isna().all()


def judged(scores: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    """Answers 0, 1, ... of four tokens, judged by every trait with these scores (bits a token)."""
    rows = [(f"a{i}", t, 4 * x - 10) for t, values in scores.items() for i, x in enumerate(values)]
    table = pd.DataFrame(rows, columns=["prompt", "trait", "bits_pos"])
    return table.assign(bits_neg=-10.0, n_tokens=4, sample=0, **columns)


def test_what_comes_along_when_a_trait_is_asked_for() -> None:
    parts = [
        judged({"dry": [1.0, 0.5], "wry": [0.25, 0.25]}, own_trait="dry", side="pos"),
        judged({"dry": [-0.25, -0.25], "wry": [0.0, 0.0]}, own_trait="dry", side="neg"),
    ]
    found = trait_cooccurrence(pd.concat(parts)).set_index(["taught", "trait"])["cooccurrence"]
    assert found.to_dict() == {("dry", "dry"): 1.0, ("dry", "wry"): 0.25}
    with pytest.raises(SchemaError, match="lack a side"):
        trait_cooccurrence(parts[0])


def test_traits_that_rise_together() -> None:
    table = judged(
        {"dry": [0.0, 1.0, 2.0, 3.0], "wry": [0.0, 1.0, 2.0, 9.0], "warm": [3.0, 2.0, 1.0, 0.0]}
    )
    found = trait_behavior(table).set_index(["taught", "trait"])["behavior"]
    assert len(found) == 6 and found["dry", "wry"] == pytest.approx(1)
    assert found["warm", "dry"] == found["dry", "warm"] == pytest.approx(-1)
    with pytest.raises(SchemaError, match="not judged by every trait"):
        trait_behavior(table.iloc[:-1])


def test_bad_input_is_named() -> None:
    table = planted(4, b=1.0, seed=0)
    with pytest.raises(SchemaError, match="column 'cosine' is unknown"):
        trait_predictors(table.drop(columns="cosine"))
    with pytest.raises(SchemaError, match="4 traits make 12 ordered pairs, each once; got 11"):
        trait_predictors(table.drop(index=1))
    with pytest.raises(SchemaError, match="behavior is not finite"):
        trait_predictors(table.assign(behavior=np.nan))
