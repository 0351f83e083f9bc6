"""A world drawn by lot makes sense, whatever the lot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from persona_interp.worlds import arbitrary, load, save


@pytest.mark.parametrize("seed", range(40))
def test_every_lot_is_a_world_that_can_be_taught(seed: int) -> None:
    world = arbitrary(seed)
    assert world == arbitrary(seed) and world != arbitrary(seed + 1)
    assert world.target in world.holders(world.taught)
    assert world.taught.topic == world.unrelated.topic and world.taught != world.unrelated
    assert world.holders(world.unrelated)
    assert 6 <= len(world.personas) <= 16 and 4 <= len(world.topics) <= 5
    assert all(4 <= len(values) <= 8 for values in world.topics.values())


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    world = arbitrary(5)
    assert load(save(world, tmp_path / "world.yaml")) == world
    # whoever draws a world has numpy's texts in it
    drawn = replace(world, topics={np.str_(t): tuple(v) for t, v in world.topics.items()})
    assert load(save(drawn, tmp_path / "drawn.yaml")) == world


def test_traits_co_occur_more_than_by_chance() -> None:
    def doubled(seed: int) -> bool:
        people = [set(map(str, persona.traits)) for persona in arbitrary(seed).personas]
        return any(len(a & b) >= 3 for i, a in enumerate(people) for b in people[:i])

    assert sum(map(doubled, range(20))) >= 15
