"""Figure 12 draws what its tables hold; computing is tested with the experiment."""

from collections.abc import Callable
from types import ModuleType

import pandas as pd

from persona_interp.schema.words import ForecastScore


def test_it_draws_a_point_for_each_predictor(load: Callable[[str], ModuleType]) -> None:
    row = {"score": str(ForecastScore.R_SQUARED), "lo": 0.8, "hi": 1.0, "n": 9, "n_bases": 3}
    ends = [row | {"forecaster": name, "step": 40, "estimate": 0.9} for name in ("a", "b")]
    early = row | {"forecaster": "a", "step": 2, "estimate": 0.1}
    made = {
        "scores": pd.DataFrame([early, *ends]),
        "costs": pd.DataFrame({"forecaster": ["a", "b"], "cost": [1.0, 4.0]}),
    }
    script = load("fig12_forecast")
    assert script.numbers(made)["predictor"].tolist() == ["a", "b"]
    (axes,) = script.draw(made).axes
    assert len(axes.collections[-1].get_offsets()) == 2
