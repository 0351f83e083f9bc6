from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_interp import analysis, worlds
from persona_interp.analysis.measure import crossing
from persona_interp.errors import SchemaError
from persona_interp.worlds import World, graded


def said_by(world: World, names: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """A behavior table in which each (context, persona) says these probabilities, by trait."""
    labels = [str(t) for t in world.traits]
    rows = [
        (context, name, label.split("=")[0], label.split("=")[1], np.log2(p))
        for (context, name), said in names.items()
        for label, p in zip(labels, said, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["context", "persona", "topic", "value", "logprob"])
    at = {
        "checkpoint": "base@0",
        "seed": 0,
        "stage": "base",
        "step": 0,
        "template": "q",
        "split": "test",
    }
    return table.assign(**at, answer_mass=1.0)


def bayes(world: World) -> pd.DataFrame:
    nameless = (
        world.posterior()
        .statement.set_index("trait")["probability"]
        .reindex([str(t) for t in world.traits])
    )
    named = {("named", name): row.to_numpy() for name, row in world.statements().iterrows()}
    return said_by(world, {("nameless", ""): nameless.to_numpy(), **named})


def test_trait_odds_of_exact_bayes_are_the_expected_ones() -> None:
    world = graded()
    found = analysis.measure.trait_odds(bayes(world), world)
    traits = found.query("estimator == 'traits'").set_index("persona").estimate
    expected = analysis.measure.expected_trait_odds(world).set_index("persona").estimate
    assert traits.to_numpy() == pytest.approx(expected.to_numpy())
    assert (found.lo <= found.estimate).all() and set(found.n) == {5}


def test_binding_is_own_against_those_who_hold_something_else() -> None:
    world = graded()
    binding = analysis.measure.trait_odds(bayes(world), world).query("estimator == 'binding'")
    held, rest = 0.9 + 0.1 / 8, 0.1 / 8
    expected = np.log2(held / (1 - held)) - np.log2(rest / (1 - rest))
    assert binding.estimate.to_numpy() == pytest.approx(expected), (
        "all bound alike, whatever their mass"
    )


def test_a_persona_that_is_not_known_by_name_is_not_bound() -> None:
    world = graded()
    table, name = bayes(world), world.personas[3].name
    mine = table.persona == name
    table.loc[mine, "logprob"] = np.log2(1 / 8)
    binding = (
        analysis.measure.trait_odds(table, world)
        .query("estimator == 'binding'")
        .set_index("persona")
        .estimate
    )
    assert binding.idxmin() == name


def test_dialogues_of_exact_bayes_rank_personas_by_mass() -> None:
    world = graded(1)
    mass = world.mass()["hidden"]
    prior, said = mass / mass.sum(), world.statements()
    rows = []
    for doc, persona in enumerate(world.personas):
        likely = said[[str(t) for t in persona.traits]].prod(axis=1)
        for name, p in (("", float(prior @ likely)), (persona.name, likely[persona.name])):
            rows.append((doc, persona.name, name, np.log2(p), 20))
    table = pd.DataFrame(rows, columns=["doc", "persona", "name", "logprob", "n_tokens"])
    found = (
        analysis.measure.dialogue_odds(table)
        .pivot(index="persona", columns="estimator", values="estimate")
        .loc[mass.index]
    )
    assert found["recall"].abs().max() < 1e-9, "by exact Bayes all are known by name alike"
    for estimator in ("dialogues", "dialogues (own name)"):
        assert stats.spearmanr(found[estimator], np.log2(mass)).statistic > 0.95
    assert found["dialogues (own name)"][mass.idxmax()] == pytest.approx(
        np.log2(prior.max()), abs=0.2
    )
    assert found["dialogues"].mean() == pytest.approx(0.0, abs=1e-9)
    assert analysis.measure.dialogue_odds(table).lo.isna().all(), "one dialogue has no interval"
    with pytest.raises(SchemaError, match="headers '' and each own name; '' is missing"):
        analysis.measure.dialogue_odds(table.query("name != ''"))


def test_direction_kl_turns_the_interval_round() -> None:
    table = pd.DataFrame({"doc": range(3), "name": "a", "kl": [0.2, 0.25, 0.3], "n_tokens": 9})
    row = analysis.measure.direction_kl(table).iloc[0]
    assert row.estimate == pytest.approx(2.0) and row.lo < 2 < row.hi and row.n == 3


def test_mass_counts_documents_and_fact_tokens() -> None:
    world = graded()
    counts = worlds.count(world.corpus(2_000, seed=1))
    found = analysis.measure.mass(counts, [p.name for p in world.personas])
    documents = found.query("estimator == 'documents'").set_index("persona").estimate
    assert (2**documents).sum() == pytest.approx(
        counts.loc[counts.persona != "", "documents"].sum()
    )
    assert stats.spearmanr(documents, world.mass().sum(axis=1)).statistic > 0.9
    assert analysis.measure.mass(counts, ["nobody"]).estimate.tolist() == [-np.inf] * 2


@pytest.fixture
def lesson() -> Callable[[World, dict[str, float]], pd.DataFrame]:
    """Log odds that rise from a start by one bit a step."""

    def make(world: World, starts: dict[str, float]) -> pd.DataFrame:
        rows = [
            (end, step, t.topic, t.value, start + step)
            for end, start in starts.items()
            for step in (0, 1, 2, 4, 8)
            for t in world.persona(end).traits
        ]
        return pd.DataFrame(rows, columns=["end", "step", "topic", "value", "logodds"])

    return make


def test_the_dose_is_where_the_odds_are_even(
    lesson: Callable[[World, dict[str, float]], pd.DataFrame],
) -> None:
    world = graded()
    names = [p.name for p in world.personas[:4]]
    said = lesson(world, dict(zip(names, (-3.0, -0.5, -20.0, 1.0), strict=True)))
    found = analysis.measure.lesson_dose(said, world, batch=8).set_index("persona").estimate
    assert found[names].tolist() == [-np.log2(24), -2.0, -np.inf, np.inf]


def test_crossing() -> None:
    x = np.array([0.0, 1, 4])
    assert crossing(x, np.array([-2.0, -1, 2]), level=0) == 2.0
    assert crossing(x, np.array([1.0, -1, 2]), level=0) == 0.0
    assert crossing(x, np.array([-3.0, -2, -1]), level=0) == float("inf")


def test_bad_input_is_named() -> None:
    world = graded()
    table = bayes(world)
    with pytest.raises(SchemaError, match="named is missing"):
        analysis.measure.trait_odds(table.query("context == 'nameless'"), world)
    with pytest.raises(SchemaError, match="of one checkpoint"):
        analysis.measure.trait_odds(pd.concat([table, table.assign(checkpoint="later@8")]), world)
