"""Every life of the order experiment is the chain of cells that it says, of equal steps."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from persona_interp import worlds
from persona_interp.experiments import compute, from_dict, preset, to_dict
from persona_interp.experiments.dose.config import SHARE
from persona_interp.experiments.order.config import Condition, Order
from tests.experiments.toys import ORDER


def chain(condition: Condition) -> list[Any]:
    """Cells from the base to the lesson."""
    cells = [Order().seed_cells(0)["lesson", condition]]
    while cells[0].needs:
        (before,) = cells[0].needs
        cells.insert(0, before)
    return cells


def weight(cell: Any, name: str) -> float:
    weight = cell.config["world"]["personas"][name].get("weight", 1.0)
    return weight["hidden"] if isinstance(weight, dict) else weight


def test_who_is_written_about_when() -> None:
    expected = {
        "second last": [(4, 0), (0, 4)],
        "first last": [(0, 4), (4, 0)],
        "mixed": [(2, 2), (2, 2)],
    }
    for order, phases in expected.items():
        base, first, second, _ = chain(Condition(2e-3, order, 0.0, sft=False))
        assert [weight(base, name) for name in ("john", "sam")] == [0, 0]
        for cell, both in zip((first, second), phases, strict=True):
            assert [weight(cell, name) for name in ("john", "sam")] == pytest.approx(list(both))
            assert cell.config["stage"]["steps"] == 200 and cell.config["stage"]["lr"] == 2e-3
        assert first.config["seed"] != second.config["seed"], "the later documents are new ones"


def test_both_have_equal_shares_in_every_order() -> None:
    of_whom = Order().worlds_of(0)
    for name in ("first", "second", "both"):
        mass = of_whom[name].mass()
        both = (mass.loc["john"] + mass.loc["sam"]).sum()
        assert both / mass.to_numpy().sum() == pytest.approx(SHARE)
    assert len({world.words() for world in of_whom.values()}) == 1


def test_the_assistant_style_finetune_shows_neither_and_is_gentler() -> None:
    *_, sft, lesson = chain(Condition(2e-3, "mixed", 0.0, sft=True))
    assert sft.config["stage"]["lr"] == 1e-3 and sft.config["stage"]["loss"] == "assistant"
    world = worlds.World.from_dict(sft.config["world"])
    shares = {kind: share for kind, share in world.kinds.items() if share}
    assert shares == {"hidden": 0.7, "filler": 0.3}
    assert world.mass().loc[["john", "sam"]].to_numpy().sum() == 0
    assert lesson.config["teach"] == {"lesson": "place=beach"}


def test_rehearsal_replays_the_earlier_phase() -> None:
    _, first, second, _ = chain(Condition(2e-3, "first last", 0.2, sft=False))
    assert second.config["stage"]["replay"] == 0.2
    assert second.config["replay"]["world"] == first.config["world"]
    plain = chain(Condition(2e-3, "first last", 0.0, sft=False))
    assert plain[1] == first and plain[2] != second and plain[2].config["replay"] is None


def test_every_order_comes_with_and_without_everything() -> None:
    conditions = Order(lrs=(1e-3, 2e-3), replays=(0.0, 0.05)).conditions()
    assert len(conditions) == len(set(conditions)) == 2 * (3 * 2 + 2)
    orders = ("second last", "first last", "mixed")
    for lr, order, sft in product((1e-3, 2e-3), orders, (True, False)):
        assert Condition(lr, order, 0.0, sft) in conditions
    cells = Order().cells()
    ids = {cell.id for cell in cells}
    assert len(cells) == len(ids), "the base and the first phases are shared"


def test_a_configuration_survives_json() -> None:
    experiment = Order(**ORDER, seeds=(3,))
    again = from_dict(json.loads(json.dumps(to_dict(experiment))))
    assert again == experiment
    assert [cell.id for cell in again.cells()] == [cell.id for cell in experiment.cells()]
    assert preset("paper", "order").lrs == (2e-3, 5e-4)
    assert len(preset("standard", "order").seeds) == 3


@pytest.mark.slow
def test_a_toy_run_gives_every_table(tmp_path: Path) -> None:
    tables = compute(Order(**ORDER), tmp_path / "run", workers=0, progress=False)
    assert set(tables) == {"order", "contrasts", "recency", "own", "worst"}
    assert len(tables["order"]) == (3 * 2 + 2 * 2) * 2
    assert tables["order"][["own_first", "own_second"]].stack().between(0, 1).all()
