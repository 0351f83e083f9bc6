"""What is looked up before anything is computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persona_interp import experiments
from persona_interp.analysis.coherence import largest
from persona_interp.errors import PersonaInterpError
from persona_interp.experiments.causes.candidates import Candidate, Part, at_all_sites, within
from persona_interp.experiments.causes.cases import add
from persona_interp.experiments.causes.sources import search
from persona_interp.schema.words import Group, Way
from tests.experiments.causes.conftest import SITE, WORLD, planted_directions, save_planted


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted(tmp_path_factory.mktemp("base") / "zero", size=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world": None}, "give one of world= and traits="),
        ({"target": "jon"}, "did you mean 'john'"),
        ({"directions": planted_directions().sel(name=["mary"])}, "target among the directions"),
        ({"hooks": ["blocks.7.hook_out"]}, "blocks.7"),
    ],
)
def test_a_wrong_name_costs_nothing(base: Path, changes: dict[str, Any], message: str) -> None:
    options = {"world": WORLD, "directions": None} | changes
    with pytest.raises(PersonaInterpError, match=message):
        search(base, base, **options)


def test_a_search_survives_json_and_sites_are_before_the_last_block(base: Path) -> None:
    found = search(base, [base], world=WORLD)
    assert found.hooks == (SITE,) and found.target == "john"
    again = experiments.from_dict(experiments.to_dict(found))
    assert again == found
    assert [cell.id for cell in again.cells()] == [cell.id for cell in found.cells()]
    assert len(found.cells()) == 3


def test_at_several_sites_each_gets_its_part() -> None:
    hooks, shift = ("a", "b"), {"a": [2.0, 1.0], "b": [4.0, 1.0]}
    rows = [[0.0, 3.0]], [[1.0, 0.0]]
    both = [
        Candidate("x", "direction", Group.CANDIDATE, (Part(hook, row),))
        for hook, row in zip(hooks, map(np.array, rows), strict=True)
    ]
    (together,) = at_all_sites(both, hooks)
    assert together.sites == "a, b" and at_all_sites(both[:1], hooks) == []
    shifts = {hook: np.array(values) for hook, values in shift.items()}
    assert within(together.parts[0], shifts["a"]).tolist() == [0, 1]
    (case,) = add(together, shifts, way=Way.ADDED)
    assert [edit.vectors.tolist() for edit in case.edits] == [[[0.0, 0.5]], [[2.0, 0.0]]]
    nothing = {hook: np.array([0.0, 0.0]) for hook in hooks}
    assert add(together, nothing, way=Way.ADDED) == []


def test_the_largest_coherent_push_is_found_by_bisection() -> None:
    asked = []

    def is_good(strength: float) -> bool:
        asked.append(strength)
        return strength <= 4

    assert largest((0.5, 1.0, 2.0, 4.0, 8.0), is_good) == 4 and len(asked) <= 3
    assert largest((2.0,), lambda strength: False) != largest((2.0,), lambda strength: True)
