"""A shift along a planted direction comes out at rank 1, with its sign, size and interval."""

import numpy as np
import pytest
import xarray as xr

from persona_interp.analysis import direction_shift, refit
from persona_interp.errors import SchemaError

HOOK, D, NAMES = "blocks.0.hook_out", 24, ["john", "mary", "sam"]


def directions(*, hooks: tuple[str, ...] = (HOOK,), seed: int = 0) -> xr.DataArray:
    v = 3 * np.random.default_rng(seed).standard_normal((3, len(hooks), D))
    coords = {"name": NAMES, "hook": list(hooks), "d_model": np.arange(D)}
    return xr.DataArray(v.astype(np.float32), dims=("name", "hook", "d_model"), coords=coords)


def shifted(
    along: np.ndarray, *, hook: str = HOOK, noise: float = 1.0, seed: int = 1
) -> xr.Dataset:
    """Fifty prompts (5 topics x 10 templates) that moved by `along` and noise of their own."""
    rng = np.random.default_rng(seed)
    start = 10 * rng.standard_normal((50, D))
    act = np.stack([start, start + along + noise * rng.standard_normal((50, D))])
    coords = {
        "checkpoint": ["base@0", "lesson@8"],
        "prompt": [f"p{i}" for i in range(50)],
        "topic": ("prompt", [f"t{i // 10}" for i in range(50)]),
        "template": ("prompt", [f"q{i % 10}" for i in range(50)]),
    }
    return xr.Dataset(
        {"act": (("checkpoint", "prompt", "d_model"), act)}, coords=coords, attrs={"hook": hook}
    )


def test_the_planted_direction_has_rank_one_and_its_projection() -> None:
    v = directions()
    table = direction_shift(shifted(0.4 * v.sel(name="mary", hook=HOOK).values), v)
    assert list(table["rank"]) == [1, 2, 3] and table["name"][0] == "mary"
    first = table.iloc[0]
    assert 0.95 < first["lo"] < first["cosine"] < first["hi"] <= 1.01
    assert (
        first["projection_lo"] < 0.4 < first["projection_hi"]
        and abs(first["projection"] - 0.4) < 0.03
    )
    assert first["best_other"] == table["cosine"][1] and table["best_other"][1] == first["cosine"]
    assert set(table["n"]) == {50} and set(table["n_clusters"]) == {50}


def test_a_move_away_has_a_negative_sign_and_the_last_rank() -> None:
    v = directions()
    table = direction_shift(shifted(-0.4 * v.sel(name="mary", hook=HOOK).values), v).set_index(
        "name"
    )
    assert table.loc["mary", "rank"] == 3 and table.loc["mary", "cosine"] < -0.95
    assert table.loc["mary", "projection"] == pytest.approx(-0.4, abs=0.03)


def test_before_and_after_swapped_change_the_sign_only() -> None:
    v = directions()
    data = shifted(0.4 * v.sel(name="john", hook=HOOK).values)
    one = direction_shift(data, v).set_index("name")
    other = (
        direction_shift(data, v, before="lesson@8", after="base@0").set_index("name").loc[one.index]
    )
    np.testing.assert_allclose(other[["cosine", "projection"]], -one[["cosine", "projection"]])
    np.testing.assert_allclose(other["lo"], -one["hi"])


def test_no_shift_has_no_cosine_and_projection_zero() -> None:
    v = directions()
    table = direction_shift(shifted(np.zeros(D), noise=0.0), v)
    assert table["cosine"].isna().all() and (table["projection"] == 0).all()


def test_intervals_cover_in_nine_of_ten_runs() -> None:
    """Noise is as long as the shift here, and of 5 topics: a plain cosine would be about .8."""
    v = directions()
    truth = 0.3 * v.sel(name="john", hook=HOOK).values
    hits, cosines = [], []
    for seed in range(60):
        table = direction_shift(shifted(truth, noise=3.0, seed=seed), v, cluster="topic")
        row = table.set_index("name").loc["john"]
        assert row["n_clusters"] == 5 and row["lo"] < row["cosine"] < row["hi"]
        covered = row["lo"] <= 1 <= row["hi"]
        hits.append([row["projection_lo"] <= 0.3 <= row["projection_hi"], covered])
        cosines.append(row["cosine"])
    assert (np.mean(hits, axis=0) > 0.88).all()
    assert np.median(cosines) == pytest.approx(1, abs=0.03)


def test_the_jackknife_leaves_out_a_cluster() -> None:
    v = directions()
    data = shifted(0.4 * v.sel(name="john", hook=HOOK).values, noise=4.0)
    row = direction_shift(data, v, cluster="topic").set_index("name").loc["john"]
    topics = np.unique(data["topic"])
    parts = [data.isel(prompt=np.flatnonzero(data["topic"] != t)) for t in topics]
    tables = [direction_shift(part, v, cluster="topic").set_index("name") for part in parts]
    left = [table.loc["john", "cosine"] for table in tables]
    se = np.sqrt(4 / 5 * np.sum((left - np.mean(left)) ** 2))
    assert row["hi"] - row["cosine"] == pytest.approx(2.776445 * se)


def test_several_hooks_are_ranked_apart() -> None:
    hooks = (HOOK, "blocks.1.hook_out")
    v = directions(hooks=hooks)
    data = [
        shifted(v.sel(name=n, hook=h).values, hook=h)
        for n, h in zip(("john", "sam"), hooks, strict=True)
    ]
    table = direction_shift(data, v)
    assert table.loc[table["rank"] == 1, ["hook", "name"]].values.tolist() == [
        [hooks[0], "john"],
        [hooks[1], "sam"],
    ]


def test_refit_compares_names_whatever_their_order() -> None:
    one, other = directions(), directions(seed=5)
    table = refit(one, 3 * one.isel(name=[2, 0, 1]))
    np.testing.assert_allclose(table["cosine"], 1, rtol=1e-6)
    np.testing.assert_allclose(table["norm_ratio"], 3, rtol=1e-6)
    assert (refit(one, other)["cosine"].abs() < 0.9).all()
    assert (refit(one, -one)["cosine"] < -0.999).all()


def test_bad_input_is_named() -> None:
    v, data = directions(), shifted(np.ones(D))
    with pytest.raises(SchemaError, match="did you mean 'lesson@8'"):
        direction_shift(data, v, after="lesson@9")
    with pytest.raises(
        SchemaError, match=r"hook of the directions 'blocks\.0\.hook_out' is unknown"
    ):
        direction_shift(data, directions(hooks=("blocks.1.hook_out",)))
    with pytest.raises(SchemaError, match="20 wide, the activations 24"):
        direction_shift(data, v.isel(d_model=slice(20)))
    with pytest.raises(SchemaError, match="directions are a DataArray"):
        direction_shift(data, v.sel(name="john"))
    with pytest.raises(SchemaError, match="different ones"):
        refit(v, v.isel(name=[0, 1]))
