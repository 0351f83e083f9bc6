"""An alarm forecasts from the first steps, stops or warns, and survives a kill."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp import analysis, models, record, worlds
from persona_interp.errors import SchemaError
from persona_interp.experiments.forecast.alarm import Alarm
from persona_interp.experiments.forecast.line import Line, fit_line
from persona_interp.models import Stage

STAGE = Stage(steps=4, batch=4, lr=3e-3)
LINE = Line(shares=(0.25, 0.5), intercept=0.0, weights=(-1.0, 3.0))
LOW, HIGH = 1e-6, 1e6


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A start, a lesson, and probes of what the lesson does not teach."""
    world = worlds.john_and_sam()
    start = models.resolve(
        "tiny", words=world.words(), out=tmp_path_factory.mktemp("start") / "model"
    )
    lesson = world.lessons("place=beach", n=16)
    probes = world.probes(contexts="nameless")
    probes = probes.loc[(probes["topic"] != "place") & (probes["split"] == "test")]
    return {
        "start": start,
        "lesson": lesson,
        "probes": probes,
        "base": record.behavior(start, probes),
    }


def teach(taught: dict[str, Any], out: Path, watch: Any) -> models.Trajectory:
    return models.train(
        taught["start"], taught["lesson"], stage=STAGE, out=out, watch=watch, progress=False
    )


def test_it_forecasts_by_the_line_what_snapshots_say(
    taught: dict[str, Any], tmp_path: Path
) -> None:
    alarm = Alarm(taught["base"], taught["probes"], STAGE, limit=HIGH, line=LINE)
    assert (alarm.steps, alarm.rings) == ((1, 2), None)
    assert "which forecasts after step 2 of 4" in str(alarm)
    run = models.train(
        taught["start"],
        taught["lesson"],
        stage=STAGE,
        snapshots=(1, 2),
        out=tmp_path / "a",
        watch=alarm,
        progress=False,
    )
    assert run.stopped is None and alarm.rings is False
    shifts = analysis.shift(record.behavior(run, taught["probes"]), after=[1, 2])
    wide = shifts.pivot(index="trait", columns="step", values="estimate")
    expected = -1.0 * wide[1] + 3.0 * wide[2]
    table = alarm.table().set_index("trait")
    assert table["estimate"].to_dict() == pytest.approx(expected.to_dict(), abs=1e-9)
    assert table["estimate"].abs().is_monotonic_decreasing
    assert table["shift"].to_dict() == pytest.approx(wide[2].to_dict(), abs=1e-9)
    assert "no untaught trait is about to move" in str(alarm)


def test_it_stops_and_says_which(taught: dict[str, Any], tmp_path: Path) -> None:
    alarm = Alarm(taught["base"], taught["probes"], STAGE, limit=LOW, line=LINE)
    with pytest.warns(UserWarning, match="untaught traits are about to move beyond"):
        run = teach(taught, tmp_path / "a", alarm)
    assert run.stopped == 2 and alarm.rings
    assert alarm.table()["trait"].iloc[0] in str(alarm)
    assert not set(alarm.table()["trait"].str.partition("=")[0]) & {"place"}
    again = Alarm(taught["base"], taught["probes"], STAGE, limit=LOW, line=LINE)
    assert teach(taught, tmp_path / "a", again) == run
    pd.testing.assert_frame_equal(again.table(), alarm.table())
    assert json.loads(json.dumps(alarm.state())) == alarm.state()


def test_it_may_only_warn(taught: dict[str, Any], tmp_path: Path) -> None:
    alarm = Alarm(taught["base"], taught["probes"], STAGE, limit=LOW, line=LINE, stop=False)
    with pytest.warns(UserWarning, match="about to move"):
        run = teach(taught, tmp_path / "a", alarm)
    assert run.stopped is None and run.last.step == 4


def test_the_line_that_is_shipped() -> None:
    line = Line.open()
    assert line.shares == (0.05, 0.1) and "bases" in line.fitted_on


def test_a_planted_line_is_found(tmp_path: Path) -> None:
    rows = []
    for lesson in range(3):
        for trait in range(5):
            early, later = float(lesson - trait), float(trait**2)
            for step, shift in ((2, early), (4, later), (40, 1 + 2 * early - 0.5 * later)):
                rows.append(("nameless", "", f"topic=t{trait}", lesson, step, shift))
    columns = ["context", "persona", "trait", "lesson", "step", "estimate"]
    shifts = pd.DataFrame(rows, columns=columns)
    line = fit_line(shifts, steps=(2, 4), end=40, run=["lesson"])
    assert (line.intercept, *line.weights) == pytest.approx((1, 2, -0.5))
    assert Line.open(line.save(tmp_path / "line.json")) == line
    with pytest.raises(SchemaError, match="have no step"):
        fit_line(shifts, steps=(3,), end=40, run=["lesson"])


def test_first_mistakes(taught: dict[str, Any]) -> None:
    base, probes = taught["base"], taught["probes"]
    with pytest.raises(SchemaError, match="above 0"):
        Alarm(base, probes, STAGE, limit=0)
    with pytest.raises(SchemaError, match="after 2 different steps before the end"):
        Alarm(base, probes, STAGE, limit=1)
    with pytest.raises(SchemaError, match="answers every probe once"):
        Alarm(base.head(3), probes, STAGE, limit=1, line=LINE)
    with pytest.raises(SchemaError, match="so far it saw"):
        Alarm(base, probes, STAGE, limit=1, line=LINE).table()
    with pytest.raises(SchemaError, match="rising shares"):
        Line(shares=(0.5, 0.1), intercept=0, weights=(1, 1))
