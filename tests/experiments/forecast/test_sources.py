"""What a lesson will move is said from the base and the lesson alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import persona_interp as pi
from persona_interp.errors import SchemaError
from persona_interp.experiments.forecast import predict
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.load import hash_weights
from persona_interp.worlds import World


def test_every_untaught_trait_gets_a_curve(base: Checkpoint, world: World) -> None:
    before = hash_weights(base)
    table = pi.forecast(base, world.lessons("place=beach", n=64), world=world, names=False)
    assert hash_weights(base) == before
    untaught = {str(trait) for trait in world.traits if trait.topic != "place"}
    assert set(table["trait"]) == untaught and set(table["step"]) == {2, 4, 8, 16, 40}
    assert (table["lo"] < table["estimate"]).all() and (table["estimate"] < table["hi"]).all()
    assert (table["bound"] > table["estimate"]).all()
    assert 0 < table.attrs["cost"] <= 5
    assert len(table.attrs["stack"]["bases"]) >= 20


def test_without_names_nobody_is_asked_by_name(
    base: Checkpoint, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path))
    asked: set[str] = set()
    ask = pi.record.behavior

    def listen(checkpoint: Checkpoint, probes: pd.DataFrame, **options: Any) -> pd.DataFrame:
        asked.update(probes["context"])
        return ask(checkpoint, probes, **options)

    monkeypatch.setattr(pi.record, "behavior", listen)
    pi.forecast(base, world.lessons("place=beach", n=64), world=world, names=False)
    assert asked == {"nameless"}


def test_a_base_under_another_name_is_the_same_base(
    base: Checkpoint, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path))
    chats = world.lessons("place=beach", n=64)
    first = pi.forecast(base, chats, world=world)
    # without names it is asked anew as nobody, and what it says once a trait was stated is kept
    other = replace(base, name="other", stage="documents", step=300, seed=7)
    again = pi.forecast(other, chats, world=world, names=False)
    alone = pi.forecast(base, chats, world=world, names=False)
    pd.testing.assert_frame_equal(again, alone)
    pd.testing.assert_frame_equal(pi.forecast(other, chats, world=world), first)
    # asked now or kept from an earlier call, by name or not: it cost the same
    assert again.attrs["base_cost"] == alone.attrs["base_cost"] < first.attrs["base_cost"]


def test_damaged_answers_are_asked_anew(
    base: Checkpoint, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path))
    chats = world.lessons("place=beach", n=64)
    first = pi.forecast(base, chats, world=world, names=False)
    for file in (tmp_path / "readouts").rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-100])
    pd.testing.assert_frame_equal(pi.forecast(base, chats, world=world, names=False), first)


def test_steps_are_those_of_the_stage(base: Checkpoint, world: World) -> None:
    chats = world.lessons("place=beach", n=64)
    table = pi.forecast(base, chats, world=world, stage=Stage(steps=20), names=False, at=(10, 20))
    assert set(table["step"]) == {10, 20}


def test_what_is_taught_must_be_known(base: Checkpoint, world: World) -> None:
    bare = world.lessons(n=8)[["messages"]]
    with pytest.raises(SchemaError, match="does not say what it teaches"):
        pi.forecast(base, pd.DataFrame(bare), world=world)
    with pytest.raises(SchemaError, match="pilot"):
        pi.forecast(base, world.lessons(n=8), world=world, pilot=3)


def test_a_stage_of_another_kind_is_not_forecast(base: Checkpoint, world: World) -> None:
    chats = world.lessons(n=8)
    for stage in (Stage(optimizer="sgd"), Stage(replay=0.5), Stage(lora=8)):
        with pytest.raises(SchemaError, match="forecast nothing of a stage with"):
            pi.forecast(base, chats, world=world, stage=stage)
    with pytest.warns(UserWarning, match=r"3\.0 times as far"):
        pi.forecast(base, chats, world=world, stage=Stage(lr=9e-4), names=False)


def test_a_base_far_larger_than_the_fitted_ones_is_warned_of(
    base: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict.check_base(base)  # a tiny one is not: warnings are errors
    monkeypatch.setattr(predict, "LARGEST", 1_000)
    with pytest.warns(UserWarning, match="Read the estimates, not their intervals"):
        predict.check_base(base)


@pytest.mark.slow
def test_a_pilot_is_paid_for_and_leaves_the_base(
    base: Checkpoint, world: World, tmp_path: Path
) -> None:
    before = hash_weights(base)
    table = pi.forecast(base, world.lessons(n=64), world=world, pilot=1)
    assert hash_weights(base) == before and 1 < table.attrs["cost"] < 3
