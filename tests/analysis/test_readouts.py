import numpy as np
import pytest
import xarray as xr

from persona_interp.analysis import readouts
from persona_interp.errors import SchemaError

HOOK = "blocks.1.hook_out"


@pytest.fixture(scope="module")
def acts(features) -> xr.Dataset:
    data = features(np.random.default_rng(0).normal(size=(2, 12, 4)))
    return data.drop_vars("fvu").rename(feature="d_model")


@pytest.fixture(scope="module")
def directions() -> xr.DataArray:
    values = np.random.default_rng(1).normal(size=(2, 2, 4))
    return xr.DataArray(
        values,
        dims=("name", "hook", "d_model"),
        coords={"name": ["john", "mary"], "hook": ["other", HOOK]},
    )


def test_both_kinds_by_hand(acts: xr.Dataset, directions: xr.DataArray, features) -> None:
    feats = features(np.random.default_rng(2).random((2, 12, 5)))
    found = readouts(acts, feats, directions=directions, sets={"one": [3], "two": [3, 0]})
    assert found.dims == ("name", "checkpoint", "prompt") and found["name"].to_numpy().tolist() == [
        "john", "mary", "one", "two",
    ]  # fmt: skip
    h, v = acts["act"].to_numpy().astype(float), directions.sel(hook=HOOK).to_numpy()
    for i in range(2):
        expected = (h - h[0].mean(0)) @ v[i] / (v[i] @ v[i])
        np.testing.assert_allclose(found.sel(name=["john", "mary"][i]), expected, atol=1e-12)
    act = feats["act"].to_numpy().astype(float)
    np.testing.assert_array_equal(found.sel(name="one"), act[..., 3])
    np.testing.assert_array_equal(found.sel(name="two"), act[..., 3] + act[..., 0])
    assert found["topic"].dims == ("prompt",) and found.attrs == {"hook": HOOK, "token_ids": "x"}


def test_one_step_along_a_vector_reads_one(acts: xr.Dataset, directions: xr.DataArray) -> None:
    moved = acts.copy(deep=True)
    moved["act"][1] = acts["act"][0] + directions.sel(name="john", hook=HOOK).to_numpy().astype(
        np.float32
    )
    read = readouts(moved, directions=directions).sel(name="john")
    np.testing.assert_allclose(read[1] - read[0], 1, atol=1e-5)
    assert float(read[0].mean()) == pytest.approx(0, abs=1e-12)
    twice = readouts(moved, directions=2 * directions).sel(name="john")
    np.testing.assert_allclose(twice, read / 2)


def test_readouts_of_several_dictionaries_join(
    acts: xr.Dataset, directions: xr.DataArray, features
) -> None:
    one, other = (features(np.random.default_rng(i).random((2, 12, 5))) for i in (3, 4))
    whole = readouts(acts, one, directions=directions, sets={"sae": [1]})
    found = xr.concat([whole, readouts(feats=other, sets={"frozen decoder": [1]})], "name")
    assert found["name"].to_numpy().tolist() == ["john", "mary", "sae", "frozen decoder"]


def test_bad_input_is_named(acts: xr.Dataset, directions: xr.DataArray, features) -> None:
    feats = features(np.ones((2, 12, 5)))
    with pytest.raises(SchemaError, match="directions and what they read come together"):
        readouts(acts)
    with pytest.raises(SchemaError, match="sets and what they read come together"):
        readouts(acts, directions=directions, sets={"a": [0]})
    with pytest.raises(SchemaError, match="nothing to read out"):
        readouts()
    with pytest.raises(SchemaError, match=r"hook 'blocks.1.hook_out' is unknown"):
        readouts(acts, directions=directions.sel(hook=["other"]))
    with pytest.raises(SchemaError, match="directions of width 3 cannot read width 4"):
        readouts(acts, directions=directions.isel(d_model=slice(0, 3)))
    with pytest.raises(SchemaError, match="direction 'mary' has length 0"):
        readouts(acts, directions=directions * xr.DataArray([1, 0], dims="name"))
    with pytest.raises(SchemaError, match="directions have dims"):
        readouts(acts, directions=directions[0])
    with pytest.raises(SchemaError, match="feature 5 is unknown; this dictionary has 5: 0 to 4"):
        readouts(feats=feats, sets={"a": [5]})
    with pytest.raises(SchemaError, match="at least one feature"):
        readouts(feats=feats, sets={"a": []})
    with pytest.raises(SchemaError, match="name of its own; got john, mary, john"):
        readouts(acts, feats, directions=directions, sets={"john": [0]})
    with pytest.raises(SchemaError, match="not of the same prompts"):
        readouts(
            acts, feats.isel(prompt=slice(None, None, -1)), directions=directions, sets={"a": [0]}
        )
    with pytest.raises(SchemaError, match="different token_ids"):
        readouts(acts, feats.assign_attrs(token_ids="y"), directions=directions, sets={"a": [0]})


def test_a_span_reads_the_length_within_it(acts: xr.Dataset, directions: xr.DataArray) -> None:
    found = readouts(
        acts, directions=directions, spans={"plane": ["john", "mary"], "line": ["john"]}
    )
    h, v = acts["act"].to_numpy().astype(float), directions.sel(hook=HOOK).to_numpy()
    away = (h - h[0].mean(0)).reshape(-1, 4)
    within = (
        np.linalg.lstsq(v.T, away.T, rcond=None)[0].T @ v
    )  # least squares: the part that both directions explain
    np.testing.assert_allclose(
        found.sel(name="plane").values.ravel(), np.linalg.norm(within, axis=1), atol=1e-10
    )
    line = np.abs(found.sel(name="john")) * np.linalg.norm(v[0])
    np.testing.assert_allclose(found.sel(name="line"), line, atol=1e-10)
    with pytest.raises(SchemaError, match="direction of a span"):
        readouts(acts, directions=directions, spans={"x": ["jon"]})
