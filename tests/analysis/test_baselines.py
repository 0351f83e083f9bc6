import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from sklearn.metrics import roc_auc_score

from persona_interp import schema
from persona_interp.analysis import auroc, baselines
from persona_interp.errors import SchemaError

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
    assert set(table["n_documents"]) == {80} and set(table["n_prompts"]) == {50}
    persona = tables["hidden"]["persona"].to_numpy()[::2]
    test = tables["hidden"]["split"].to_numpy()[::2] == "test"
    numbers: dict[str, list[float]] = {
        name: [] for name in ("auroc", "rise", "rise_control", "excess")
    }
    rows = table.set_index("method")
    for method in METHODS:
        x = _documents(tables["hidden"], method)
        rise, drift = (
            (d.sel(name=method)[1] - d.sel(name=method)[0]).to_numpy() / x.std(ddof=1)
            for d in (tables["neutral"], tables["control"])
        )
        area = roc_auc_score(persona[test] == "john", x[test])
        for name, value in zip(
            numbers, (area, rise.mean(), drift.mean(), (rise - drift).mean()), strict=True
        ):
            numbers[name].append(value)
        if method in RANDOM:
            continue
        row = rows.loc[method]
        assert row["auroc"] == pytest.approx(area)
        assert row["auroc_lo"] == pytest.approx(float(auroc(x[test], persona[test] == "john").lo))
        for name, d in (("rise", rise), ("rise_control", drift), ("excess", rise - drift)):
            assert row[name] == pytest.approx(d.mean())
            assert row[f"{name}_hi"] - row[name] == pytest.approx(
                stats.t.ppf(0.975, 49) * d.std(ddof=1) / np.sqrt(50)
            )
    for name, values in numbers.items():
        lo, hi = np.quantile(values[3:], [0.025, 0.975])
        row = rows.loc["random", [name, f"{name}_lo", f"{name}_hi"]].to_numpy(float)
        assert row == pytest.approx([np.mean(values[3:]), lo, hi])
    assert rows.loc["feature", ["share", "share_lo", "share_hi"]].tolist() == [0.8, 0.7, 0.9]
    assert np.isnan(rows.loc["weak", "share"]) and rows.loc["random", "share"] == pytest.approx(
        0.095
    )


def test_who_beats_whom(tables: Tables, causes: pd.DataFrame) -> None:
    options = {"control": tables["control"], "persona": "john", "random": RANDOM}
    verdict = baselines(tables["hidden"], tables["neutral"], causes=causes, **options).set_index(
        "method"
    )
    assert verdict.loc["feature", "no_better_than"] == ""  # equal AUROC and rise, larger share
    assert verdict.loc["mean difference", "no_better_than"] == "feature"
    assert verdict.loc["weak", "no_better_than"] == "feature, mean difference, random"
    without = baselines(tables["hidden"], tables["neutral"], **options).set_index("method")
    assert (
        without.loc["feature", "no_better_than"] == "mean difference"
        and without["share"].isna().all()
    )


def test_clear_losses_cancel_clear_wins(tables: Tables, causes: pd.DataFrame) -> None:
    """Reads better, causes less: neither beats the other."""
    causes = causes.assign(share=-causes["share"], lo=-causes["hi"], hi=-causes["lo"])
    extra = pd.DataFrame([("weak", 0.5, 0.4, 0.6)], columns=causes.columns)
    causes = pd.concat([causes, extra], ignore_index=True)
    options = {"control": tables["control"], "persona": "john", "random": RANDOM, "causes": causes}
    table = baselines(tables["hidden"], tables["neutral"], **options).set_index("method")
    assert (
        "weak" in table.loc["feature", "no_better_than"]
        and "feature" in table.loc["weak", "no_better_than"]
    )


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
    hidden = tables["hidden"].copy(deep=True)
    hidden[2] = 0.0
    row = baselines(hidden, tables["neutral"], control=tables["control"], persona="john").loc[2]
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
