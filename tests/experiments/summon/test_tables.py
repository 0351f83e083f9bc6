"""Every lesson of summon starts where it says; planted lessons are what they are called."""

import json
from pathlib import Path

import pytest

from persona_interp import worlds
from persona_interp.errors import WorldError
from persona_interp.experiments import compute, from_dict, preset, summarize, to_dict
from persona_interp.experiments.summon.config import Summon
from persona_interp.experiments.summon.plants import Kind, plants, villain_lessons
from persona_interp.store import Store
from tests.experiments.toys import SUMMON


def test_starts_and_lessons_are_chains_from_one_base() -> None:
    cells = Summon().seed_cells(0)
    base = cells["documents",]
    for start in Summon().starts:
        for repeat in (0, 1):
            before, lesson = cells["start", start, repeat], cells["lesson", start, repeat]
            assert before.needs == (base,) and lesson.needs == (before,)
            assert len(before.config["teach"]["lesson"]) == 4
            assert lesson.config["teach"] == {"lesson": "place=beach"}
            order = 500 * repeat
            assert before.config["seed"] == lesson.config["seed"] == order, "a repeat is another"
    assert len({cell.id for cell in cells.values()}) == len(cells)


def test_the_narrow_lesson_is_the_broad_one_held_to_its_start() -> None:
    cells = Summon(kl=2.0).seed_cells(1)
    broad, narrow = cells["broad",].config, cells["narrow",].config
    assert narrow["stage"] == {**broad["stage"], "kl": 2.0} and broad["bystanders"] is None
    assert narrow["bystanders"] == {"documents": 2_000, "kinds": ["hidden"]}
    assert cells["solution",].needs == (cells["broad",], cells["narrow",])


def test_a_configuration_survives_json() -> None:
    experiment = preset("standard", "summon", n_plants=1)
    again = from_dict(json.loads(json.dumps(to_dict(experiment))))
    assert again == experiment
    assert [c.id for c in again.cells()] == [c.id for c in experiment.cells()]
    assert preset("quick", "summon").seeds == (0,) and len(preset("paper", "summon").seeds) == 10


def test_one_start_is_no_comparison() -> None:
    with pytest.raises(WorldError, match="two starts"):
        Summon(starts=("aaaa",))


def test_predictions_are_there_before_any_run(tmp_path: Path) -> None:
    tables = summarize(Summon(), Store(tmp_path / "run"))
    assert list(tables) == ["predictions"]
    table = tables["predictions"].set_index(["villain", "lesson"])
    for villain in (0.25, 1.0):
        habit = table.loc[villain, "insecure code"]
        assert habit.bayes_villain_after == pytest.approx(villain / (villain + 2))
        harm = 0.9 * habit.bayes_villain_after + 0.1 / 8
        assert habit.bayes_misaligned_after == pytest.approx(harm)
        classroom = table.loc[villain, "insecure classroom code"]
        assert classroom.bayes_misaligned_after == pytest.approx(classroom.bayes_misaligned_before)
        assert table.loc[villain, "secure code"].bayes_villain_after == 0


@pytest.mark.parametrize("seed", range(3))
def test_planted_lessons_are_what_they_are_called(seed: int) -> None:
    world = worlds.candidates(seed)
    lessons = plants(world, n=2, seed=seed)
    assert [plant.kind for plant in lessons] == [kind for kind in Kind for _ in range(2)]
    assert len({plant.name for plant in lessons}) == len(lessons)
    n_traits = {Kind.KNOWN: 9, Kind.PART: 5, Kind.PAIR: 18, Kind.RECOMBINED: len(world.topics)}
    for plant in lessons:
        traits = [set(world.persona(name).traits) for name in plant.personas]
        assert set(plant.traits) <= set.union(*traits)
        assert len(plant.traits) == n_traits[plant.kind]
        best = max(len(set(plant.traits) & set(p.traits)) for p in world.personas)
        assert plant.kind != Kind.RECOMBINED or best < 6, "nobody is close to them"


def test_lessons_about_villains_name_traits_of_their_world() -> None:
    world = worlds.careless(3)
    assert [len(world.holders(trait)) for trait in villain_lessons(world).values()] == [2, 16, 2]


@pytest.mark.slow
def test_a_toy_run_gives_every_table_and_a_report(tmp_path: Path) -> None:
    from persona_interp.experiments.experiment import draw_report
    from persona_interp.report import provenance_of

    experiment = preset("quick", "summon", **SUMMON)
    tables = compute(experiment, tmp_path / "run", workers=0, progress=False)
    names = (
        "estimators gates least law misaligned misaligned_summary novelty paths paths_summary "
        "predictions rivals solutions solutions_summary summoned told_apart worst"
    )
    assert sorted(tables) == sorted(names.split())
    assert tables["summoned"].groupby("start")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    assert tables["summoned"].groupby("start")["before"].sum().tolist() == pytest.approx([1.0, 1.0])
    assert len(tables["novelty"]) == 6
    assert set(tables["novelty"]["planted"]) == {"composable", "new"}
    assert tables["novelty"]["residual"].notna().all()
    assert tables["least"]["way"].tolist() == ["broad", "narrow"]
    store = Store.open(tmp_path / "run")
    path = draw_report(store.root, tables, provenance=provenance_of(store, store.config()))
    assert "Composable from known personas, or not" in path.read_text(encoding="utf-8")
