"""What is planted is there, and nothing else is."""

import numpy as np
import pytest

import plants


def test_one_feature_is_switched_on_and_the_others_are_exchangeable() -> None:
    tables = plants.switched_on(np.random.default_rng(0), 400, 3)
    controls = [tables[name] for name in plants.control_names(3)]
    silent = slice(2, round(plants.SILENT * 400))
    assert all(not table[:, silent].any() for table in tables.values())
    plant = int(plants.PLANT)
    assert tables["tuned"][:, plant].min() > 2
    assert not any(table[:, plant].any() for table in (tables["base"], *controls))
    assert sum(np.count_nonzero(table[:, int(plants.JITTER)]) for table in controls) == 1


def test_a_farther_finetune_is_farther_by_what_is_said() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(200):
        tables, distance = plants.farther(rng, 3, 4.0)
        ratios.append(np.sqrt(distance["tuned"] / distance["control 0"]))
        assert set(distance) == set(tables) - {"base"}
    assert np.median(ratios) == pytest.approx(4.0, rel=0.1)


def test_scores_and_firing_have_the_true_auroc() -> None:
    rng = np.random.default_rng(0)
    values, positive = plants.scores(rng, (0.8, 0.95), n=(2_000, 2_000), correlation=0.8)
    for column, area in zip(values.T, (0.8, 0.95), strict=True):
        wins = column[positive][:, None] > column[~positive]
        assert wins.mean() == pytest.approx(area, abs=0.02)
    assert np.corrcoef(values[positive].T)[0, 1] == pytest.approx(0.8, abs=0.05)
    fires, area = plants.firing(rng, (0.65, 0.1), n=(2_000, 2_000), n_features=1)
    first, second = fires[:2_000, 0][:, None], fires[2_000:, 0]
    assert ((first > second) + (first == second) / 2).mean() == pytest.approx(area, abs=0.02)


def test_everybody_in_the_crowd_speaks_as_it_should() -> None:
    rng = np.random.default_rng(0)
    world = plants.crowd(rng, 6)
    names = [persona.name for persona in world.personas]
    traits = [plants.traits_of(world, name) for name in names]
    table = plants.behavior(rng, world, traits, names=names)
    p = np.exp2(table.logprob).groupby([table.persona, table.topic, table.template]).sum()
    assert p.to_numpy() == pytest.approx(1.0)
    loudest = table.loc[table.groupby(["persona", "topic"]).logprob.idxmax()]
    said = {(row.persona, row.topic): row.value for row in loudest.itertuples()}
    expected = {(n, t): v for n, own in zip(names, traits, strict=True) for t, v in own.items()}
    assert said == expected
    nobody = plants.behavior(rng, world, traits[:2], names=["", ""])
    assert set(nobody.context) == {"nameless"} and nobody.seed.nunique() == 2
