import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from sklearn.metrics import roc_auc_score

from persona_interp import schema
from persona_interp.analysis import auroc, baselines, pairs
from persona_interp.analysis.ceiling import CEILING
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

METHODS = ["feature", "mean difference", "weak", *(f"random {i}" for i in range(20))]
RANDOM = METHODS[3:]
Tables = dict[str, xr.DataArray]


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Two methods that know john and rise by 2 sd, one that does not, and 20 random directions."""
    rng = np.random.default_rng(0)
    personas = np.array(["john", "mary", "emma", "oscar"])[rng.integers(0, 4, 160)].repeat(2)
    doc = np.arange(160).repeat(2)
    train = doc % 2 == 1
    along = {"persona": personas, "doc": doc, "split": np.where(train, "train", "test")}
    # of the test documents three in four state another topic than the train documents
    along |= {"stated": np.where(train | (doc % 8 == 0), "art=op", "food=rice")}
    read = (
        rng.normal(size=(len(METHODS), 2, 320)) * np.geomspace(0.1, 10, len(METHODS))[:, None, None]
    )
    for i in (0, 1):
        read[i] += 3 * read[i].std() * (personas == "john")
    hidden = _array(read).assign_coords(
        {name: ("prompt", values) for name, values in along.items()}
    )
    unit = np.array([_documents(hidden, m).std(ddof=1) for m in METHODS])[:, None]
    neutral = rng.normal(size=(len(METHODS), 2, 50)) * 0.5 * unit[..., None]
    control = neutral + rng.normal(size=neutral.shape) * 0.1 * unit[..., None]
    control[:, 0] = neutral[:, 0]  # both lessons start from one base
    neutral[:2, 1] += 2 * unit[:2]
    return {"hidden": hidden, "neutral": _array(neutral), "control": _array(control)}


def _array(values: np.ndarray) -> xr.DataArray:
    coords = {
        "name": METHODS,
        "checkpoint": ["base@0", "lesson@40"],
        "prompt": np.arange(values.shape[2]),
    }
    return xr.DataArray(values, dims=("name", "checkpoint", "prompt"), coords=coords)


def _documents(hidden: xr.DataArray, method: str) -> np.ndarray:
    return hidden.sel(name=method, checkpoint="base@0").to_numpy().reshape(-1, 2).mean(1)


@pytest.fixture(scope="module")
def causes() -> pd.DataFrame:
    rows = [("none", 0.0, 0.0, 0.0), ("feature", 0.8, 0.7, 0.9), ("mean difference", 0.5, 0.4, 0.6)]
    rows += [(name, 0.01 * i, -0.1, 0.2) for i, name in enumerate(RANDOM)]
    return pd.DataFrame(rows, columns=["edit", "share", "lo", "hi"])


def _unit(tables: Tables, method: str, x: np.ndarray) -> float:
    """Spread over four groups of equal weight: documents, and prompts before, after, after."""
    neutral, control = (tables[name].sel(name=method).to_numpy() for name in ("neutral", "control"))
    groups = [x, neutral[0], neutral[1], control[1]]
    center = np.mean([group.mean() for group in groups])
    return float(np.sqrt(np.mean([np.mean((group - center) ** 2) for group in groups])))


def test_every_number_by_hand(tables: Tables, causes: pd.DataFrame) -> None:
    table = baselines(
        tables["hidden"],
        tables["neutral"],
        control=tables["control"],
        causes=causes,
        persona="john",
        random=RANDOM,
    )
    schema.check(table, "baselines")
    assert table["method"].tolist() == [*METHODS[:3], "random"] and table[
        "n_directions"
    ].tolist() == [1, 1, 1, 20]
    assert set(table["n_documents"]) == {60} and set(table["n_prompts"]) == {50}
    prompts = tables["hidden"].isel(prompt=slice(None, None, 2))
    persona, test = prompts["persona"].to_numpy(), (prompts["split"] == "test").to_numpy()
    other = test & (prompts["stated"] == "food=rice").to_numpy()
    same = test & ~other
    numbers: dict[str, list[float]] = {
        name: [] for name in ("auroc", "auroc_same", "rise", "rise_control", "excess")
    }
    rows = table.set_index("method")
    for method in METHODS:
        x = _documents(tables["hidden"], method)
        kept = x[(prompts["split"] == "train").to_numpy() | test]
        unit = _unit(tables, method, kept)
        rise, drift = (
            (d.sel(name=method)[1] - d.sel(name=method)[0]).to_numpy() / unit
            for d in (tables["neutral"], tables["control"])
        )
        area, nearby = (roc_auc_score(persona[part] == "john", x[part]) for part in (other, same))
        values = (area, nearby, rise.mean(), drift.mean(), (rise - drift).mean())
        for name, value in zip(numbers, values, strict=True):
            numbers[name].append(value)
        if method in RANDOM:
            continue
        row = rows.loc[method]
        assert row["auroc"] == pytest.approx(area) and row["auroc_same"] == pytest.approx(nearby)
        mine = auroc(x[other], persona[other] == "john")
        assert row["auroc_lo"] == pytest.approx(float(mine.lo))
        for name, d in (("rise", rise), ("rise_control", drift), ("excess", rise - drift)):
            assert row[name] == pytest.approx(d.mean())
            assert row[f"{name}_hi"] - row[name] == pytest.approx(
                stats.t.ppf(0.975, 49) * d.std(ddof=1) / np.sqrt(50)
            )
    for name, values in numbers.items():
        lo, hi = min(values[3:]), max(values[3:])  # too few to leave any out
        row = rows.loc["random", [name, f"{name}_lo", f"{name}_hi"]].to_numpy(float)
        assert row == pytest.approx([np.mean(values[3:]), lo, hi])
    assert rows.loc["feature", ["share", "share_lo", "share_hi"]].tolist() == [0.8, 0.7, 0.9]
    assert np.isnan(rows.loc["weak", "share"]) and rows.loc["random", "share"] == pytest.approx(
        0.095
    )


def test_who_beats_whom(tables: Tables, causes: pd.DataFrame) -> None:
    """Paired by document in what is known; what moved and what causes decide nothing."""
    options = {"control": tables["control"], "persona": "john", "random": RANDOM}
    hidden, neutral = tables["hidden"], tables["neutral"]
    verdict = baselines(hidden, neutral, causes=causes, **options).set_index("method")
    assert verdict.loc["feature", "no_better_than"] == "mean difference"
    assert verdict.loc["mean difference", "no_better_than"] == "feature"
    assert verdict.loc["weak", "no_better_than"] == "feature, mean difference, random"
    without = baselines(hidden, neutral, **options).set_index("method")
    assert without["no_better_than"].equals(verdict["no_better_than"])
    assert without["share"].isna().all()
    versus = pairs(hidden, persona="john", random=RANDOM).set_index(["method", "other"])
    schema.check(versus.reset_index(), "pairs")
    areas = verdict["auroc"]
    for (method, other), row in versus.iterrows():
        if "random" not in (method, other):
            assert row["estimate"] == pytest.approx(areas[method] - areas[other])
        back = versus.loc[(other, method)]
        assert row["estimate"] == -back["estimate"] and row["q"] == back["q"]
    best = max(verdict.loc["random", "auroc_hi"], 0.5)
    assert areas["feature"] - versus.loc[("feature", "random"), "estimate"] >= best


def test_a_difference_is_found_that_two_intervals_hide() -> None:
    """AUROC .80 against .88 on the same documents, whose noise both readouts share."""
    rng, n = np.random.default_rng(1), 300
    who = np.tile(np.repeat(["john", "mary"], [60, 240]), 2)
    shared, own = rng.normal(size=2 * n), rng.normal(size=(2, 2 * n))
    lift = np.array([1.19, 1.66])[:, None] * (who == "john")
    values = lift + np.sqrt(0.8) * shared + np.sqrt(0.2) * own
    along = {"persona": who, "doc": np.arange(2 * n), "split": np.repeat(["train", "test"], n)}
    along |= {"stated": np.repeat(["art=op", "food=rice"], n)}
    coords = {name: ("prompt", column) for name, column in along.items()}
    hidden = xr.DataArray(values, dims=("name", "prompt"), coords=coords)
    table = pairs(hidden.assign_coords(name=["weaker", "stronger"]), persona="john")
    area = auroc(values[:, n:].T, who[n:] == "john")
    assert area.estimate == pytest.approx([0.80, 0.88], abs=0.04)
    stronger = table.loc[table["method"] == "stronger"].iloc[0]
    assert stronger["lo"] > 0 and stronger["q"] < 0.01
    assert area.lo[1] < area.hi[0], "two intervals overlap"


def test_a_rare_feature_does_not_win(tables: Tables) -> None:
    """It fires in 1 % of documents, whoever speaks, and a little at every prompt after a lesson."""
    hidden, neutral, control = (
        tables[name].sel(name=METHODS[:2]).copy(deep=True) for name in tables
    )
    hidden[1], neutral[1], control[1] = 0.0, 0.0, 0.0
    hidden[1, :, 4::200] = 0.1  # even numbers: some of the test documents among them
    neutral[1, 1] = 0.05
    table = baselines(hidden, neutral, control=control, persona="john").set_index("method")
    over_documents = 0.05 / _documents(hidden, METHODS[1]).std(ddof=1)
    assert over_documents > 5, "in units of its spread over documents it would win by far"
    bound = 4 / np.sqrt(3)
    assert table.loc["mean difference", "excess"] <= bound + 1e-9
    assert table.loc["feature", "no_better_than"] == ""
    assert table.loc["mean difference", "no_better_than"] == "feature"


def test_exact_bayes_is_no_rival(world: World) -> None:
    """It has a row, nobody has to beat it, and whom it does not beat reaches the ceiling."""
    cuts = world.cuts(world.corpus(1_500, seed=3, kinds="hidden"))
    coords = {
        name: ("prompt", cuts[name].to_list()) for name in ("persona", "doc", "split", "stated")
    }
    rng, n = np.random.default_rng(0), len(cuts)
    of_john = (cuts["persona"] == "john").to_numpy()
    values = np.stack([of_john + rng.normal(0, 0.1, n), rng.normal(size=n)])[:, None]
    dims, names = ("name", "checkpoint", "prompt"), ["knows", "noise"]
    hidden = xr.DataArray(values, dims=dims, coords=coords)
    hidden = hidden.assign_coords(name=names, checkpoint=["base@0"])
    still = xr.DataArray(rng.normal(size=(2, 2, 9)), dims=dims)
    still = still.assign_coords(name=names, checkpoint=["base@0", "lesson@8"], prompt=range(9))
    table = baselines(hidden, still, control=still, persona="john", world=world)
    table = table.set_index("method")
    assert table.index.tolist() == ["knows", "noise", CEILING]
    assert table.loc["noise", "no_better_than"] == "knows"
    assert table.loc[CEILING, "no_better_than"] == "knows"
    assert 0.85 < table.loc[CEILING, "auroc"] < 1 and np.isnan(table.loc[CEILING, "rise"])


def test_units_of_a_readout_do_not_matter(tables: Tables) -> None:
    scale = xr.DataArray(np.geomspace(0.01, 100, len(METHODS)), dims="name")
    one, other = (
        baselines(
            tables["hidden"] * s,
            tables["neutral"] * s,
            control=tables["control"] * s,
            persona="john",
        )
        for s in (1, scale)
    )
    pd.testing.assert_frame_equal(one, other)
    again = baselines(
        tables["hidden"], tables["neutral"][::-1], control=tables["control"], persona="john"
    )
    pd.testing.assert_frame_equal(one, again)


def test_a_control_that_is_the_lesson_leaves_no_excess(tables: Tables) -> None:
    table = baselines(
        tables["hidden"], tables["neutral"], control=tables["neutral"], persona="john"
    )
    assert (table[["excess", "excess_lo", "excess_hi"]] == 0).all(axis=None)
    assert (table["rise"] == table["rise_control"]).all()


def test_a_silent_readout_has_no_unit(tables: Tables) -> None:
    hidden, neutral, control = (table.copy(deep=True) for table in tables.values())
    hidden[2], neutral[2], control[2] = 0.0, 0.0, 0.0
    row = baselines(hidden, neutral, control=control, persona="john").loc[2]
    assert row["auroc"] == 0.5 and np.isnan(row["rise"]) and row["n_directions"] == 1


def test_bad_input_is_named(tables: Tables, causes: pd.DataFrame) -> None:
    hidden, neutral, control = (tables[name] for name in ("hidden", "neutral", "control"))
    with pytest.raises(SchemaError, match="persona 'jon' is unknown; did you mean 'john'"):
        baselines(hidden, neutral, control=control, persona="jon")
    with pytest.raises(SchemaError, match="random readout 'random 99' is unknown"):
        baselines(hidden, neutral, control=control, persona="john", random=["random 99"])
    with pytest.raises(SchemaError, match="expected the readouts feature"):
        baselines(hidden, neutral[1:], control=control, persona="john")
    with pytest.raises(SchemaError, match="needs two checkpoints"):
        baselines(hidden, neutral[:, :1], control=control, persona="john")
    with pytest.raises(SchemaError, match="not of the same prompts"):
        baselines(hidden, neutral, control=control[..., ::-1], persona="john")
    with pytest.raises(SchemaError, match="coordinate along prompt 'topic' is unknown"):
        baselines(hidden, neutral, control=control, persona="john", cluster="topic")
    with pytest.raises(SchemaError, match="edit 'none' has several rows"):
        baselines(
            hidden, neutral, control=control, persona="john", causes=pd.concat([causes, causes])
        )
    with pytest.raises(SchemaError, match="column 'share' is unknown"):
        baselines(
            hidden, neutral, control=control, persona="john", causes=causes.drop(columns="share")
        )
