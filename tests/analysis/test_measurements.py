"""Numbers from scores, residuals and features; random directions; what a mean shift is made of."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis.measurements import measure_projections, random_range, sound_shift
from persona_interp.analysis.span import span_share
from persona_interp.errors import SchemaError


def acts(values: np.ndarray) -> xr.Dataset:
    data = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), values)}, attrs={"hook": "h"})
    labels = ["base", "tuned", "more"][: values.shape[0]]
    return data.assign_coords(checkpoint=labels, prompt=[f"p{i}" for i in range(values.shape[1])])


def directions(values: np.ndarray) -> xr.DataArray:
    made = xr.DataArray(values[:, None], dims=("name", "hook", "d_model"))
    return made.assign_coords(name=[f"v{i}" for i in range(len(values))], hook=["h"])


def test_a_projection_does_not_depend_on_the_vectors_length() -> None:
    rng = np.random.default_rng(0)
    data, v = acts(rng.normal(size=(2, 3, 8))), rng.normal(size=(2, 8))
    one, other = (measure_projections(data, directions(scale * v))["value"] for scale in (1, 7))
    np.testing.assert_allclose(one, other)
    assert one.iloc[1] == pytest.approx(data["act"].values[0, 0] @ v[1] / np.linalg.norm(v[1]))
    with pytest.raises(SchemaError, match="8 wide, the activations 9"):
        measure_projections(acts(np.zeros((1, 1, 9))), directions(v))


def test_the_share_of_a_planted_shift_and_of_a_random_one() -> None:
    rng = np.random.default_rng(0)
    base, v, drawn = rng.normal(size=(20, 64)), rng.normal(size=(3, 64)), rng.normal(size=(60, 64))
    noise = 0.01 * rng.normal(size=(2, 20, 64))
    both = np.stack([base, base + v[0] + v[2] + noise[0], base + rng.normal(size=64) + noise[1]])
    found = span_share(acts(both), directions(v), directions(drawn), base="base").set_index(
        "checkpoint"
    )
    planted, other = found.loc["tuned"], found.loc["more"]
    assert planted["share"] > 0.99 > planted["null_hi"] and planted["n_vectors"] == 3
    assert other["null_lo"] <= other["share"] <= other["null_hi"]
    again = directions(np.concatenate([v, v[:1]]))  # a vector twice spans no more
    assert span_share(acts(both), again, directions(drawn), base="base")["n_vectors"].iloc[0] == 3
    with pytest.raises(SchemaError, match="as many random ones"):
        span_share(acts(both), directions(v), directions(drawn[:2]), base="base")


def test_features_are_seen_among_those_that_fire_as_much() -> None:
    n = 120
    table = pd.DataFrame(
        {"quantity": [str(i) for i in range(n)], "before": np.arange(n) // 60 * 10.0}
    )
    table["estimate"] = np.where(table["before"] > 0, 5.0, 0.1) + np.linspace(-0.01, 0.01, n)
    table = table.assign(family="feature", hook="sae", checkpoint="tuned", role="tuned")
    random = pd.DataFrame(columns=["checkpoint", "hook", "quantity", "value"])
    found = random_range(table, random, base="base")
    quiet, loud = found.loc[found["before"] == 0], found.loc[found["before"] > 0]
    assert (
        quiet["random_hi"].max() < 0.2
        and loud["random_lo"].min() > 4.9
        and (found["n_random"] == 50).all()
    )


def test_answers_are_compared_where_both_are_there() -> None:
    row = {"sample": 0, "trait": "wry", "judge": "base", "n_tokens": 4, "bits_neg": 1.0}
    asked = [("base", "a", 1.0), ("base", "b", 3.0), ("tuned", "a", 5.0), ("tuned", "c", 9.0)]
    table = pd.DataFrame(
        [{**row, "checkpoint": c, "prompt": p, "bits_pos": bits} for c, p, bits in asked]
    )
    (found,) = sound_shift(table, base="base").to_dict("records")
    assert (found["before"], found["after"], found["estimate"], found["n"]) == (0.0, 1.0, 1.0, 1)
    with pytest.raises(SchemaError, match="did you mean 'base'"):
        sound_shift(table, base="bsae")
