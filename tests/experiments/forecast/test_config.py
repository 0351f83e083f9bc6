"""Which lessons are forecast, and which cells they take."""

import pytest

from persona_interp.errors import WorldError
from persona_interp.experiments.forecast.config import FAMILIES, Forecast, base_world, teach
from persona_interp.schema.words import Variant


def test_a_seed_draws_a_world_of_every_family_in_turn() -> None:
    names = [base_world(seed).name.partition("-")[0] for seed in range(len(FAMILIES))]
    assert names == list(FAMILIES)
    assert base_world(0) != base_world(4) and base_world(1) == base_world(1)


def test_plain_lessons_come_first_and_each_variant_changes_one_thing() -> None:
    experiment = Forecast(n_lessons=3, n_changed=1)
    lessons = experiment.lessons(0)
    assert [lesson.variant for lesson in lessons[:3]] == [Variant.PLAIN] * 3
    assert lessons == [*Forecast(n_lessons=3).lessons(0), *lessons[3:]]
    assert {lesson.variant for lesson in lessons[3:]} == {*Variant} - {Variant.PLAIN}
    stages = {lesson.variant: experiment.stage(lesson) for lesson in lessons}
    assert stages[Variant.SLOW].lr < stages[Variant.PLAIN].lr < stages[Variant.FAST].lr
    assert stages[Variant.SGD].optimizer == "sgd" and stages[Variant.REPLAY].replay == 0.5
    mixed = next(lesson for lesson in lessons if lesson.variant == Variant.MIXED)
    first, *others = teach(mixed)["lesson"]
    assert others.count(first) == 3 and len(others) == 4


def test_a_forecast_does_not_need_the_lesson_it_forecasts() -> None:
    cells = Forecast(seeds=(0,), n_lessons=2).seed_cells(0)
    taught = {cell.id for key, cell in cells.items() if key[0] == "lesson"}
    for key, cell in cells.items():
        if key[0] == "predictors":
            assert taught.isdisjoint(need.id for need in cell.needs)


def test_no_lesson_is_refused() -> None:
    with pytest.raises(WorldError, match="at least one plain lesson"):
        Forecast(n_lessons=0)
