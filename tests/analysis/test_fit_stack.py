"""Intervals and bounds hold for bases that were not there, at the rate that they claim."""

import numpy as np
import pytest

from persona_interp.analysis import fit_stack, forecast_scores
from persona_interp.analysis.stack import stack_terms
from persona_interp.errors import SchemaError
from persona_interp.schema.words import ForecastScore
from tests.analysis.forecast_worlds import STEPS, planted


def coverage(seed: int, *, spread: float) -> tuple[float, float]:
    """Share of shifts within the interval, and of lessons below the bound, of 20 new bases."""
    tables = planted(45, seed=seed, noise=0.5, spread=spread)
    stack = fit_stack(*tables.of(range(25)), steps=STEPS, names=["good"], folds=5)
    new = tables.of(range(25, 45))
    forecast = stack.predict(new.predictors, steps=STEPS, at=[STEPS], by=("base", "lesson"))
    scores = forecast_scores(forecast, new.shifts).set_index("score")["estimate"]
    return float(scores[ForecastScore.COVERED]), float(scores[ForecastScore.BOUNDED])


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_intervals_and_bounds_hold_for_new_bases(spread: float) -> None:
    covered, bounded = np.array([coverage(seed, spread=spread) for seed in range(20)]).T
    assert 0.93 <= covered.mean() <= 0.97, covered.mean()
    assert 0.95 <= bounded.mean(), bounded.mean()


def test_intervals_and_bounds_hold_for_some_new_bases() -> None:
    covered, bounded = coverage(0, spread=0.0)
    assert 0.9 <= covered <= 0.99 and bounded >= 0.9


def test_what_is_noise_counts_for_nothing() -> None:
    stack = fit_stack(*planted(20, seed=4, noise=0.5), steps=STEPS)
    last = stack.lines[-1]
    assert np.allclose(last.coefficients, [2, 0, 1, 0, -1, 0], atol=0.05)
    assert [line.fraction for line in stack.lines] == [0.2, 1.0]
    # 2 good + good x taught - before has a variance of 6, the noise one of .25
    assert last.r2 == pytest.approx(1 - 0.25 / 6.25, abs=0.01)
    assert last.scale[0] + last.scale[1] == pytest.approx(0.5 * np.sqrt(2 / np.pi), abs=0.05)


def test_a_level_that_is_always_0_counts_for_nothing() -> None:
    predictors, shifts = planted(5, seed=3).of(range(5))
    stack = fit_stack(predictors.assign(taught_before=0.0), shifts, steps=STEPS)
    for line in stack.lines:
        terms = dict(zip(stack_terms(stack.names), line.coefficients, strict=True))
        assert [terms[name] for name in terms if name.endswith("taught level")] == [0.0] * 3


def test_the_order_of_rows_does_not_matter() -> None:
    told, shifts = planted(6, seed=5, noise=0.5)
    one = fit_stack(told, shifts, steps=STEPS)
    other = fit_stack(told, shifts.iloc[::-1], steps=STEPS)
    assert one == other


def test_what_cannot_be_fitted_is_named() -> None:
    told, shifts = planted(4, seed=6)
    with pytest.raises(SchemaError, match="at least 3 bases, whole ones left out; got 2"):
        fit_stack(told[told["base"] < 2], shifts, steps=STEPS)
    with pytest.raises(SchemaError, match="predictor 'goood' is unknown; did you mean 'good'"):
        fit_stack(told, shifts, steps=STEPS, names=["goood"])
    with pytest.raises(SchemaError, match=r"no finite shift at step 8 for base=0, lesson=l0"):
        fit_stack(told, shifts.iloc[1:], steps=STEPS)
    with pytest.raises(SchemaError, match="a shift is of step 40; these lessons have 20 steps"):
        fit_stack(told, shifts, steps=20)
    with pytest.raises(SchemaError, match="two of these shifts are of one base, lesson"):
        fit_stack(told, shifts.assign(step=8), steps=STEPS)


def test_few_bases_promise_what_they_can() -> None:
    tables = planted(6, seed=4, noise=1.0, spread=0.5)
    stack = fit_stack(*tables, steps=STEPS, guarantee=6 / 7)
    forecast = stack.predict(tables.predictors, steps=STEPS, by=("base", "lesson"))
    assert stack.level == forecast.attrs["level"] == 6 / 7
    assert np.isfinite(forecast["bound"]).all()
    # no bound of 95 % can be promised by six
    plain = fit_stack(*tables, steps=STEPS)
    assert plain.level == 0.95 and np.isinf(plain.lines[-1].reach)
    assert stack.lines[-1].width > plain.lines[-1].width
    with pytest.raises(SchemaError, match=r"6 bases guarantee a level above 0 and at most 0\.857"):
        fit_stack(*tables, steps=STEPS, guarantee=0.95)


@pytest.mark.slow
def test_a_guarantee_is_kept_by_most_next_bases() -> None:
    held = []
    for seed in range(40):
        tables = planted(7, seed=seed, noise=1.0, spread=0.5, n_lessons=2)
        stack = fit_stack(*tables.of(range(6)), steps=STEPS, guarantee=6 / 7)
        new = tables.of(range(6, 7))
        forecast = stack.predict(new.predictors, steps=STEPS, at=[STEPS], by=("base", "lesson"))
        both = forecast.merge(new.shifts, on=["lesson", "trait", "step"], suffixes=("", "_is"))
        held.append(both["estimate_is"].between(both["lo"], both["hi"]).all())
    # of a share of 6 / 7 in 40 draws less than this comes in one of a thousand
    assert np.mean(held) > 0.65


def test_levels_may_be_left_out() -> None:
    stack = fit_stack(*planted(5, seed=5), steps=STEPS, levels=False)
    good, poor, *rest = stack.lines[-1].coefficients
    assert rest == [0.0] * 4 and good > 1 > abs(poor)
