from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp.analysis import spillover
from persona_interp.analysis.spillover import CLUSTERS, style_overlap
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
    for i in range(100):
        data = planted(np.random.default_rng(i), n_personas=20)
        row = spillover(data, predictors=["pmi"]).iloc[0]
        clustered += row.lo <= 2 <= row.hi
        line = stats.linregress(data.pmi, data.estimate)
        naive += abs(line.slope - 2) <= 1.97 * line.stderr
    assert clustered >= 89 and naive < 0.85 * 100


def test_one_way_by_hand() -> None:
    data = planted(np.random.default_rng(1), n_personas=6)
    row = spillover(data, predictors=["pmi"], clusters=["persona"]).iloc[0]
    slope = stats.linregress(data.pmi, data.estimate).slope
    left_out = []
    for persona in set(data.persona):
        rest = data.loc[data.persona != persona]
        left_out.append(stats.linregress(rest.pmi, rest.estimate).slope)
    se = np.sqrt(5 / 6 * ((np.array(left_out) - slope) ** 2).sum())
    assert row.se == pytest.approx(se) and row.estimate == pytest.approx(slope)
    assert row.hi - row.estimate == pytest.approx(stats.t.ppf(0.975, 5) * se)


def two_ways(data: pd.DataFrame) -> float:
    """The two-way CR1 variance of the slope by its formula, for statsmodels to agree with."""
    x = np.column_stack([np.ones(len(data)), data.pmi])
    u = data.estimate.to_numpy() - x @ np.linalg.lstsq(x, data.estimate, rcond=None)[0]
    bread, n, variances = np.linalg.inv(x.T @ x), len(x), []
    for group in (data.persona, data.seed, data.persona + data.seed.astype(str)):
        sums = pd.DataFrame(x * u[:, None]).groupby(group.to_numpy()).sum().to_numpy()
        g = len(sums)
        variances.append((bread @ sums.T @ sums @ bread)[1, 1] * g / (g - 1) * (n - 1) / (n - 2))
    return variances[0] + variances[1] - variances[2]


def test_two_ways_are_statsmodels_unless_one_way_is_larger() -> None:
    larger = []
    for draw in range(20):
        data = planted(np.random.default_rng(draw), n_seeds=6, sd=0.1 * (draw % 2))
        one, other = (spillover(data, predictors=["pmi"], clusters=[c]).iloc[0] for c in CLUSTERS)
        row = spillover(data, predictors=["pmi"]).iloc[0]
        both = two_ways(data)
        assert row.se**2 == pytest.approx(max(both, one.se**2, other.se**2))
        assert row.n_clusters == 6
        larger.append(both > max(one.se, other.se) ** 2)
    assert any(larger) and not all(larger)


def test_few_seeds_cover() -> None:
    covered = 0
    for i in range(60):
        data = planted(np.random.default_rng(i), n_personas=12, n_seeds=5)
        rng = np.random.default_rng(1000 + i)
        # Seeds have shifts and co-occurrences of their own, and are of unequal size.
        own, pmi = rng.standard_normal((2, 5))[:, data.seed]
        data = data.assign(pmi=data.pmi + pmi, estimate=data.estimate + 2 * pmi + own)
        data = data.loc[rng.random(len(data)) < np.where(data.seed < 2, 1.0, 0.3)]
        row = spillover(data, predictors=["pmi"]).iloc[0]
        covered += row.lo <= 2 <= row.hi
    assert covered >= 54


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


def test_nothing_is_said_of_predictors_made_of_each_other_and_all_of_the_rest() -> None:
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 60))
    table = pd.DataFrame({"estimate": x + 3 * other, "pmi": x, "twice": 2 * x, "style": other})
    table = table.assign(persona=np.arange(60) % 6, seed=0)
    table = spillover(table, predictors=["pmi", "twice", "style"]).set_index("predictor")
    effect = table[["estimate", "lo", "hi", "se"]]
    assert effect.loc[["pmi", "twice"]].isna().all(axis=None)
    assert effect.loc["style"].to_list() == pytest.approx([3, 3, 3, 0], abs=1e-9)
    assert table.loc["style", "r2"] == pytest.approx(1)
