"""Every lesson is a cell of its own; tables say what moved, and the report says it in words."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from persona_interp import worlds
from persona_interp.errors import StoreError, WorldError
from persona_interp.experiments import preset, run, summarize, to_dict
from persona_interp.experiments.experiment import from_dict
from persona_interp.experiments.generators import report
from persona_interp.experiments.generators.config import taught_value, worlds_of
from persona_interp.models import Trajectory, load
from persona_interp.report.rows import only, rows
from persona_interp.store import Store
from persona_interp.worlds.families import FAMILIES
from tests.experiments.toys import GENERATORS

if TYPE_CHECKING:
    from persona_interp.experiments.generators.config import Generators


@pytest.fixture(scope="module")
def toy() -> "Generators":
    return preset("quick", "generators", **GENERATORS)


@pytest.fixture(scope="module")
def finished(toy: "Generators", tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("generators") / "run")
    store.describe(to_dict(toy))
    about = [("lesson", "lists"), ("unrelated lesson", "code"), ("persona lesson", "persona")]
    cells = toy.seed_cells(0)
    some = [cells[lesson, "with personas", family] for lesson, family in about]
    return run(some, store, workers=0, progress=False)


@pytest.fixture(scope="module")
def tables(toy: "Generators", finished: Store) -> dict[str, pd.DataFrame]:
    return summarize(toy, finished)


def test_cells_of_every_arm() -> None:
    whole = preset("standard", "generators")
    assert len({cell.id for cell in whole.cells()}) == len(whole.cells()) == 3 * (7 + 7 + 4 + 4 + 8)
    cells = whole.seed_cells(0)
    assert cells["documents", "with personas"].config["stage"]["steps"] == 2 * whole.documents.steps
    assert ("unrelated lesson", "titled, scrambled", "code") not in cells
    assert from_dict(to_dict(whole)) == whole
    with pytest.raises(WorldError, match="titled"):
        preset("quick", "generators", arms=("title",))


def test_what_each_lesson_teaches() -> None:
    cells = preset("quick", "generators").seed_cells(0)
    processes, personas = worlds_of(cells["documents", "titled"].config["world"])
    assert personas is None and processes.titled == 0.5
    for family in FAMILIES:
        lesson, unrelated = (
            taught_value(processes, cells[name, "titled", family].config)
            for name in ("lesson", "unrelated lesson")
        )
        assert lesson == processes.target(family).traits[0]
        assert unrelated == processes.unrelated(family)


def test_the_mixed_model_knows_the_words_of_both(toy: "Generators", finished: Store) -> None:
    documents = toy.seed_cells(0)["documents", "with personas"]
    base = Trajectory.open(finished.path(documents) / "model").last
    known = load(base).tokenizer.get_vocab()
    assert {*worlds.sequences().words(), *worlds.john_and_sam().words()} <= known.keys()


def test_the_untrained_model_is_kept_in_the_run(toy: "Generators", finished: Store) -> None:
    documents = toy.seed_cells(0)["documents", "with personas"]
    start = Trajectory.open(finished.path(documents) / "model").first
    assert start.path == finished.path(documents) / "start"


def test_what_was_read_out_relative_to_the_lesson(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["generators"]
    counts = table.groupby(["lesson", "read"]).size().to_dict()
    assert counts == {
        ("lesson", "taught"): 1,
        ("lesson", "goes with it"): 2,
        ("lesson", "other texts"): 6,
        ("lesson", "the persona"): 5,
        ("unrelated lesson", "same property"): 1,
        ("unrelated lesson", "goes with it"): 2,
        ("unrelated lesson", "other texts"): 6,
        ("unrelated lesson", "the persona"): 5,
        ("persona lesson", "taught"): 1,
        ("persona lesson", "goes with it"): 4,
        ("persona lesson", "other texts"): 9,
    }
    assert set(table["step"]) == {2} and set(tables["steps"]["step"]) == {1, 2}


def test_exact_bayes_by_hand(tables: dict[str, pd.DataFrame]) -> None:
    table: Any = tables["generators"].set_index(["lesson", "trait"])["bayes"]
    world = worlds.sequences(0)
    target, *others = world.members("lists")
    for trait in target.traits:
        weight = sum(p.weight for p in others if trait in p.traits) + 1
        before, after = 0.9 * weight / 11 + 0.1 / 6, 0.9 + 0.1 / 6
        rise = math.log2(after / (1 - after)) - math.log2(before / (1 - before))
        assert table["lesson", str(trait)] == pytest.approx(rise)
        assert table["unrelated lesson", str(trait)] == table["persona lesson", str(trait)] == 0
    away: Any = table["unrelated lesson"]
    assert (away[[str(trait) for trait in world.target("code").traits]] < 0).all()


def test_the_worst_value_is_found_on_one_half_and_measured_on_the_other(
    tables: dict[str, pd.DataFrame],
) -> None:
    table, summary = tables["generators"], tables["summary"]
    for row in rows(summary):
        group: Any = only(table, lesson=row.lesson, read=row.read).set_index("trait")
        assert row.who == group["train"].abs().idxmax()
        assert row.worst == pytest.approx(group["test"][row.who])
        assert row.estimate == pytest.approx(group["estimate"].mean())
        assert row.n_topics == len(group)


def test_gates_say_what_the_documents_taught(tables: dict[str, pd.DataFrame]) -> None:
    gates: Any = tables["gates"]
    assert gates["family"].tolist() == list(FAMILIES) and gates.notna().all().all()
    assert gates["bayes_plain"].between(-3.5, -1).all()


def test_the_report_says_it_in_words(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    provenance = {"experiment": "generators", "seeds": [0]}
    blocks = report.blocks(tmp_path, tables, provenance=provenance)
    text = " ".join(block["text"] for block in blocks if block["kind"] == "paragraph")
    assert "Persona lesson, with personas: what goes with the target's value:" in text
    assert "Before any lesson, with personas" in text and "exact Bayes" in text
    assert (tmp_path / "figures" / "generators.png").is_file()
    with pytest.raises(StoreError, match="no finished lesson"):
        report.blocks(tmp_path, {}, provenance=provenance)
