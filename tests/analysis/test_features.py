import numpy as np
import pytest
import xarray as xr

from persona_interp import schema
from persona_interp.analysis import feature_shift
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError


def correlated(rng: np.random.Generator, *, prompts: int = 50, features: int = 60) -> np.ndarray:
    """Sparse acts of before and after whose features share causes; no difference planted."""
    causes = rng.normal(size=(2, prompts, 6)) @ rng.normal(size=(6, features))
    return np.maximum(causes + rng.normal(size=(2, prompts, features)) - 1.0, 0.0)


def test_planted_features_are_found_and_only_they(features) -> None:
    act = correlated(np.random.default_rng(0))
    act[1, :, 7] += 3.0
    act[0, :, 9] += 2.0
    act[:, :, 11:14] = 0.0
    table = feature_shift(features(act))
    schema.check(table, "feature_shift")
    assert set(table.loc[table["q"] <= 0.05, "feature"]) == {7, 9}
    assert table["feature"].iloc[0] == 7 and table["feature"].iloc[-1] == 9
    assert table["n_tested"].unique().tolist() == [57] and table["n_silent"].unique() == 3
    assert (table["p_max"] >= table["p"]).all() and (table["p_min"] == 1 / 10_001).all()
    outside = (table["estimate"] < table["null_lo"]) | (table["estimate"] > table["null_hi"])
    assert set(table.loc[table["q"] <= 0.05, "feature"]) <= set(table.loc[outside, "feature"])


def test_shift_is_after_minus_before_with_its_clustered_interval(features) -> None:
    act = correlated(np.random.default_rng(1)).astype(np.float32)
    table = feature_shift(features(act), cluster="topic").set_index("feature")
    expected = (act[1].astype(float) - act[0].astype(float))[:, 3]
    interval = cluster_interval(expected, [f"t{i % 5}" for i in range(50)])
    assert tuple(table.loc[3, ["estimate", "lo", "hi"]]) == pytest.approx(tuple(interval[:3]))
    assert table["n_clusters"].unique().tolist() == [5] and table["fvu_after"].iloc[
        0
    ] == pytest.approx(0.1)
    reverse = feature_shift(
        features(act), before="lesson@40", after="base@0", cluster="topic"
    ).set_index("feature")
    assert reverse.loc[3, "estimate"] == -table.loc[3, "estimate"]


def test_against_itself_nothing_moves(features) -> None:
    act = correlated(np.random.default_rng(2))
    act[1] = act[0]
    table = feature_shift(features(act))
    assert (table["estimate"] == 0).all() and (table["p"] == 1).all() and (table["q"] == 1).all()


def test_clusters_by_two_coordinates(features) -> None:
    data = features(correlated(np.random.default_rng(3)))
    assert feature_shift(data, cluster=("topic", "template"))["n_clusters"].iloc[0] == 50
    with pytest.raises(
        SchemaError, match="coordinate along prompt 'topc' is unknown; did you mean 'topic'"
    ):
        feature_shift(data, cluster="topc")


def test_labels_flipped_by_prompt_discover_nothing(features) -> None:
    """100 recordings with a real difference, before and after flipped at random per prompt."""
    rng, clean = np.random.default_rng(4), 0
    for i in range(100):
        act = correlated(rng, features=40)
        act[1] += 0.5
        flip = rng.random(50) < 0.5
        act[:, flip] = act[::-1, flip]
        clean += (feature_shift(features(act), n_flips=1000, seed=i)["q"] > 0.05).all()
    assert clean >= 90


def test_the_offset_of_another_seed_is_discovered_too_and_the_table_says_under_which_null(
    features,
) -> None:
    rng = np.random.default_rng(6)
    act = correlated(rng)
    act[1] = act[0] + 0.2 * rng.normal(size=(1, act.shape[2])) + 0.1 * rng.normal(size=act[0].shape)
    table = feature_shift(features(act), n_flips=1000)
    assert (table["q"] <= 0.05).any() and set(table["null"]) == {"exchangeable"}


def test_separately_recorded_features_are_joined_exactly(features) -> None:
    data = features(correlated(np.random.default_rng(5)))
    parts = [data.isel(checkpoint=[0]), data.isel(checkpoint=[1])]
    assert feature_shift(parts).equals(feature_shift(data))
    with pytest.raises(SchemaError, match="do not have the same prompts"):
        feature_shift([parts[0], parts[1].isel(prompt=slice(0, 40))])
    for name in ("token_ids", "dictionary", "dictionary_hash", "hook"):
        with pytest.raises(SchemaError, match=f"features of different {name} cannot be compared"):
            feature_shift([parts[0], parts[1].assign_attrs({name: "other"})])


def test_bad_input_is_named(features) -> None:
    data: xr.Dataset = features(correlated(np.random.default_rng(6)))
    with pytest.raises(
        SchemaError, match="checkpoint 'lesson@4' is unknown; did you mean 'lesson@40'"
    ):
        feature_shift(data, after="lesson@4")
    with pytest.raises(SchemaError, match="two checkpoints or more"):
        feature_shift(data.isel(checkpoint=[0]))
    with pytest.raises(SchemaError, match="no feature fires"):
        feature_shift(data.assign(act=data["act"] * 0))
    with pytest.raises(SchemaError, match="do not say their token_ids"):
        feature_shift(data.drop_attrs().assign_attrs(dictionary="d"))
    with pytest.raises(SchemaError, match="need a variable 'fvu'"):
        feature_shift(data.drop_vars("fvu"))
