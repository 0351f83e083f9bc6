"""A forecast in words says sizes, directions, the worst case and the cost."""

import pandas as pd

from persona_interp.experiments.forecast.findings import persona_sentence, sentences

WHERE = {"context": "nameless", "persona": ""}


def table(*rows: tuple[str, int, float, float, float, float]) -> pd.DataFrame:
    names = ["trait", "step", "estimate", "lo", "hi", "bound"]
    return pd.DataFrame(rows, columns=pd.Index(names)).assign(**WHERE)


def test_a_fall_is_a_size_too() -> None:
    forecast = table(
        ("a=x", 8, 9.0, 8.0, 10.0, 11.0),
        ("a=x", 40, -2.0, -3.0, -1.0, 0.5),
        ("a=y", 40, 0.5, -0.5, 1.5, 2.5),
    )
    forecast.attrs["cost"] = 3.84
    forecast.attrs["base_cost"] = 98.2
    expected, worst, cost, once = sentences(forecast)
    assert expected == "Expect after step 40: a=x down 2.00 bits [1.00, 3.00]."
    assert "a=y: at most 2.50 bits up" in worst and "all 2 together" in worst
    assert cost == "Cost: 3.8 steps of the lesson."
    assert "not in this cost: 98 steps" in once


def test_nothing_beyond_its_interval_is_said_so() -> None:
    assert "no trait is expected to move" in sentences(table(("a=x", 40, 0.1, -1, 1.2, 2.0)))[0]


def test_a_persona_within_its_interval_is_said_so() -> None:
    row = {"persona": "john", "step": 40, "estimate": 0.2, "lo": -0.1, "hi": 0.5, "bound": 0.9}
    said = persona_sentence(pd.DataFrame([row | {"n": 4}]))
    assert said.startswith("No persona is expected to rise beyond its interval; highest is john")
    assert "0.20 bits [-0.10, 0.50], at most 0.90" in said and "fall" not in said


def test_what_is_not_named_is_counted() -> None:
    rows = [(f"a={i}", 40, 1.0 + i, 0.5, 9.0, 10.0) for i in range(7)]
    assert "; and 2 more." in sentences(table(*rows))[0]
