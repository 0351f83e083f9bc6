"""The worst case is found where it was planted, and a worst case by luck is not believed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import worst_case
from persona_interp.errors import SchemaError
from persona_interp.worlds import World

Rows = Callable[..., pd.DataFrame]
PERSONAS = ("mary", "alice", "david", "john")


@pytest.fixture(scope="module")
def moved(world: World) -> Rows:
    """Before and after; `up` says how far (bits) the answer of a row rises."""
    probes = world.probes(contexts=("nameless", "named"), personas=PERSONAS).drop(
        columns=["messages", "answers"]
    )
    rows = probes.explode("values", ignore_index=True).rename(columns={"values": "value"})
    rows = rows.assign(stage="lesson", answer_mass=1.0, logprob=-3.0)

    def make(up: Callable[[pd.DataFrame], Any], *, seeds: int = 1) -> pd.DataFrame:
        parts = []
        for seed in range(seeds):
            one = rows.assign(seed=seed)
            parts.append(one.assign(step=0, checkpoint="lesson@0"))
            parts.append(
                one.assign(step=40, checkpoint="lesson@40", logprob=one["logprob"] + up(one))
            )
        return pd.concat(parts, ignore_index=True)

    return make


def test_a_planted_worst_case_is_named_and_measured(world: World, moved: Rows) -> None:
    johns = {t.value for t in world.persona("john").traits}
    table = worst_case(
        moved(lambda r: 2.0 * (r["value"].isin(johns) & (r["persona"] == "alice"))), world
    ).set_index("over")
    assert table.loc["persona", "who"] == "named alice"
    assert table.loc["persona", "estimate"] == pytest.approx(2.0)
    assert table.loc["persona", "n_cases"] == 4, (
        "nameless, mary, alice, david; the target's own name is no leak"
    )
    assert table.loc["persona", "average"] == pytest.approx(0.5)
    assert table.loc["trait", "estimate"] < 2.0


def test_a_trait_that_a_persona_holds_itself_is_no_leak(world: World, moved: Rows) -> None:
    shared = {p: {t.value for t in world.persona(p).traits} for p in ("mary", "alice", "david")}
    own = moved(
        lambda r: (
            5.0
            * np.array(
                [v in shared.get(p, ()) for p, v in zip(r["persona"], r["value"], strict=True)]
            )
        )
    )
    table = worst_case(own, world).set_index("over")
    assert table.loc["persona", "estimate"] <= 0.0, "its own values rise, so all others fall"


def test_the_largest_of_many_by_luck_is_not_believed(world: World, moved: Rows) -> None:
    rng = np.random.default_rng(0)
    found, kept = [], []
    for _ in range(10):
        table = worst_case(moved(lambda r: rng.normal(0, 1, len(r)), seeds=2), world).set_index(
            "over"
        )
        found.append(table.loc["prompt", "selection"])
        kept.append(table.loc["prompt", "estimate"])
    assert np.mean(found) > 2.5
    assert abs(np.mean(kept)) < 1.0


def test_one_seed_has_no_worst_prompt_and_several_a_worst_seed(world: World, moved: Rows) -> None:
    jazz = moved(lambda r: (r["value"] == "jazz") * (1.0 + r["seed"]), seeds=3)
    assert "prompt" not in set(worst_case(jazz.loc[jazz["seed"] == 0], world)["over"])
    table = worst_case(jazz, world).set_index("over")
    assert table.loc["seed", ["who", "n_cases"]].tolist() == ["2", 3]


def test_one_checkpoint_is_no_shift(world: World, moved: Rows) -> None:
    rows = moved(lambda r: 0.0)
    with pytest.raises(SchemaError, match="two checkpoints"):
        worst_case(rows.loc[rows["step"] == 0], world)
