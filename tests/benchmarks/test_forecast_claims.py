"""Claims about forecasts are computed from raw tables, and agree with the package's own scores."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import validate
from forecast_claims import BOUNDS, FIRST, NO_PILOT, explained, foresees, measure, odds
from persona_interp import analysis, worlds
from persona_interp.experiments import preset
from persona_interp.experiments import run as compute
from persona_interp.experiments.forecast.config import base_world
from persona_interp.experiments.forecast.tables import summarize
from persona_interp.schema.words import ForecastScore, Predictor, Ruling
from persona_interp.store import Store
from tests.experiments.toys import FORECAST, john_and_few
from trial import Trial


def test_log_odds_are_those_of_the_package() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"topic": topic, "template": template, "value": value, "step": step}
        for step in (0, 40)
        for topic in ("art", "food")
        for template in ("one", "two")
        for value in ("a", "b", "c")
    ]
    behavior = pd.DataFrame(rows).assign(
        checkpoint=lambda t: t["step"].map({0: "base", 40: "tuned"}),
        stage="lesson",
        seed=0,
        context="nameless",
        persona="",
        split="test",
        answer_mass=1.0,
    )
    behavior["prompt"] = behavior["topic"] + behavior["template"]
    behavior["logprob"] = rng.uniform(-4, -1, len(behavior))
    own = odds(behavior.query("step == 40")) - odds(behavior.query("step == 0"))
    shifts = analysis.shift(behavior, split="test").set_index("trait")["estimate"]
    assert own.to_dict() == pytest.approx(shifts.to_dict())


def test_a_perfect_forecast_explains_everything_and_a_turned_one_does_not_foresee() -> None:
    rows = pd.DataFrame({"trait": list("abcde"), "actual": [5.0, 4.0, 3.0, 2.0, 1.0]})
    assert explained(rows.assign(estimate=rows["actual"])) == 1.0
    assert explained(rows.assign(estimate=3.0)) == 0.0
    assert foresees(rows.assign(estimate=[3.0, 5.0, 4.0, 0.0, 0.0]))
    assert not foresees(rows.assign(estimate=-rows["actual"]))


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_the_group_runs_from_the_command_line_and_agrees_with_the_experiments_scores(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    seed = FIRST + 3
    world = john_and_few() if own else None
    toy = preset("quick", "forecast", **FORECAST | {"n_lessons": 2, "world": world})

    def small(self: Trial, experiment: str, **changes: Any) -> Any:
        assert (experiment, self.seeds, changes["world"]) == ("forecast", [3], world)
        return toy

    def here(self: Trial, cells: Any) -> Store:
        return compute(cells, Store(self.out), workers=0)

    monkeypatch.setattr(Trial, "preset", small)
    monkeypatch.setattr(Trial, "run", here)
    out, table = tmp_path / "run", tmp_path / "validate.csv"
    command = ["validate.py", "--claims", "forecast", "--seed", "3", "--seeds", "1"]
    if world:
        command += ["--world", str(worlds.save(world, tmp_path / "world.yaml"))]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out), "--table", str(table)])
    assert validate.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "forecast, " in line]) == len(BOUNDS)
    stored = pd.read_csv(table)
    assert set(stored["ruling"]) <= {Ruling.UNDECIDED, Ruling.REPORTED}  # of one base
    # a file's world is that of every base
    cells = toy.seed_cells(seed)
    assert cells["documents",].config["world"] == (world or base_world(seed)).to_dict()
    # the same numbers as the package's own scores
    toy = preset(
        "quick", "forecast", **FORECAST | {"n_lessons": 2, "world": world, "seeds": (seed,)}
    )
    store = Store(out)
    values = dict(zip(BOUNDS, measure(toy, store, seed), strict=True))
    tables = summarize(toy, store)
    people = tables["personas"].set_index(["forecaster", "score"])["estimate"]
    for score, name in {
        ForecastScore.R_SQUARED: "R2 of personas",
        ForecastScore.COVERED: "personas in their interval",
        ForecastScore.BOUNDED: "lessons in which all personas are below their bound",
    }.items():
        wanted = people[NO_PILOT, str(score)]
        assert values[f"{NO_PILOT}: {name}"] == pytest.approx(wanted, nan_ok=True)
    scores = tables["scores"]
    last = scores.loc[scores["step"] == toy.lesson.steps]
    scores = last.set_index(["forecaster", "score"])["estimate"]
    for score, name in {
        ForecastScore.R_SQUARED: "R2",
        ForecastScore.WORST: "R2, worst lesson",
        ForecastScore.RISER: "largest riser in the top 3",
        ForecastScore.COVERED: "shifts in their interval",
        ForecastScore.BOUNDED: "lessons below the joint bound",
        ForecastScore.SLACK: "bound over largest rise, median",
    }.items():
        wanted = scores[NO_PILOT, str(score)]
        assert values[f"{NO_PILOT}: {name}"] == pytest.approx(wanted, nan_ok=True)
    pilot = "pilot of one step"
    r2, alone = (scores[name, str(ForecastScore.R_SQUARED)] for name in (pilot, Predictor.PILOT))
    assert values[f"{pilot}: R2 above that of the micro pilot alone"] == pytest.approx(r2 - alone)


def test_odds_of_what_is_nearly_certain_are_numbers() -> None:
    # taken from 1, nothing would be left of the other answers
    table = pd.DataFrame({"topic": "art", "template": "a", "value": ["pop", "rococo", "op"]})
    certain = odds(table.assign(logprob=[-1e-30, -101.0, -101.0]))
    assert certain.round(6).to_dict() == {"art=op": -101.0, "art=pop": 100.0, "art=rococo": -101.0}
