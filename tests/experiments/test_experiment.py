"""Any experiment is written down, read back, configured and refused in the same way."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from persona_interp import worlds
from persona_interp.errors import ModelError, StoreError, WorldError
from persona_interp.experiments import compute, from_dict, preset, to_dict, wing_names
from persona_interp.experiments.machines import settle_machine
from persona_interp.experiments.reading import CountedStore
from persona_interp.experiments.wings import wing_of
from persona_interp.models import Stage, on_device
from persona_interp.readers import Instruction, TraitFile
from persona_interp.store import Cell, Store
from persona_interp.worlds import World


@dataclass(frozen=True)
class Arm:
    name: str
    ratio: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Toy:
    """Fields of every type that an experiment may have."""

    seeds: tuple[int, ...] = (0,)
    world: str | World = "john_and_sam"
    stages: tuple[Stage, ...] = (Stage(), Stage(steps=3))
    arms: tuple[Arm, ...] = (Arm("a"), Arm("b", (1.0, 4.0)))
    sae: dict[str, Any] | None = None
    kinds: tuple[str, ...] | None = ("hidden",)
    start: str = "tiny"

    def cells(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    "change",
    [{}, {"world": worlds.john_and_sam(3)}, {"sae": {"d_sae": 8}, "kinds": None}],
    ids=["", "World", "None"],
)
def test_every_kind_of_field_survives_json(change: dict[str, Any]) -> None:
    toy = replace(Toy(), **change)
    assert from_dict(json.loads(json.dumps(to_dict(toy)))) == toy


SEEDS = dict.fromkeys(("trait_transfer", "trait_dictionaries", "trait_safeguards"), (1, 3, 3))
"""Finetunes of a real model; the paper presets have more traits instead."""
PRESETS = ("quick", "paper")


@pytest.fixture
def given() -> dict[str, dict[str, Any]]:
    """What an experiment cannot do without."""
    questions = tuple(f"What {i}?" for i in range(30))
    pairs = (Instruction("Be so.", "Be not."),) * 4
    names = {name for wing in SEEDS for size in PRESETS for name in preset(size, wing).names}
    traits = tuple(TraitFile(name, pairs, questions) for name in sorted(names))
    return {wing: {"traits": traits} for wing in SEEDS}


@pytest.mark.parametrize("name", sorted({*wing_names()} - {"causes", "compare"}))
def test_every_experiment_has_three_sizes_and_survives_json(
    name: str, given: dict[str, dict[str, Any]]
) -> None:
    quick, standard, paper = (
        preset(size, name, **given.get(name, {})) for size in ("quick", "standard", "paper")
    )
    assert (len(quick.seeds), len(standard.seeds), len(paper.seeds)) == SEEDS.get(name, (1, 3, 10))
    again = from_dict(json.loads(json.dumps(to_dict(quick))))
    assert again == quick
    ids = [cell.id for cell in quick.cells()]
    assert ids == [cell.id for cell in again.cells()]
    more = replace(quick, seeds=(0, 1, 2)) if name in SEEDS else standard
    assert set(ids) <= {cell.id for cell in more.cells()}, (
        "more seeds keep what the first has computed"
    )
    assert type(quick).__doc__ and wing_of(quick).function("tables", "summarize").__doc__


@pytest.mark.parametrize("name", ["causes", "compare"])
def test_a_comparison_is_of_models_that_somebody_names(name: str) -> None:
    with pytest.raises(WorldError, match=f"persona-interp {name} --help"):
        preset("quick", name)


def test_unknown_names_are_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="did you mean 'dose'"):
        preset("quick", "dsoe")
    with pytest.raises(WorldError, match="did you mean 'seeds'"):
        preset("quick", "transfer", seed=(1,))
    with pytest.raises(ModelError, match="nowhere"):
        compute(preset("quick", start="nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a start that is not there leaves no run folder"


@pytest.mark.parametrize("name", ["transfer", "dose", "order", "evidence"])
def test_an_unknown_world_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(WorldError, match="did you mean 'john_and_sam'"):
        preset("quick", name, world="john_and_san").cells()


def test_where_it_was_computed_is_noted_and_names_nothing(tmp_path: Path) -> None:
    toy = preset("quick", documents=Stage(steps=1, batch=2), lesson=Stage(steps=1, batch=2))
    store = Store(tmp_path / "run")
    cells = toy.cells()[:1]
    first = settle_machine(cells, store, before=None)
    assert first == "cpu, batch auto"
    with on_device(batch=64):
        assert settle_machine(cells, store, before={"machine": first}) == f"{first}; cpu, batch 64"
        assert toy.cells()[0].id == cells[0].id
    assert settle_machine([], store, before={"machine": "elsewhere"}) == "elsewhere"


def test_a_counted_store_is_read_before_and_while_it_is_shown(tmp_path: Path) -> None:
    store, cell = CountedStore(tmp_path / "run"), Cell("square", {"x": 3})
    (store.work(cell) / "square.txt").write_text("9")
    store.commit(cell, seconds=0.1)
    assert store.path(cell, "square.txt").read_text() == "9"
    with store.shown(progress=False):
        assert store.path(cell, "square.txt").read_text() == "9"
