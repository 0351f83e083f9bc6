"""Traits with one feature, with features beside each other, and with none."""

import numpy as np
import pytest
import xarray as xr

from persona_interp.analysis import companions
from persona_interp.errors import SchemaError
from persona_interp.worlds import john_and_sam

N = 960


def features(*, seed: int = 0) -> xr.Dataset:
    """Feature 0 says what john says of sport and of art; 1 that somebody says it loves tennis."""
    rng, world = np.random.default_rng(seed), john_and_sam()
    own = {t.topic: t.value for t in world.persona("john").traits}
    rows = []
    for i in range(N):
        topic = ("sport", "art")[i % 2]
        values = world.topics[topic]
        john = (i // 2) % 3 == 0
        others = [v for v in values if v != own[topic]]
        value = own[topic] if john else others[(i // 6) % len(others)]
        act = [float(john), float(value == others[0] and topic == "sport"), rng.random()]
        rows.append((topic, value, "train" if (i // 4) % 2 else "test", act))
    topics, values, splits, acts = zip(*rows, strict=True)
    coords = {name: ("prompt", list(column)) for name, column in
              (("topic", topics), ("value", values), ("split", splits))}  # fmt: skip
    data = {
        "act": (("checkpoint", "prompt", "feature"), np.array([acts])),
        "fvu": (("checkpoint", "prompt"), np.zeros((1, N))),
    }
    coords |= {"checkpoint": ["base"], "prompt": np.arange(N), "feature": [0, 1, 2]}
    return xr.Dataset(data, coords=coords)


TOGETHER = np.array([[80.0, 10, 0], [10, 20, 0], [0, 0, 240]])
DECODER = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])


def test_traits_of_one_persona_share_its_feature_and_others_do_not() -> None:
    world = john_and_sam()
    own = {t.topic: str(t) for t in world.persona("john").traits}
    table = companions(features(), together=TOGETHER, decoder=DECODER, world=world)
    table = table.set_index(["one", "other"])
    key = (own["sport"], own["art"])
    shared = table.loc[key if key in table.index else key[::-1]]
    assert shared["same"] and shared["overlap"] == 1 and np.isnan(shared["cosine"])
    assert shared["n_holders"] >= 1 and shared["auroc_one"] == 1
    apart = table.loc[~table["same"]]
    assert len(apart) >= 1
    assert apart["overlap"].to_numpy() == pytest.approx(10 / 90)
    assert apart["cosine"].to_numpy() == pytest.approx(0.6)


def test_a_trait_without_a_feature_is_in_no_pair() -> None:
    noise = features()
    rng = np.random.default_rng(1)
    noise["act"] = noise["act"].copy(data=rng.random(noise["act"].shape))
    assert companions(noise, together=TOGETHER, decoder=DECODER, world=john_and_sam()).empty


def test_other_shapes_are_refused() -> None:
    with pytest.raises(SchemaError, match="together="):
        companions(features(), together=np.eye(2), decoder=DECODER, world=john_and_sam())
    two = xr.concat([features(), features().assign_coords(checkpoint=["b"])], "checkpoint")
    with pytest.raises(SchemaError, match="features of one checkpoint"):
        companions(two, together=TOGETHER, decoder=DECODER, world=john_and_sam())
