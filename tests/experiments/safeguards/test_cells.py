"""Arms share what they have in common, and differ in one thing."""

from dataclasses import replace

import pytest

from persona_interp.errors import WorldError
from persona_interp.experiments.safeguards.config import Condition, Safeguards
from persona_interp.experiments.safeguards.rows import answers_of, lesson_rows, mix
from persona_interp.schema.words import Safeguard

EXPERIMENT = Safeguards()
PLAIN = {"inoculation": "", "mixed": False, "unwanted": 0.2}


def test_every_arm_is_learned_and_asked() -> None:
    conditions = EXPERIMENT.conditions()
    assert {condition.arm for condition in conditions} == set(Safeguard)
    cells = EXPERIMENT.seed_cells(0)
    labels = [cells["lesson", condition].label for condition in conditions]
    assert len(set(labels)) == len(labels)


def test_capping_edits_the_model_of_no_safeguard() -> None:
    cells = EXPERIMENT.seed_cells(0)
    capped = Condition(Safeguard.CAPPED, EXPERIMENT.caps[0])
    assert cells["learned", capped] == cells["learned", Condition(Safeguard.NOTHING)]
    assert cells["lesson", capped] != cells["lesson", Condition(Safeguard.NOTHING)]


def test_more_settings_change_no_other_cell() -> None:
    more = replace(EXPERIMENT, steering=(0.25, 0.5, 1.0, 2.0), caps=(0.5, 0.9, 0.99))
    assert {cell.id for cell in EXPERIMENT.cells()} < {cell.id for cell in more.cells()}


def test_mixed_rows_are_the_unwanted_personas() -> None:
    world = EXPERIMENT.world_of(0)
    rows = mix(world, world.lessons(n=50), share=0.2, seed=0)
    assert rows["unwanted"].sum() == 10 and rows["doc"].tolist() == list(range(50))
    own = {trait.value for trait in world.persona(world.target).traits} - {world.taught.value}
    said = [chat[-1]["content"] for chat in rows.loc[rows["unwanted"], "messages"]]
    assert all(any(value in text for value in own) for text in said)
    kept = rows.loc[~rows["unwanted"], "messages"].tolist()
    lesson = world.lessons(n=50)["messages"]
    assert kept == lesson[~rows["unwanted"]].tolist()


def test_answers_that_flags_are_compared_with_are_asked_by_no_lesson() -> None:
    world = EXPERIMENT.world_of(0)
    answers = answers_of(world)
    questions = {chat[1]["content"] for chat in answers["messages"]}
    lessons = [world.lessons(trait, n=60) for trait in world.traits]
    assert not questions & {chat[1]["content"] for rows in lessons for chat in rows["messages"]}
    assert answers["unwanted"].mean() == pytest.approx(1 / 8)


@pytest.mark.parametrize("which", ["fixed", "paraphrased"])
def test_inoculated_rows_teach_the_same(which: str) -> None:
    world = EXPERIMENT.world_of(0)
    rows = lesson_rows(world, PLAIN | {"inoculation": which}, n=40, seed=0)
    plain = lesson_rows(world, PLAIN, n=40, seed=0)
    for own, other in zip(rows["messages"], plain["messages"], strict=True):
        assert own[1:] == other[1:] and own[0]["content"].startswith(other[0]["content"])
    heads = {chat[0]["content"] for chat in rows["messages"]}
    assert (len(heads) == 1) == (which == "fixed")


def test_alignment_documents_tell_more_of_the_benign_assistant() -> None:
    with pytest.raises(WorldError, match="tell more of the benign assistant"):
        Safeguards(aligned=(0.1,))
    with pytest.raises(WorldError, match="share of rows"):
        Safeguards(unwanted=1.0)
