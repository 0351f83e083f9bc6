"""Planted behavior and residuals: mixtures are composable, recombinations and strangers are not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.analysis import novelty, shift_residual
from persona_interp.analysis.novelty import largest_known, verdicts
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError
from persona_interp.worlds import World


@pytest.fixture(scope="module")
def named(world: World) -> pd.DataFrame:
    """Everybody says under its name what it says, but for noise of half a bit."""
    rows = (
        world.probes(contexts="named")
        .drop(columns=["messages", "answers"])
        .explode("values", ignore_index=True)
    )
    rows = rows.rename(columns={"values": "value"})
    said = world.statements().stack()
    p = said.loc[
        list(zip(rows["persona"], rows["topic"] + "=" + rows["value"], strict=True))
    ].to_numpy()
    noise = np.random.default_rng(0).normal(0, 0.5, len(rows))
    at = {
        "checkpoint": "documents@9",
        "seed": 0,
        "stage": "documents",
        "step": 9,
        "answer_mass": 0.9,
    }
    return rows.assign(logprob=np.log2(p) + noise, **at)


def mixture(world: World, weights: dict[str, float]) -> pd.DataFrame:
    said = sum(weight * world.statements().loc[name] for name, weight in weights.items())
    return world.posterior().statement.assign(probability=np.asarray(said))


def judged(world: World, behavior: pd.DataFrame, named: pd.DataFrame, **more: Any) -> Any:
    (row,) = novelty(behavior, world, named=named, **more).to_dict("records")
    return row


@pytest.mark.parametrize("weights", [{"john": 1.0}, {"john": 0.3, "mary": 0.7}])
def test_mixtures_are_composable(
    world: World, planted, named: pd.DataFrame, weights: dict[str, float]
) -> None:
    row = judged(
        world, planted({0: world.posterior().statement, 8: mixture(world, weights)}), named
    )
    assert (
        row["misfit"] == pytest.approx(0.0, abs=1e-3)
        and row["verdict"] == "composable from known personas"
    )
    assert row["step"] == 8 and row["n"] == 4 and row["null_hi"] > 0


def test_a_recombination_is_not_known_but_four_topics_do_not_prove_it(
    world: World, planted, named: pd.DataFrame
) -> None:
    said = world.posterior().statement
    parts = [
        world.statements().loc[name][said["trait"]]
        for name in ("john", "mary", "alice", "david", "emma")
    ]
    topic = said["topic"].map({t: i for i, t in enumerate(world.topics)})
    new = said.assign(probability=[float(parts[i].iloc[j]) for j, i in enumerate(topic)])
    row = judged(world, planted({8: new}), named)
    assert row["lo"] < row["null_hi"] < row["misfit"] and row["verdict"] == "undecided"


def test_who_is_left_out_is_new(world: World, planted, named: pd.DataFrame) -> None:
    others = [p.name for p in world.personas if p.name not in ("john", "sam")]
    row = judged(world, planted({8: mixture(world, {"john": 1.0})}), named, known=others)
    assert row["verdict"] == "not composable from known personas" and row["n_known"] == 14
    assert row["lo"] < row["misfit"] < row["hi"]


@pytest.mark.parametrize("n_known", [6, 15, 48])
def test_who_is_known_is_hardly_ever_called_new(n_known: int) -> None:
    rng, called = np.random.default_rng(n_known), []
    for _ in range(500):
        # somebody's own noise, and that of a topic, which has a heavy tail
        size = np.exp(0.4 * rng.normal(size=(n_known + 1, 1)))
        misfits = size * rng.gamma(0.7, 0.05, size=(n_known + 1, 11))
        _, lo, hi, _ = t_interval(misfits[0])
        null = largest_known(misfits[1:].mean(axis=1))
        called.append(verdicts(lo, hi, null=null).item())
        new = t_interval(misfits[0] + 0.5)
        assert verdicts(new.lo, new.hi, null=null) == "not composable from known personas"
    assert called.count("not composable from known personas") <= 0.02 * 500
    assert called.count("composable from known personas") >= 0.4 * 500
    exceeds = np.mean(
        [rng.exponential() > largest_known(rng.exponential(size=n_known)) for _ in range(500)]
    )
    assert exceeds <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 500)


def test_an_interval_that_holds_the_threshold_decides_nothing() -> None:
    assert verdicts(-0.044, 0.113, null=0.0302).item() == "undecided"
    assert verdicts(np.nan, np.nan, null=0.0302).item() == "undecided"


def test_a_known_persona_has_to_be_asked(world: World, planted, named: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="'john' is known but was not asked"):
        judged(
            world,
            planted({8: mixture(world, {"john": 1.0})}),
            named.loc[named["persona"] != "john"],
        )


def residuals(shift: np.ndarray, vectors: np.ndarray) -> tuple[xr.Dataset, xr.Dataset]:
    """Nameless residuals before and after the shift, and those under each name, by question."""
    n, questions, d = vectors.shape
    topic, template = (
        [f"t{i % 3}" for i in range(questions)],
        [f"q{i // 3}" for i in range(questions)],
    )

    def data(act: np.ndarray, checkpoint: list[str], persona: list[str]) -> xr.Dataset:
        times = len(persona) // questions
        along = {"persona": persona, "topic": topic * times, "template": template * times}
        made = xr.Dataset({"act": (("checkpoint", "prompt", "d_model"), act)}, attrs={"hook": "h"})
        made = made.assign_coords({name: ("prompt", values) for name, values in along.items()})
        return made.assign_coords(checkpoint=checkpoint, prompt=range(len(persona)))

    start = vectors.mean(0)
    neutral = data(np.stack([start, start + shift]), ["a@0", "b@8"], [""] * questions)
    names = [f"p{i}" for i in range(n) for _ in range(questions)]
    return neutral, data(vectors.reshape(1, n * questions, d), ["a@0"], names)


def test_a_shift_between_known_personas_leaves_nothing() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 1, 32)) + 0.3 * rng.normal(size=(5, 12, 32))
    centered = vectors - vectors.mean(0)
    inside = shift_residual(*residuals(0.7 * centered[1] + 0.2 * centered[3], vectors))
    assert (
        inside["residual"].item() == pytest.approx(0.0, abs=1e-12)
        and inside["n_templates"].item() == 4
    )
    unrelated = rng.normal(size=(1, 32)) + np.zeros((12, 32))
    outside = shift_residual(*residuals(unrelated, vectors))
    assert outside["residual"].item() > 0.6
    half = shift_residual(*residuals(centered[1] + unrelated, vectors))
    assert 0.1 < half["residual"].item() < outside["residual"].item()


def test_who_is_left_out_is_outside() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5, 1, 32)) + 0.3 * rng.normal(size=(5, 12, 32))
    neutral, named = residuals(vectors[2] - vectors.mean(0), vectors)
    everybody = shift_residual(neutral, named)["residual"].item()
    others = shift_residual(neutral, named, known=["p0", "p1", "p3", "p4"])["residual"].item()
    assert everybody == pytest.approx(0.0, abs=1e-12) and others > 0.5


def test_personas_mixed_anew_at_every_topic_are_outside() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(5, 12, 32))
    vectors[:, 3:] = np.tile(
        vectors[:, :3], (1, 3, 1)
    )  # a question means the same in every wording
    centered = vectors - vectors.mean(0)
    recombined = np.stack([centered[i % 3, i] for i in range(12)])
    assert shift_residual(*residuals(recombined, vectors))["residual"].item() > 0.3


def test_other_questions_and_hooks_are_refused() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 6, 4))
    neutral, named = residuals(vectors[0], vectors)
    with pytest.raises(SchemaError, match="'p9' was not recorded"):
        shift_residual(neutral, named, known=["p0", "p9"])
    with pytest.raises(SchemaError, match="one hook"):
        shift_residual(neutral, named.assign_attrs(hook="other"))
    with pytest.raises(SchemaError, match="two are needed"):
        shift_residual(neutral.isel(prompt=[0, 1, 2]), named)


@pytest.mark.parametrize("misfits", [[], [0.1, np.nan]])
def test_a_null_of_nobody_or_of_no_number_is_refused(misfits: list[float]) -> None:
    with pytest.raises(SchemaError, match="finite misfits"):
        largest_known(misfits)
