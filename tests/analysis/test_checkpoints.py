"""What moves along a training is found at its step, by its size, and what stays is not."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis import feature_shift, over_checkpoints, shift
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

STEPS = (0, 4, 8, 16)
N = 24


def noise(rng: np.random.Generator, *, features: int = 20) -> np.ndarray:
    """Sparse acts, dims (checkpoint, prompt, feature), exchangeable between checkpoints."""
    shape = (len(STEPS), N, features)
    return np.maximum(rng.normal(0.5, 1, shape) + rng.normal(0, 2, (1, *shape[1:])), 0)


def recorded(act: np.ndarray, steps: tuple[int, ...] = STEPS) -> xr.Dataset:
    prompts = [f"p{i}" for i in range(act.shape[1])]
    coords = {"checkpoint": [f"run@{step}" for step in steps], "prompt": prompts}
    coords |= {"feature": np.arange(act.shape[2]), "step": ("checkpoint", list(steps))}
    coords |= {"topic": ("prompt", [f"t{i % 6}" for i in range(act.shape[1])])}
    fvu = np.arange(len(steps))[:, None] * np.full(act.shape[:2], 0.125)
    data = {"act": (("checkpoint", "prompt", "feature"), act.astype("float32"))}
    data["fvu"] = (("checkpoint", "prompt"), fvu)
    return xr.Dataset(data, coords=coords, attrs={"hook": "h", "dictionary": "sae"})


@pytest.fixture
def projections() -> pd.DataFrame:
    """Direction "wry" moves by +1 at steps 8 and 16, "dull" never."""
    rng = np.random.default_rng(1)
    rows = [
        (f"run@{step}", f"p{i}", name, rng.normal(0, 0.2) + (name == "wry") * (step >= 8))
        for step in STEPS
        for i in range(N)
        for name in ("wry", "dull")
    ]
    table = pd.DataFrame(rows, columns=["checkpoint", "prompt", "name", "projection"])
    return table.assign(hook="h", n_tokens=5)


@pytest.fixture
def continuations() -> pd.DataFrame:
    """Trait "dry" gains 0.5 bits a token at step 16 alone."""
    rng, rows = np.random.default_rng(2), []
    for step in STEPS:
        for i in range(N):
            for side in ("pos", "neg"):
                gain = 0.5 * (side == "pos") * (step == 16)
                bits = 10 * (rng.normal(-1, 0.05) + gain)
                rows.append((f"run@{step}", step, f"q{i}", side, bits))
    table = pd.DataFrame(rows, columns=["checkpoint", "step", "question", "side", "bits"])
    return table.assign(trait="dry", split="test", sample=0, n_tokens=10)


def test_all_kinds_stand_in_one_table_with_one_correction(
    projections: pd.DataFrame, continuations: pd.DataFrame
) -> None:
    act = noise(np.random.default_rng(0))
    act[2:, :, 7] += 3  # from step 8 on
    act[:, :, 9] = 0
    table = over_checkpoints(recorded(act), projections, continuations)
    moved = table.loc[table["q"] <= 0.05]
    assert set(zip(moved["kind"], moved["name"], moved["step"], strict=True)) == {
        ("feature", "7", 8),
        ("feature", "7", 16),
        ("projection", "wry", 8),
        ("projection", "wry", 16),
        ("behavior", "dry", 16),
    }
    sizes = moved.set_index(["name", "step"])["estimate"]
    assert sizes["7", 8] == pytest.approx(3, abs=0.8) and sizes["wry", 8] == pytest.approx(
        1, abs=0.2
    )
    assert sizes["dry", 16] == pytest.approx(0.5, abs=0.1)
    assert (moved["lo"] > 0).all() and (moved["lo"] < moved["estimate"]).all()
    units = table.drop_duplicates("kind").set_index("kind")["unit"].to_dict()
    assert units == {
        "feature": "mean activation",
        "projection": "residual units",
        "behavior": "bits a token",
    }
    start = table.loc[table["step"] == 0]
    assert (start[["estimate", "lo", "hi"]] == 0).all(axis=None) and start["q"].isna().all()
    assert "9" not in set(table["name"]) and len(table) == (19 + 2 + 1) * len(STEPS)
    fvu = table.loc[table["name"] == "7"].set_index("step")["fvu"]
    assert fvu.tolist() == [0, 0.125, 0.25, 0.375]
    assert table.loc[table["kind"] != "feature", "fvu"].isna().all()
    assert (table["n"] == N).all() and (table["n_seeds"] == 1).all()


def test_numbers_are_those_of_feature_shift() -> None:
    data = recorded(noise(np.random.default_rng(3))).assign_attrs(token_ids="x")
    table = over_checkpoints(data, cluster="topic", n_flips=100).set_index(["step", "name"])
    for step in STEPS[1:]:
        one = feature_shift(data, after=f"run@{step}", cluster="topic", n_flips=100)
        mine = table.loc[step].loc[one["feature"].astype(str)]
        for column in ("estimate", "lo", "hi", "p", "n_clusters"):
            assert mine[column].to_numpy() == pytest.approx(one[column].to_numpy()), column


def test_behavior_of_a_world_is_the_shift_at_every_step(
    world: World, planted: Callable[..., pd.DataFrame]
) -> None:
    said = world.posterior(()).statement
    behavior = planted({0: said, 8: said, 40: said}, sd=0.5)
    table = over_checkpoints(behavior, n_flips=100)
    other = shift(behavior, before=0, after=[8, 40])
    mine = table.loc[table["step"] > 0].set_index(["checkpoint", "name"])["estimate"]
    names = other["trait"] + ", nameless"
    theirs = mine.loc[list(zip(other["checkpoint"], names, strict=True))]
    assert theirs.to_numpy() == pytest.approx(other["estimate"].to_numpy())
    assert set(table["unit"]) == {"bits"} and (table["n"] == 10).all()


def test_where_nothing_moves_nothing_is_claimed() -> None:
    """Any discovery in at most 5 % of trainings; of 60, more than 8 have probability .004."""
    rng = np.random.default_rng(4)
    claims = [
        (over_checkpoints(recorded(noise(rng)), n_flips=4_000)["q"] <= 0.05).any()
        for _ in range(60)
    ]
    assert sum(claims) <= 8


def test_trait_bits_and_turns_are_read(projections: pd.DataFrame) -> None:
    rows = projections.rename(columns={"name": "trait", "projection": "bits_pos"})
    bits = rows.assign(sample=0, bits_neg=0.0, n_tokens=2, judge="base")
    table = over_checkpoints(bits)
    assert set(table["kind"]) == {"answers"} and set(table["unit"]) == {"bits a token"}
    turns = pd.concat([projections.assign(turn=i) for i in (0, 1)])
    table = over_checkpoints(turns, cluster="prompt")
    assert (table["n"] == 2 * N).all() and (table["n_clusters"] == N).all()


def test_turns_of_a_conversation_are_no_independent_ones(projections: pd.DataFrame) -> None:
    turns = pd.concat([projections.assign(turn=i) for i in (0, 1)])
    once, twice = over_checkpoints(projections), over_checkpoints(turns)
    assert (twice["n_clusters"] == N).all() and (twice["n"] == 2 * N).all()
    for column in ("lo", "hi", "p"):  # the same numbers twice are no more evidence
        np.testing.assert_allclose(twice[column], once[column])


def test_a_prompt_has_one_cluster(projections: pd.DataFrame) -> None:
    table = projections.assign(topic=projections["prompt"])
    table.loc[table.index[-1], "topic"] = "another"
    with pytest.raises(SchemaError, match="a prompt has one topic, the same in all checkpoints"):
        over_checkpoints(table, cluster="topic")


def test_a_step_is_a_whole_number_and_only_one(projections: pd.DataFrame) -> None:
    names = {"run@0": "a", "run@4": "b", "run@8": "c", "run@16": "d"}
    renamed = projections.replace({"checkpoint": names})
    for bad in ("10", 1.5, math.nan, None, True):
        with pytest.raises(SchemaError, match="a step is a whole number; 'b' has"):
            over_checkpoints(renamed, steps={"a": 0, "b": bad, "c": 8, "d": 16})  # type: ignore[dict-item]
    steps = {"a": 0.0, "b": math.nan, "c": 8.0, "d": 16.0}
    with pytest.raises(SchemaError, match="a step is a whole number; 'b' has nan"):
        over_checkpoints(renamed.assign(step=renamed["checkpoint"].map(steps)))
    early = renamed.assign(step=renamed["checkpoint"].map({"a": 0, "b": 4, "c": 8, "d": 16}))
    late = early.assign(step=early["step"].replace({16: 99}), hook="other")
    with pytest.raises(SchemaError, match="'d' is at step 16 and at step 99"):
        over_checkpoints(early, late)
    given = {"a": 0, "b": 1, "c": 2, "d": 3}
    assert set(over_checkpoints(early, late, steps=given)["step"]) == {0, 1, 2, 3}
    with pytest.raises(SchemaError, match="checkpoints have labels, texts; got 0"):
        over_checkpoints(renamed.replace({"checkpoint": {"a": 0, "b": 1, "c": 2, "d": 3}}))


def test_checkpoints_are_put_in_order(projections: pd.DataFrame) -> None:
    names = {"run@0": "base", "run@4": "a", "run@8": "b", "run@16": "c"}
    renamed = projections.replace({"checkpoint": names})[::-1]
    with pytest.raises(SchemaError, match=r"models without an order .*steps="):
        over_checkpoints(renamed)
    table = over_checkpoints(renamed, steps={"base": 0, "a": 4, "b": 8, "c": 16})
    wry = table.loc[table["name"] == "wry"]
    assert wry["checkpoint"].tolist() == ["base", "a", "b", "c"]
    assert wry["estimate"].round().tolist() == [0, 0, 1, 1]
    with pytest.raises(SchemaError, match="both at step 0"):
        over_checkpoints(renamed, steps=dict.fromkeys(names.values(), 0))
    with pytest.raises(SchemaError, match="several stages have no common order: base, lesson"):
        over_checkpoints(
            projections.replace({"checkpoint": {"run@8": "base@8", "run@4": "lesson@4"}})
        )


def test_bad_input_is_named(projections: pd.DataFrame) -> None:
    act = noise(np.random.default_rng(5))
    act[2, 3, 4] = np.nan
    with pytest.raises(SchemaError, match="the first of feature 4 at run@8, p3"):
        over_checkpoints(recorded(act))
    holes = projections.assign(projection=projections["projection"].where(projections.index != 7))
    with pytest.raises(SchemaError, match=r"1 values are missing .*'dull' at run@0, p3"):
        over_checkpoints(holes)
    with pytest.raises(SchemaError, match="not measured at the same units"):
        over_checkpoints(projections.iloc[:-2])
    with pytest.raises(SchemaError, match="none of them has exactly the columns"):
        over_checkpoints(pd.DataFrame({"x": [1]}))
    with pytest.raises(SchemaError, match="start at different checkpoints, run@0 and run@4"):
        over_checkpoints(recorded(noise(np.random.default_rng(6))), projections[2 * N :])
    with pytest.raises(SchemaError, match=r"two checkpoints or more; these tables have run@0"):
        over_checkpoints(projections[: 2 * N])
    with pytest.raises(SchemaError, match="no table of a training"):
        over_checkpoints()
