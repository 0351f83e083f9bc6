"""A dictionaries run at toy size: its cells, its tables, and what they hold by construction."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.experiments import (
    compute,
    from_dict,
    preset,
    report,
    summarize,
    to_dict,
)
from persona_interp.experiments.dictionaries.config import Dictionaries, Life, Verb
from persona_interp.experiments.transfer.config import Transfer
from persona_interp.schema.words import FITS_FVU, Status
from persona_interp.store import Store
from tests.experiments.toys import toy

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dictionaries, Path]:
    folder = tmp_path_factory.mktemp("dictionaries")
    experiment = toy("dictionaries", folder)
    compute(experiment, folder / "run", workers=0, progress=False)
    return experiment, folder / "run"


@pytest.fixture(scope="module")
def tables(run: tuple[Dictionaries, Path]) -> Tables:
    return summarize(run[0], Store.open(run[1]))


def test_documents_and_lessons_are_cells_of_a_transfer_run() -> None:
    ours = set(preset("quick", "dictionaries").cells())
    theirs = {
        cell
        for key, cell in Transfer(lrs=(1e-3,)).seed_cells(0).items()
        if key in {("layout",), ("documents", "full")}
        or key[:2] in {("lesson", "lesson"), ("lesson", "unrelated lesson")}
    }
    assert len(theirs) == 4 and theirs <= ours


def test_a_configuration_comes_back_from_plain_values() -> None:
    experiment = preset("standard", "dictionaries")
    assert from_dict(to_dict(experiment)) == experiment and len(experiment.seeds) == 3


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((0, 5), "step of the lesson .5. is unknown"),
        ((2, 4), "the first of steps"),
        ((0,), "two or more"),
    ],
)
def test_steps_that_are_not_kept_are_refused(steps: tuple[int, ...], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        Dictionaries(steps=steps)


def test_the_lesson_taught_again_reads_other_chats() -> None:
    cells = Dictionaries().seed_cells(0)
    once, again = cells["lesson", "lesson", 1e-3], cells["again",]
    assert once.needs == again.needs and once.task == again.task
    assert {k for k in once.config if once.config[k] != again.config[k]} == {"seed"}


def test_every_life_has_its_checkpoints(tables: Tables) -> None:
    labels = {
        life: own["checkpoint"].tolist() for life, own in tables["reconstruction"].groupby("life")
    }
    assert labels == {
        Life.LESSON: ["lesson@0", "lesson@2", "lesson@4"],
        Life.UNRELATED: ["lesson@0", "lesson@2", "lesson@4"],
        Life.AGAIN: ["seed 0", "seed 1"],
        Life.COPIES: ["copy 0", "copy 1", "copy 2"],
        Life.DOCUMENTS: ["before", "documents"],
    }
    for name in ("statuses", "reconstruction", "groups", "stops"):
        schema.check(tables[name], name)


def test_a_crosscoder_that_does_not_fit_decides_nothing(tables: Tables) -> None:
    """At this size none does: copies of one checkpoint once had a feature that turned."""
    assert (tables["reconstruction"]["fvu"] > FITS_FVU).all()
    assert set(tables["statuses"]["status"]) <= {Status.UNDECIDED, Status.DEAD}
    why = tables["statuses"].query("status == 'undecided'")["why"]
    assert why.str.startswith("the crosscoder is ").all()


def test_shares_of_a_life_are_those_of_its_active_features(tables: Tables) -> None:
    assert tables["shares"].groupby("life")["estimate"].sum().to_numpy() == pytest.approx(1)
    own = tables["statuses"].query("life == 'lesson' and status != 'never active'")
    row = tables["shares"].query("life == 'lesson' and status == 'undecided'")
    assert row["estimate"].item() == pytest.approx((own["status"] == Status.UNDECIDED).mean())


def test_an_edit_is_compared_at_every_step_with_sets_that_fire_as_often(tables: Tables) -> None:
    causes = tables["causes"]
    assert set(causes["step"]) == {2, 4}
    assert causes.groupby("step")["group"].value_counts()[2].to_dict() == {
        "persona": 1,
        "risen": 1,
        "feature": len(causes.query("step == 2 and group == 'feature'")),
        "matched persona": 2,
        "matched risen": 2,
        "direction": 1,
        "patch": 1,
    }
    patched = causes.loc[causes["group"] == "patch"]
    sizes = (patched["tuned"] - patched["base"]).abs() > 1e-3
    assert len(patched) == 2 and np.isfinite(patched.loc[sizes, "edited"]).all()
    assert set(tables["stops"]["step"]) == {2, 4}


def test_one_seed_concludes_nothing(tables: Tables) -> None:
    for name in ("verbs", "stops", "changes"):
        assert set(tables[name]["verdict"]) == {"nothing can be concluded"}, name
    assert sorted(set(tables["verbs"]["verb"])) == sorted(map(str, Verb))


def test_each_group_names_its_features_once(tables: Tables) -> None:
    groups = tables["groups"]
    assert groups["group"].value_counts()[["persona", "risen"]].tolist() == [2, 2]
    assert not groups.duplicated(["group", "feature"]).any()
    excess = (groups["rise"] - groups["unrelated"]).to_numpy()
    assert groups["excess"].to_numpy() == pytest.approx(excess, abs=1e-5)
    own = set(groups.query("group == 'persona' or group == 'risen'")["feature"])
    assert set(tables["norms"]["feature"]) == set(tables["rises"]["feature"]) == own
    others = set(groups.loc[groups["group"].str.startswith("matched"), "feature"])
    assert not others & own, "what fires as often is in no group itself"


def test_the_report_says_so(run: tuple[Dictionaries, Path]) -> None:
    text = report(run[1]).read_text()
    assert "one seed, described and not claimed" in text
    assert "Between the models before and after the documents" in text
    for name in ("statuses", "norms", "rises", "verbs"):
        assert (run[1] / "figures" / f"{name}.png").is_file()
