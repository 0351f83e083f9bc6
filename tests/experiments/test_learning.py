"""The one task that learns: chains, lessons of several traits, replay; what it asks and writes."""

from pathlib import Path

import pytest

from persona_interp import worlds
from persona_interp.errors import WorldError
from persona_interp.experiments import learning_cell, run
from persona_interp.experiments.tasks import _corpus
from persona_interp.models import Stage, Trajectory
from persona_interp.store import Store
from persona_interp.tables import read_table

TINY = Stage(steps=2, batch=4, lr=1e-3, loss="all")


def test_a_chain_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    world = worlds.john_and_sam()
    base = learning_cell(world, {"documents": 40}, TINY, seed=0, name="documents")
    kinds = {"documents": 40, "kinds": ["hidden"]}
    lesson = learning_cell(
        world,
        {"lesson": ["place=beach", "food=pizza"]},
        Stage(steps=2, batch=4, replay=0.5),
        seed=0,
        after=base,
        snapshots=(1,),
        ends=("named",),
        personas=("mary",),
        replay=kinds,
    )
    store = run([lesson], Store(tmp_path / "run"), workers=0, progress=False)
    first = Trajectory.open(store.path(lesson) / "model").first
    assert first.path == Trajectory.open(store.path(base) / "model").last.path
    behavior = read_table(store.path(lesson, "behavior.parquet"))
    steps = behavior.groupby(["context", "persona"])["step"].agg(lambda x: sorted(set(x))).to_dict()
    assert steps == {("nameless", ""): [0, 1, 2], ("named", "mary"): [0, 2]}
    assert read_table(store.path(base, "counts.parquet")).documents.sum() == 40
    assert not (store.path(lesson) / "counts.parquet").exists()


def test_several_traits_are_interleaved() -> None:
    world = worlds.john_and_sam()
    traits = ["place=beach", "food=pizza"]
    lessons = _corpus(world, {"lesson": traits}, Stage(steps=3, batch=4), seed=0)
    assert [trait for (trait,) in lessons.statements] == traits * 6
    assert lessons.doc.is_unique


def test_equal_configurations_are_one_cell_and_the_label_does_not_count() -> None:
    world = worlds.john_and_sam()
    one, two = (
        learning_cell(world, {"documents": 40}, TINY, seed=0, label=label) for label in "ab"
    )
    assert one == two and one != learning_cell(world, {"documents": 40}, TINY, seed=1)


@pytest.mark.parametrize(
    "teach", [{}, {"documents": 4, "lesson": "filler"}, {"lessons": "place=beach"}]
)
def test_what_is_taught_is_one_thing(teach: dict[str, object]) -> None:
    with pytest.raises(WorldError, match="either documents or a lesson"):
        _corpus(worlds.john_and_sam(), teach, TINY, seed=0)
