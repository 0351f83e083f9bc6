"""Figure 7 draws what the summon experiment found."""

import time
from collections.abc import Callable
from types import ModuleType

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("fig7_summon")


def test_it_draws_the_laws_with_starts_left_out(script: ModuleType) -> None:
    laws = pd.DataFrame(
        {"law": ["measure and distance", "uniform"], "bits": [0.25, 0.75], "estimate": [0.0, 0.5]}
    )
    laws = laws.assign(
        lo=[0.0, 0.25], hi=[0.0, 0.75], unit="seeds", n_units=3, n=12, left_out="start"
    )
    shares = pd.DataFrame({"share": [0.75, 0.25], "measure": [0.5, 0.125], "distance": [0, 2]})
    tables = {
        "summoned": shares,
        "rivals": pd.concat([laws, laws.assign(left_out="seed", bits=9.0)]),
    }
    assert script.numbers(tables)["bits"].tolist() == [0.25, 0.75]
    started = time.perf_counter()
    figure = script.draw(tables)
    assert time.perf_counter() - started < 3
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == [
        "uniform",
        "measure and distance",
    ]
