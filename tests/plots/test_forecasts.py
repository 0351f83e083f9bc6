"""Forecasts stand where they are, beside what came of them and what they cost."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import plots
from persona_interp.errors import SchemaError


def scores(**changes: object) -> pd.DataFrame:
    made = pd.DataFrame({"predictor": ["pilot", "guess", "harm"], "cost": [1.0, 0.0, 5.0]})
    made = made.assign(estimate=[0.95, 0.5, -40.0], lo=[0.9, 0.4, -80.0], hi=[1.0, 0.6, 0.0])
    return made.assign(n_bases=20, **changes)


def told() -> pd.DataFrame:
    rows = pd.DataFrame({"trait": ["a", "b"], "estimate": [1.0, -1.0]})
    rows = rows.assign(lesson="l", context="nameless", persona="", step=40)
    return rows.assign(lo=rows["estimate"] - 1, hi=rows["estimate"] + 1, bound=3.0)


def test_points_stand_at_their_cost_and_score() -> None:
    figure = plots.forecast_costs(scores(), ceiling=0.998)
    points = np.asarray(figure.axes[0].collections[-1].get_offsets())
    assert points.tolist() == [[1.0, 0.95], [0.0, 0.5], [5.0, -0.5]]
    note = figure.get_supxlabel().replace("\n", " ")
    assert "n = 20" in note and "0.998" in note and "1 below -0.5 are drawn there" in note


def test_one_row_a_predictor() -> None:
    with pytest.raises(SchemaError, match="two of these scores are of one predictor"):
        plots.forecast_costs(pd.concat([scores(), scores()]))


def test_shifts_stand_against_forecasts() -> None:
    shifts = told().assign(estimate=[1.5, -4.0])
    figure = plots.forecasts(told(), shifts)
    line = figure.axes[0].lines[-1]
    assert np.asarray(line.get_xydata()).tolist() == [[1.0, 1.5], [-1.0, -4.0]]
    assert "1 of 2 shifts within it" in figure.get_supxlabel().replace("\n", " ")


def test_shifts_of_two_bases_are_refused() -> None:
    with pytest.raises(SchemaError, match="give those of one base"):
        plots.forecasts(told(), pd.concat([told(), told()]))
