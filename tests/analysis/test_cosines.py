from time import process_time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from persona_interp.analysis import cosine_against_cooccurrence, cosine_map
from persona_interp.errors import SchemaError, WorldError
from persona_interp.worlds import World

D = 200


def directions(world: World, *, names: list[str], noise: float, seed: int = 0) -> xr.DataArray:
    """A random vector a trait; personas are sums of traits, traits sums of holders, plus noise."""
    rng = np.random.default_rng(seed)
    own = {str(t): rng.standard_normal(D) for t in world.traits}
    traits_of = {p.name: [str(t) for t in p.traits] for p in world.personas}
    vectors = {p: sum(own[t] for t in traits) for p, traits in traits_of.items()}
    vectors |= {t: sum(vectors[p] for p, traits in traits_of.items() if t in traits) for t in own}
    v = np.array([vectors[n] + noise * rng.standard_normal(D) for n in names])[:, None]
    coords = {"name": names, "hook": ["h"]}
    return xr.DataArray(v.astype(np.float32), dims=("name", "hook", "d_model"), coords=coords)


def test_a_map_is_symmetric_with_ones_on_the_diagonal(world: World) -> None:
    names = [p.name for p in world.personas]
    table = cosine_map(directions(world, names=names, noise=0.0), world)
    assert len(table) == len(names) ** 2
    square = table.pivot(index="name", columns="other", values="cosine")
    np.testing.assert_allclose(square, square.T)
    np.testing.assert_allclose(np.diag(square), 1, atol=1e-12)
    assert (table.loc[table["name"] == table["other"], "overlap"] == 1).all()


def test_overlap_is_the_share_of_common_topics(world: World) -> None:
    table = cosine_map(directions(world, names=["john", "sam"], noise=0.0), world).set_index(
        ["name", "other"]
    )
    john, sam = ({str(t) for t in world.persona(n).traits} for n in ("john", "sam"))
    assert table.loc[("john", "sam"), "overlap"] == pytest.approx(
        len(john & sam) / len(world.topics)
    )


def test_traits_get_their_pmi(world: World) -> None:
    names = [str(t) for t in world.traits]
    table = cosine_map(directions(world, names=names, noise=0.0), world).set_index(
        ["name", "other"]
    )
    together = world.cooccurrence().set_index(["trait", "other"])["pmi"]
    assert (
        table.loc[("sport=football", "food=pizza"), "pmi"]
        == together["sport=football", "food=pizza"]
    )
    assert np.isnan(table.loc[("sport=football", "sport=golf"), "pmi"])


@pytest.mark.parametrize("kind", ["overlap", "pmi"])
def test_planted_cooccurrence_is_found_and_noise_is_not(world: World, kind: str) -> None:
    names = (
        [p.name for p in world.personas] if kind == "overlap" else [str(t) for t in world.traits]
    )
    table = cosine_map(directions(world, names=names, noise=0.5), world)
    (row,) = cosine_against_cooccurrence(table, n_permutations=500).to_dict("records")
    assert row["against"] == kind and row["rho"] > 0.3 and row["p"] == pytest.approx(1 / 501)
    assert row["null_lo"] < 0 < row["null_hi"] < row["rho"]
    p = []
    for seed in range(40):
        noise = cosine_map(directions(world, names=names, noise=1e4, seed=seed)).assign(
            **{kind: table[kind]}
        )
        p.append(cosine_against_cooccurrence(noise, n_permutations=100)["p"].item())
    assert np.mean(np.array(p) <= 0.05) < 0.18 and np.mean(p) > 0.35


def mantel(x: np.ndarray, y: np.ndarray, *, strata: list[str], n: int, seed: int) -> np.ndarray:
    """The null of the Mantel test by its definition: one permutation after the other."""
    size = len(x)
    pairs = [(i, j) for i in range(size) for j in range(i) if not strata[i] == strata[j] != ""]
    rng, null = np.random.default_rng(seed), []
    for _ in range(n):
        order = np.arange(size)
        for stratum in set(strata):
            places = [i for i in range(size) if strata[i] == stratum]
            order[places] = rng.permutation(places)
        permuted = [x[order[i], order[j]] for i, j in pairs]
        null.append(stats.spearmanr(permuted, [y[i, j] for i, j in pairs]).statistic)
    return np.array(null)


