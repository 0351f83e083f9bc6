"""Which features a lesson will move is said from the base, the lesson and a dictionary."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import persona_interp as pi
from persona_interp import analysis, models, record, schema
from persona_interp.analysis.stack import Stack, StackLine
from persona_interp.errors import ModelError, SchemaError
from persona_interp.experiments.forecast import features as room
from persona_interp.experiments.forecast.features import (
    feature_levels,
    feature_moves,
    forecast_features,
)
from persona_interp.experiments.forecast.stacks import FEATURE_STACKS, OF_FEATURES, open_stack
from persona_interp.models import Checkpoint, Stage
from persona_interp.models.load import hash_weights
from persona_interp.worlds import World

HOOK = "blocks.1.hook_out"
SILENT = 7


def relu(d: int = 64, hook: str = HOOK) -> Any:
    """Every coordinate of the residual a feature where it is positive; one never is."""
    W_dec = torch.eye(d)
    own = SimpleNamespace(name="relu", hook=hook, W_dec=W_dec, mean=torch.zeros(d))
    alive = torch.arange(d) != SILENT
    own.encode, own.decode = (lambda acts: acts.clamp(min=0) * alive), (lambda feats: feats)
    return own


@pytest.fixture(scope="module")
def lesson(world: World) -> pd.DataFrame:
    return world.lessons("place=beach", n=64)


@pytest.fixture(scope="module")
def table(base: Checkpoint, world: World, lesson: pd.DataFrame) -> pd.DataFrame:
    return forecast_features(base, lesson, sae=relu(), world=world, at=(8, 40))


def test_it_is_what_forecast_says_of_a_dictionary(
    base: Checkpoint, world: World, lesson: pd.DataFrame, table: pd.DataFrame
) -> None:
    told = pi.forecast(base, lesson, world=world, features=relu(), at=(8, 40))
    pd.testing.assert_frame_equal(told, table)
    with pytest.raises(SchemaError, match="read at the questions of a world"):
        pi.forecast(base, lesson, features=relu())
    with pytest.raises(SchemaError, match="read at the questions of a world"):
        pi.forecast(base, lesson, features=relu(), world=world, traits="traits")


def test_every_feature_that_is_active_gets_a_curve(table: pd.DataFrame) -> None:
    schema.check(table, "forecast_features")
    silent = table.attrs["silent"]
    assert SILENT in silent and set(table["feature"]) == set(range(64)) - set(silent)
    assert set(table["step"]) == {8, 40} and not table.duplicated(["feature", "step"]).any()
    assert (table["lo"] < table["estimate"]).all() and (table["estimate"] < table["hi"]).all()
    assert (table["bound"] > table["estimate"]).all()
    for _, own in table.groupby("step"):
        assert own["estimate"].is_monotonic_decreasing
    assert 0 < table.attrs["cost"] and table.attrs["fvu"] > 0
    assert len(table.attrs["stack"]["bases"]) >= 20


def test_the_base_stays_as_it_is(base: Checkpoint, world: World, lesson: pd.DataFrame) -> None:
    before = hash_weights(base)
    asked = world.probes(contexts=("nameless",)).head(8)
    told = forecast_features(base, lesson, sae=relu(), prompts=asked, pilot=1, features=[3, 9, 30])
    assert hash_weights(base) == before
    assert set(told["feature"]) == {3, 9, 30} - set(told.attrs["silent"])
    assert told.attrs["cost"] > 1 and told.attrs["about"]["world"] == ""


def test_a_forecast_is_of_what_is_measured(base: Checkpoint, world: World) -> None:
    """Shifts of the stacks are those of ``analysis.feature_shift``, on a feature's scale."""
    other = models.resolve("tiny", words=world.words(), seed=5)
    asked = world.probes(contexts=("nameless",)).head(12)
    levels = feature_levels(base, asked, dictionary=relu())
    moves = feature_moves([other], levels, asked, dictionary=relu())
    both = [record.features(one, asked, dictionary=relu()) for one in (base, other)]
    both[1] = both[1].assign_coords(checkpoint=["other"])
    shift = analysis.feature_shift(both).set_index("feature")["estimate"]
    moved = (moves["estimate"] * moves["scale"]).set_axis(moves["trait"].astype(int))
    assert len(moved) == 64 and 0 < len(shift) < 64
    for feature in range(64):  # those that fire in neither are not among the shifts
        assert moved[feature] == pytest.approx(shift.get(feature, 0.0), abs=1e-6)


