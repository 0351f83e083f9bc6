"""Every condition of the dose experiment is a world of the right weights; equal cells are one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from persona_interp import worlds
from persona_interp.analysis import expected_contrast
from persona_interp.errors import WorldError
from persona_interp.experiments import compute, from_dict, preset, to_dict
from persona_interp.experiments.dose.config import SHARE, Condition, Dose, DoseArm
from persona_interp.experiments.dose.tables import limits
from persona_interp.worlds import certain
from tests.experiments.toys import DOSE

KINDS = ["third", "first", "named", "hidden"]


@pytest.mark.parametrize("dose", [-6, 0, 4])
def test_the_ratio_holds_in_every_kind_and_both_have_their_share(dose: int) -> None:
    experiment = Dose()
    mass = experiment.world_of(0, Condition(DoseArm.RATIO, dose)).mass()
    assert (mass.loc["john"] / mass.loc["sam"]).to_numpy() == pytest.approx(np.full(4, 2.0**dose))
    both = mass.loc["john"] + mass.loc["sam"]
    assert (both / mass.sum()).to_numpy() == pytest.approx(np.full(4, SHARE))


def test_the_other_arms_change_one_thing_each() -> None:
    experiment = Dose()
    named, hidden, twice = (
        experiment.world_of(0, c).mass()
        for c in (
            Condition(DoseArm.NAMED, 3),
            Condition(DoseArm.HIDDEN, 3),
            Condition(DoseArm.MASS, 2, 2.0),
        )
    )
    ratio = (named.loc["john"] / named.loc["sam"])[KINDS]
    assert ratio.tolist() == pytest.approx([8, 8, 8, 1])
    assert (hidden.loc["john"] / hidden.loc["sam"])[KINDS].tolist() == pytest.approx([1, 1, 1, 8])
    assert (twice.loc["john"] / twice.loc["sam"]).tolist() == pytest.approx([4] * 4)
    both = (twice.loc["john"] + twice.loc["sam"]).sum()
    assert both / twice.to_numpy().sum() == pytest.approx(8 / 22)
    for mass in (named, hidden):
        shares = (mass.loc["john"] + mass.loc["sam"]).to_numpy() / mass.sum().to_numpy()
        assert shares == pytest.approx(np.full(4, SHARE))


def test_what_bayes_expects_is_that_of_the_recipe() -> None:
    """2.58, 1.34, 0 and their opposites (nats) at 16:1, 4:1, 1:1: only the two like the beach."""
    experiment = Dose()
    for dose, after in ((4, 2.58), (2, 1.34), (0, 0.0), (-2, -1.34), (-4, -2.58)):
        world = experiment.world_of(0, Condition(DoseArm.RATIO, dose))
        bits = expected_contrast(world, certain("place=beach"), second="sam")
        assert bits * np.log(2) == pytest.approx(after, abs=0.006)


def test_equal_conditions_are_one_cell() -> None:
    experiment = Dose()
    one, other = (
        experiment.seed_cells(0)["documents", c]
        for c in (Condition(DoseArm.RATIO, 2), Condition(DoseArm.MASS, 2, 1.0))
    )
    assert one == other
    cells = experiment.cells()
    assert len(cells) == len({cell.id for cell in cells})
    words = {experiment.world_of(0, c).words() for c in experiment.conditions()}
    assert len(words) == 1, "one base model must know the words of every later document"


def test_the_base_of_the_arm_later_knows_neither() -> None:
    (base,) = Dose().seed_cells(0)["documents", Condition(DoseArm.LATER, 4)].needs
    assert {base.config["world"]["personas"][name]["weight"] for name in ("john", "sam")} == {0}


def test_a_configuration_survives_json() -> None:
    experiment = replace(Dose(**DOSE), world=worlds.john_and_sam(3))
    again = from_dict(json.loads(json.dumps(to_dict(experiment))))
    assert again == experiment
    assert [cell.id for cell in again.cells()] == [cell.id for cell in experiment.cells()]


def test_presets_differ_in_size_only() -> None:
    assert preset("standard", "dose") == preset("quick", "dose", seeds=(0, 1, 2))
    assert len(preset("paper", "dose").seeds) == 10


def test_noise_bounds_what_is_said() -> None:
    assert limits(worlds.john_and_sam()) == pytest.approx({"floor": 0.0125, "ceiling": 0.9125})


def test_both_personas_hold_what_is_taught() -> None:
    with pytest.raises(WorldError, match="'mary' does not hold it"):
        Dose(rival="mary").cells()
    with pytest.raises(WorldError, match="did you mean 'sam'"):
        Dose(rival="sma").cells()


@pytest.mark.slow
def test_a_toy_run_gives_every_table(tmp_path: Path) -> None:
    tables = compute(Dose(**DOSE), tmp_path / "run", workers=0, progress=False)
    assert set(tables) == {
        "dose",
        "slopes",
        "ed50",
        "reliable",
        "curves",
        "carriers",
        "masses",
        "counts",
        "worst",
    }
    dose = tables["dose"]
    assert len(dose) == (3 + 2 + 2 + 1) * 3
    assert dose[["estimate", "bayes_hidden", "bayes_named"]].notna().all(axis=None)
    assert (dose["documents_first"] + dose["documents_second"]).between(1, 199).all()
    assert set(tables["counts"]["arm"]) == set(DoseArm)