@pytest.mark.parametrize("traits", [False, True])
def test_the_null_is_mantels(traits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = (z + z.T for z in rng.normal(size=(2, 10, 10)))
    y += 0.5 * x
    names = [f"t{i // 3}={i}" for i in range(10)] if traits else [f"p{i}" for i in range(10)]
    strata = [name.partition("=")[0] if traits else "" for name in names]
    rows = []
    for i, j in np.ndindex(10, 10):
        together = np.nan if traits and strata[i] == strata[j] else y[i, j]
        rows.append(("h", names[i], names[j], x[i, j], together))
    columns = ["hook", "name", "other", "cosine", "pmi" if traits else "overlap"]
    table = pd.DataFrame(rows, columns=columns)
    (row,) = cosine_against_cooccurrence(table).to_dict("records")
    null = mantel(x, y, strata=strata, n=1000, seed=1)
    assert row["p"] == pytest.approx(np.mean(np.abs(null) >= row["rho"]), abs=0.03)
    assert row["null_lo"] == pytest.approx(np.quantile(null, 0.025), abs=0.05)
    assert row["null_hi"] == pytest.approx(np.quantile(null, 0.975), abs=0.05)
    monkeypatch.setattr("persona_interp.analysis.cosines.CACHED", 1000)
    (blocks,) = cosine_against_cooccurrence(table).to_dict("records")
    assert blocks == pytest.approx(row), "blocks change nothing"


def test_ten_thousand_permutations_take_half_a_second() -> None:
    x = np.random.default_rng(0).normal(size=(40, 40))
    names = [f"t{i // 4}={i}" for i in range(40)]
    pairs = [(a, b) for a in names for b in names]
    columns = {"hook": "h", "cosine": (x + x.T).ravel(), "pmi": (x * x.T).ravel()}
    table = pd.DataFrame(pairs, columns=["name", "other"]).assign(**columns)
    start = process_time()
    cosine_against_cooccurrence(table)
    assert process_time() - start < 0.5


def test_bad_input_is_named(world: World) -> None:
    v = directions(world, names=["john", "sam"], noise=0.0)
    with pytest.raises(WorldError, match="pc1"):
        cosine_map(v.assign_coords(name=["pc1", "pc2"]), world)
    with pytest.raises(SchemaError, match=r"cosine_map\(directions, world\)"):
        cosine_against_cooccurrence(cosine_map(v))
    with pytest.raises(SchemaError, match="three names or more"):
        cosine_against_cooccurrence(cosine_map(v, world))


def test_without_differences_there_is_no_correlation() -> None:
    names = ["a", "b", "c", "d"]
    rows = [("h", a, b, 0.1 * i * j, 0.0) for i, a in enumerate(names) for j, b in enumerate(names)]
    table = pd.DataFrame(rows, columns=["hook", "name", "other", "cosine", "overlap"])
    row = cosine_against_cooccurrence(table).iloc[0]
    assert row[["rho", "p", "null_lo", "null_hi"]].isna().all() and row["n"] == 6


def test_a_cosine_that_is_none_is_refused_and_no_discovery() -> None:
    pairs = [(i, j) for i in range(6) for j in range(6)]
    rows = [("h", "abcdef"[i], "abcdef"[j], -abs(i - j), -abs(i - j)) for i, j in pairs]
    table = pd.DataFrame(rows, columns=["hook", "name", "other", "cosine", "overlap"])
    table["cosine"] = table["cosine"].astype(float)
    table.loc[3, "cosine"] = np.nan
    with pytest.raises(SchemaError, match="finite cosine"):
        cosine_against_cooccurrence(table, n_permutations=99)
