"""Scores of forecasts whose errors are planted."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import forecast_scores
from persona_interp.errors import SchemaError
from persona_interp.schema.words import ForecastScore
from tests.analysis.forecast_worlds import TRAITS


def tables(n_bases: int = 6, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasts and shifts of two lessons a base: forecast = shift / 2 + small errors."""
    rng = np.random.default_rng(seed)
    rows = [(b, lesson, t) for b in range(n_bases) for lesson in "lm" for t in TRAITS]
    rows = pd.DataFrame(rows, columns=["base", "lesson", "trait"])
    rows = rows.assign(context="nameless", persona="", step=40)
    actual = rng.standard_normal(len(rows)) + 1
    forecast = rows.assign(estimate=actual / 2 + 0.01 * rng.standard_normal(len(rows)))
    ends = {"lo": actual - 1, "hi": actual + 1, "bound": actual + 1}
    return forecast.assign(**ends), rows.assign(estimate=actual)


def scored(forecast: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    return forecast_scores(forecast, shifts).set_index("score")


def test_scores_are_those_of_their_definitions() -> None:
    forecast, shifts = tables()
    actual, expected = shifts["estimate"], forecast["estimate"]
    found = scored(forecast, shifts)
    r2 = 1 - ((actual - expected) ** 2).sum() / ((actual - actual.mean()) ** 2).sum()
    assert found.loc[ForecastScore.R_SQUARED, "estimate"] == pytest.approx(r2)
    assert found.loc[ForecastScore.SLOPE, "estimate"] == pytest.approx(2, abs=0.01)
    assert found.loc[ForecastScore.RISER, "estimate"] == 1
    assert found.loc[ForecastScore.COVERED, "estimate"] == 1
    assert found.loc[ForecastScore.BOUNDED, "estimate"] == 1
    largest = shifts.groupby(["base", "lesson"])["estimate"].max()
    slack = ((largest + 1) / largest).median()
    assert found.loc[ForecastScore.SLACK, "estimate"] == pytest.approx(slack)
    assert found["n"].tolist() == [144, 12, 144, 12, 144, 12, 12]
    assert found["n_bases"].eq(6).all() and len(found) == len(ForecastScore)
    ends = found.drop(index=str(ForecastScore.WORST))
    assert (ends["lo"] <= ends["estimate"]).all() and (ends["estimate"] <= ends["hi"]).all()
    assert found.loc[ForecastScore.WORST, ["lo", "hi"]].isna().all()


def test_one_miss_breaks_a_lesson_s_bound_and_one_cell() -> None:
    forecast, shifts = tables()
    shifts.loc[3, "estimate"] = forecast.loc[3, "bound"] + 1
    found = scored(forecast, shifts)["estimate"]
    assert found[ForecastScore.BOUNDED] == pytest.approx(11 / 12)
    assert found[ForecastScore.COVERED] == pytest.approx(143 / 144)


def test_the_worst_lesson_is_one_of_them() -> None:
    forecast, shifts = tables()
    of_lesson = (forecast["base"] == 4) & (forecast["lesson"] == "m")
    forecast.loc[of_lesson, "estimate"] *= -1
    worst = scored(forecast, shifts).loc[ForecastScore.WORST, "estimate"]
    one = scored(forecast[of_lesson], shifts).loc[ForecastScore.R_SQUARED, "estimate"]
    assert worst == pytest.approx(one) and worst < 0


def test_predictors_and_steps_are_scored_apart() -> None:
    forecast, shifts = tables()
    plain = forecast.drop(columns=["lo", "hi", "bound"])
    both = pd.concat([plain.assign(predictor="half"), plain.assign(predictor="no", estimate=0.0)])
    early = shifts.assign(step=8, estimate=0.5 * shifts["estimate"])
    both = pd.concat([both, both.assign(step=8)])
    found = forecast_scores(both, pd.concat([shifts, early]), by="predictor")
    found = found.set_index(["predictor", "step", "score"])["estimate"]
    assert len(found) == 2 * 2 * 4
    assert found["half", 8, str(ForecastScore.R_SQUARED)] > 0.99
    assert found["half", 40, str(ForecastScore.R_SQUARED)] < 0.6
    assert found["no", 40, str(ForecastScore.R_SQUARED)] < 0
    assert np.isnan(found["no", 40, str(ForecastScore.SLOPE)])


def test_one_base_has_no_interval() -> None:
    found = scored(*tables(1))
    assert found[["lo", "hi"]].isna().all(axis=None) and np.isfinite(found["estimate"]).all()


def test_what_does_not_match_is_named() -> None:
    forecast, shifts = tables()
    with pytest.raises(SchemaError, match="no finite shift, or no finite forecast, for base=0"):
        forecast_scores(forecast, shifts.iloc[1:])
    with pytest.raises(SchemaError, match="two of these forecasts are of one base, lesson"):
        forecast_scores(pd.concat([forecast, forecast]), shifts)
    with pytest.raises(SchemaError, match="column 'lesson' is unknown"):
        forecast_scores(forecast, shifts.drop(columns="lesson"))
