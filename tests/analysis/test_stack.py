"""A linear world is forecast exactly; a file brings back the stack; what is missing is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import Stack, fit_stack
from persona_interp.analysis.stack import StackLine
from persona_interp.errors import SchemaError
from tests.analysis.forecast_worlds import NAMES, STEPS, planted

ONE = {"context": "nameless", "persona": "", "trait": "a=x"}


def line(fraction: float, coefficient: float, **numbers: float) -> StackLine:
    """A line of one predictor, which counts this much."""
    known = StackLine(
        fraction=fraction,
        coefficients=(coefficient, 0.0, 0.0, 0.0),
        intercept=0.0,
        penalty=0.0,
        scale=(0.5, 0.25),
        width=2.0,
        reach=4.0,
        r2=1.0,
    )
    return replace(known, **numbers)


def told(estimate: float = 2.0, **more: object) -> pd.DataFrame:
    """A predictors table of one trait."""
    levels = {"before": 0.0, "taught_before": -1.0, "cost": 1.5}
    return pd.DataFrame([{**ONE, "predictor": "good", "estimate": estimate, **levels, **more}])


def test_a_linear_world_is_forecast_exactly() -> None:
    tables = planted(6, seed=0)
    stack = fit_stack(*tables.of(range(5)), steps=STEPS)
    assert stack.names == NAMES
    last = stack.lines[-1]
    assert np.allclose(last.coefficients, [2, 0, 1, 0, -1, 0], atol=1e-6)
    assert last.r2 == pytest.approx(1) and last.intercept == pytest.approx(0, abs=1e-6)
    new = tables.of(range(5, 6))
    forecast = stack.predict(new.predictors, steps=STEPS, by=("base", "lesson"))
    keys = ["base", "lesson", "trait", "step"]
    both = forecast.merge(new.shifts, on=keys, suffixes=("", "_actual"))
    assert len(both) == len(new.shifts)
    assert np.allclose(both["estimate"], both["estimate_actual"], atol=1e-6)
    assert (both["hi"] - both["lo"]).max() < 1e-4
    assert forecast.attrs["cost"] == 1.5


def test_a_base_that_no_lesson_moves() -> None:
    stack = fit_stack(*planted(5, seed=1, effect=0.0), steps=STEPS)
    tables = planted(1, seed=2)
    forecast = stack.predict(tables.predictors, steps=STEPS, by=("base", "lesson"))
    assert np.allclose(forecast["estimate"], 0, atol=1e-6)
    assert np.isnan(stack.lines[0].r2)


def test_between_fractions_forecasts_lie_on_a_line() -> None:
    stack = Stack(("good",), (line(0.5, 1.0), line(1.0, 3.0)))
    found = stack.predict(told(), steps=40, at=[10, 20, 30, 40]).set_index("step")
    assert found["estimate"].tolist() == [1.0, 2.0, 4.0, 6.0]
    # half of the interval: 2 x (.5 + .25 x 2) = 2 at .5, 2 x (.5 + .25 x 6) = 4 at 1
    assert (found["hi"] - found["estimate"]).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (found["bound"] - found["estimate"]).tolist() == [2.0, 4.0, 6.0, 8.0]
    assert stack.predict(told(), steps=100)["step"].tolist() == [50, 100]
    with pytest.raises(SchemaError, match="step 41 is beyond what this stack forecasts"):
        stack.predict(told(), steps=40, at=[41])


def test_few_bases_promise_no_bound_and_no_other_number_is_lost() -> None:
    unbounded = Stack(("good",), (line(0.5, 1.0, reach=np.inf), line(1.0, 3.0, reach=np.inf)))
    found = unbounded.predict(told(), steps=4, at=[1, 2, 4])
    assert np.isinf(found["bound"]).all()
    assert np.isfinite(found[["estimate", "lo", "hi"]]).all(axis=None)


def test_a_file_brings_back_the_same_stack(tmp_path: Path) -> None:
    tables = planted(4, seed=3, noise=0.3)
    stack = fit_stack(*tables, steps=STEPS, provenance={"made_by": "a test"})
    assert np.isinf(stack.lines[0].reach)
    path = stack.to_json(tmp_path / "stack.json")
    again = Stack.from_json(path)
    assert again == stack
    assert again.provenance["bases"] == ["0", "1", "2", "3"]
    assert again.provenance["made_by"] == "a test" and again.provenance["n_lessons"] == 16
    arguments = {"steps": STEPS, "by": ("base", "lesson")}
    one, other = (s.predict(tables.predictors, **arguments) for s in (stack, again))
    pd.testing.assert_frame_equal(one, other)
    assert again.to_json(tmp_path / "again.json").read_text() == path.read_text()


def test_a_file_that_is_no_stack(tmp_path: Path) -> None:
    path = Stack(("good",), (line(0.5, 1.0),)).to_json(tmp_path / "stack.json")
    value = json.loads(path.read_text())
    del value["lines"][0]["coefficients"]["level"]
    path.write_text(json.dumps(value))
    with pytest.raises(SchemaError, match=r"holds no stack .* KeyError\('level'\)"):
        Stack.from_json(path)
    path.write_text(json.dumps({**value, "lines": [], "level": 95}))
    with pytest.raises(SchemaError, match=r"level is a fraction between 0 and 1; got 95\.0"):
        Stack.from_json(path)
    path.write_text(json.dumps({**value, "lines": []}))
    with pytest.raises(SchemaError, match="fractions of the steps rise"):
        Stack.from_json(path)
    with pytest.raises(SchemaError, match="the provenance of a stack is texts"):
        Stack(("good",), (line(1.0, 1.0),), {"at": {1, 2}}).to_json(path)


def test_what_is_missing_is_named() -> None:
    stack = Stack(("good", "poor"), (line(1.0, 1.0, coefficients=(0.0,) * 6),))
    with pytest.raises(SchemaError, match="predictor 'poor' is unknown"):
        stack.predict(told(), steps=8)
    other = told(predictor="poor", trait="b=x")
    with pytest.raises(SchemaError, match=r"predictor 'poor' is missing for .*trait=a=x"):
        stack.predict(pd.concat([told(), other]), steps=8)
    with pytest.raises(SchemaError, match=r"predictor 'good' is there twice .* name in by="):
        stack.predict(pd.concat([told(), told(), told(predictor="poor")]), steps=8)
    with pytest.raises(SchemaError, match="estimate of predictor 'good' is nan for trait a=x"):
        stack.predict(pd.concat([told(np.nan), told(predictor="poor")]), steps=8)