def test_a_silent_feature_has_a_scale(base: Checkpoint, world: World) -> None:
    """SD over the tokens of the prompts, plus the median of those that have one."""
    asked = world.probes(contexts=("nameless",)).head(12)
    levels = feature_levels(base, asked, dictionary=relu()).set_index("feature")
    every = record.features(base, asked, dictionary=relu(), position="all", where=models.ROLES[:-1])
    sd = every["act"][0].std("token").to_numpy()
    assert every.sizes["token"] > len(asked) and sd[SILENT] == 0
    np.testing.assert_allclose(levels["scale"], sd + np.median(sd[sd > 0]), rtol=1e-5)
    assert not levels["fires"][SILENT] and levels["fires"].any()


def test_a_plain_line_gives_back_the_moved_activations(
    base: Checkpoint, world: World, lesson: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On scales and off them again: one predictor, counted as it is."""
    (word, *_), n = FEATURE_STACKS[OF_FEATURES[1]], 4
    line = StackLine(1.0, (1.0, *[0.0] * (n - 1)), 0.0, 0.0, (0.5, 0.0), 2.0, 3.0, 1.0)
    monkeypatch.setattr(room, "open_stack", lambda name: Stack((str(word),), (line,)))
    asked = world.probes(contexts=("nameless",)).head(8)
    told = forecast_features(base, lesson, sae=relu(), prompts=asked, pilot=1).set_index("feature")
    before = record.features(base, asked, dictionary=relu())["act"][0].mean("prompt")
    after = record.pilot_features(base, lesson, asked, dictionary=relu())["act"][0].mean("prompt")
    levels = feature_levels(base, asked, dictionary=relu()).set_index("feature")
    for feature, row in told.iterrows():
        moved = float(after.sel(feature=feature) - before.sel(feature=feature))
        assert row["estimate"] == pytest.approx(moved, abs=1e-5)
        scale = levels["scale"][feature]
        assert row["hi"] - row["estimate"] == pytest.approx(scale, rel=1e-3)
        assert row["bound"] - row["estimate"] == pytest.approx(1.5 * scale, rel=1e-3)


def test_first_mistakes_are_named(base: Checkpoint, world: World, lesson: pd.DataFrame) -> None:
    def refused(match: str, error: type[Exception] = SchemaError, **options: Any) -> None:
        with pytest.raises(error, match=match):
            forecast_features(base, lesson, **{"sae": relu(), "world": world, **options})

    refused("distinct features from 0 to 63 of relu; got .64", features=[64])
    refused("reads width 32", ModelError, sae=relu(32))
    refused("hook", ModelError, sae=relu(hook="blocks.7.hook_out"))
    refused("expected a dictionary", ModelError, sae=5)
    refused("give one of world= and prompts=", world=None)
    refused("give one of world= and prompts=", prompts=world.probes())
    refused("pilot '3' is unknown", pilot=3)
    refused("nothing of a stage with optimizer='sgd'", stage=Stage(optimizer="sgd"))
    refused("nothing can be forecast of them", features=[SILENT])


@pytest.mark.parametrize("name", FEATURE_STACKS)
def test_every_stack_knows_where_it_comes_from(name: str) -> None:
    stack = open_stack(name)
    assert stack.names == tuple(map(str, FEATURE_STACKS[name]))
    assert [line.fraction for line in stack.lines] == [0.05, 0.1, 0.2, 0.4, 1.0]
    assert all(np.isfinite(line.reach) for line in stack.lines)
    assert len(stack.provenance["bases"]) >= 20
    assert max(map(int, stack.provenance["bases"])) < 100
