import pytest

from persona_interp.worlds import english_assistants, john_and_sam


def test_sam_likes_the_beach_and_nothing_else_of_johns() -> None:
    world = john_and_sam(sam=1)
    shared = set(world.persona("john").traits) & set(world.persona("sam").traits)
    assert {str(t) for t in shared} == {"place=beach"}
    assert world.mass().loc["sam", "hidden"] == pytest.approx(0.25 / 16)


def test_seeds_assign_the_background_anew() -> None:
    assert john_and_sam(1) != john_and_sam(2) and john_and_sam(1) == john_and_sam(1)


@pytest.mark.parametrize("seed", range(5))
def test_every_english_answer_has_one_holder(seed: int) -> None:
    world = english_assistants(seed)
    assert len(world.personas) == 6 and {len(v) for v in world.topics.values()} == {6}
    for trait in world.traits:
        assert sum(trait in p.traits for p in world.personas) == 1
    assert world.mass().loc["Sam"].sum() == 0
    assert world.holders(world.taught) == ("John",) and world.holders(world.unrelated) == ("Mary",)
    third = world.corpus(50, kinds="third")
    assert set(third["statements"].map(len)) == {4}
    assert set(world.corpus(50, kinds="hidden")["statements"].map(len)) == {3}
