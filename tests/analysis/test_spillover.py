from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp.analysis import spillover
from persona_interp.analysis.spillover import style_overlap
from persona_interp.errors import SchemaError
from persona_interp.worlds import graded, john_and_sam


def planted(
    rng: np.random.Generator, *, n_personas: int = 12, n_seeds: int = 1, sd: float = 1.0
) -> pd.DataFrame:
    """Shifts of 2 bits a bit of co-occurrence and 1 a cosine; a lesson's shifts share an error."""
    rows = []
    for seed in range(n_seeds):
        for persona in range(n_personas):
            common, pmi_common = sd * rng.standard_normal(), rng.standard_normal()
            for _ in range(10):
                pmi, cosine, style = (
                    pmi_common + rng.standard_normal(),
                    rng.standard_normal(),
                    rng.standard_normal(),
                )
                shift = 2 * pmi + cosine + common + 0.5 * rng.standard_normal()
                rows.append((seed, f"p{persona}", pmi, cosine, style, shift))
    return pd.DataFrame(rows, columns=["seed", "persona", "pmi", "cosine", "style", "estimate"])


def test_planted_coefficients_are_found() -> None:
    table = spillover(planted(np.random.default_rng(0), n_personas=40)).set_index("predictor")
    assert table.estimate.to_numpy() == pytest.approx([2, 1, 0], abs=0.25)
    assert table.lo["style"] < 0 < table.hi["style"] and table.lo["pmi"] > 1.5
    assert set(table.n) == {400} and set(table.n_clusters) == {40}, "one seed clusters nothing"


def test_clusters_cover_where_independent_rows_do_not() -> None:
    clustered = naive = 0
    for i in range(200):
        data = planted(np.random.default_rng(i), n_personas=20)
        row = spillover(data, predictors=["pmi"]).iloc[0]
        clustered += row.lo <= 2 <= row.hi
        line = stats.linregress(data.pmi, data.estimate)
        naive += abs(line.slope - 2) <= 1.97 * line.stderr
    assert clustered >= 178 and naive < 0.85 * 200


def test_one_way_by_hand() -> None:
    data = planted(np.random.default_rng(1), n_personas=6)
    row = spillover(data, predictors=["pmi"], clusters=["persona"]).iloc[0]
    x = np.column_stack([np.ones(len(data)), data.pmi])
    beta, *_ = np.linalg.lstsq(x, data.estimate, rcond=None)
    u = data.estimate.to_numpy() - x @ beta
    meat = sum(
        np.outer(s, s)
        for g in set(data.persona)
        for s in [x[data.persona == g].T @ u[data.persona == g]]
    )
    bread = np.linalg.inv(x.T @ x)
    v = bread @ meat @ bread * 6 / 5 * (len(x) - 1) / (len(x) - 2)
    assert row.se == pytest.approx(np.sqrt(v[1, 1])) and row.estimate == pytest.approx(beta[1])
    assert row.hi - row.estimate == pytest.approx(stats.t.ppf(0.975, 5) * row.se)


def test_two_ways_add_and_subtract_what_is_counted_twice() -> None:
    data = planted(np.random.default_rng(2), n_seeds=4)
    crossed = data.assign(both=data.seed.astype(str) + data.persona)
    se = {
        c: spillover(crossed, predictors=["pmi"], clusters=[c]).se.iloc[0]
        for c in ("persona", "seed", "both")
    }
    row = spillover(data, predictors=["pmi"]).iloc[0]
    expected = se["persona"] ** 2 + se["seed"] ** 2 - se["both"] ** 2
    assert row.se**2 == pytest.approx(
        expected if expected > 0 else max(se["persona"], se["seed"]) ** 2
    )
    assert row.n_clusters == 4


def test_what_does_not_vary_is_left_out_and_said() -> None:
    table = spillover(planted(np.random.default_rng(3)).assign(style=1.0)).set_index("predictor")
    assert np.isnan(table.estimate["style"]) and table.estimate[["pmi", "cosine"]].notna().all()


def test_bad_input_is_named() -> None:
    data = planted(np.random.default_rng(4))
    with pytest.raises(SchemaError, match="column 'pmi' is unknown"):
        spillover(data.drop(columns="pmi"))
    with pytest.raises(SchemaError, match="finite numbers"):
        spillover(data.assign(pmi=np.nan))
    with pytest.raises(SchemaError, match="two clusters"):
        spillover(data.assign(persona="a"))


def test_style_overlap_is_one_where_all_are_written_about_alike() -> None:
    assert style_overlap(john_and_sam())["style"].to_numpy() == pytest.approx(1.0)


def test_style_overlap_by_hand() -> None:
    world = john_and_sam()
    others = {p.name: 0.0 for p in world.personas[2:]}
    kinds = {"third": 0.5, "named": 0.5}
    weights = {"john": {"third": 1.0, "named": 0.0}, "sam": {"third": 0.0, "named": 1.0}, **others}
    table = style_overlap(replace(world, weights=weights, kinds=kinds)).set_index(
        ["trait", "other"]
    )["style"]
    p, q = 0.9 + 0.1 / 8, 0.1 / 8  # football is said by john and, as noise, by sam
    assert table["sport=football", "art=renaissance"] == pytest.approx(1.0)
    assert table["sport=football", "art=baroque"] == pytest.approx(2 * q / (p + q))
    assert style_overlap(graded(styles=1.0))["style"].min() < 0.9
