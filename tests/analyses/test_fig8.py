"""Figure 8 draws estimators against the truth; computing is tested with the experiment."""

from collections.abc import Callable
from types import ModuleType

import pandas as pd


def test_it_draws_every_estimator_of_both(load: Callable[[str], ModuleType]) -> None:
    script = load("fig8_metric_measure")
    ends = {
        "lo": 0.25,
        "hi": 1.0,
        "p": 0.01,
        "null_lo": -0.5,
        "null_hi": 0.5,
        "within": 0.5,
        "n": 48,
        "n_seeds": 3,
    }
    pairs = {
        "measure": ("documents", "binding", 0.875),
        "metric": ("unshared topics", "root js", 0.5),
    }
    tables = {
        f"{name}_agreement": pd.DataFrame(
            {"one": [truth], "other": [estimator], "rho": [rho]}
        ).assign(**ends)
        for name, (truth, estimator, rho) in pairs.items()
    }
    table = script.numbers(tables)
    assert table[["of", "estimator", "works"]].values.tolist() == [
        ["measure", "binding", True],
        ["metric", "root js", False],
    ]
    figure = script.draw(tables)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["measure", "metric"]
    assert [[t.get_text() for t in axes.get_yticklabels()] for axes in figure.axes] == [
        ["binding"],
        ["root js"],
    ]
