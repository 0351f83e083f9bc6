"""Bayes over names, by hand."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import belief_forecast, summon_forecast
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Predictor
from tests.analysis.said import behavior, either


def base(*, templates: int = 1) -> pd.DataFrame:
    speakers = {
        ("named", "ann"): either(0.9, 0.8),
        ("named", "bob"): either(0.1, 0.2),
        ("nameless", ""): either(0.6, 0.7),
    }
    return behavior(speakers, templates=templates)


def odds(p: float) -> float:
    return float(np.log2(p / (1 - p)))


def test_the_posterior_is_that_of_bayes() -> None:
    found = belief_forecast(base(templates=3), "a=x").set_index("trait")
    assert found.index.tolist() == ["b=x", "b=y"]
    assert found.loc["b=x", "estimate"] == pytest.approx(odds(0.9 * 0.8 + 0.1 * 0.2) - odds(0.5))
    assert found.loc["b=x", "before"] == pytest.approx(odds(0.7))
    assert found["taught_before"].unique() == pytest.approx([odds(0.6)])
    assert found["predictor"].unique().tolist() == [Predictor.BELIEFS]


def test_softened_beliefs_move_less_and_not_at_all() -> None:
    half = belief_forecast(base(), "a=x", soften=0.5)["estimate"]
    whole = belief_forecast(base(), "a=x")["estimate"]
    assert (half.abs() < whole.abs()).all() and (np.sign(half) == np.sign(whole)).all()
    assert np.allclose(belief_forecast(base(), "a=x", soften=0.0)["estimate"], 0)


def test_who_believes_all_alike_foretells_nothing() -> None:
    same = {("named", n): either(0.9, 0.8) for n in ("ann", "bob")} | {
        ("nameless", ""): either(0.5, 0.5)
    }
    assert np.allclose(belief_forecast(behavior(same), "a=x")["estimate"], 0)


def test_names_may_have_weights_of_their_own() -> None:
    found = belief_forecast(base(), "a=x", weights={"ann": 1.0, "bob": 3.0}).set_index("trait")
    ann = 0.9 / (0.9 + 3 * 0.1)
    want = odds(ann * 0.8 + (1 - ann) * 0.2) - odds(0.25 * 0.8 + 0.75 * 0.2)
    assert found.loc["b=x", "estimate"] == pytest.approx(want)
    with pytest.raises(SchemaError, match="persona 'bob' is unknown"):
        belief_forecast(base(), "a=x", weights={"ann": 1.0})
    with pytest.raises(SchemaError, match=r"weights= are positive numbers; got 0\.0"):
        belief_forecast(base(), "a=x", weights={"ann": 1.0, "bob": 0.0})


def test_evidence_of_several_taught_traits_adds_up() -> None:
    more = {
        ("named", "ann"): either(0.9, 0.8) | {"c=x": 0.8, "c=y": 0.2},
        ("named", "bob"): either(0.1, 0.2) | {"c=x": 0.3, "c=y": 0.7},
        ("nameless", ""): either(0.5, 0.5) | {"c=x": 0.5, "c=y": 0.5},
    }
    found = belief_forecast(behavior(more), ["a=x", "b=x"]).set_index("trait")["estimate"]
    ann = 0.9 * 0.8 / (0.9 * 0.8 + 0.1 * 0.2)
    want = odds(ann * 0.8 + (1 - ann) * 0.3) - odds(0.55)
    assert found["c=x"] == pytest.approx(want) and len(found) == 2


def test_the_near_one_is_summoned() -> None:
    plain = belief_forecast(base(), "a=x").set_index("trait")["estimate"]
    near = summon_forecast(base(), "a=x", distance=0.0).set_index("trait")["estimate"]
    pd.testing.assert_series_equal(plain, near)
    far = summon_forecast(base(), "a=x", distance=100.0).set_index("trait")
    assert np.allclose(far["estimate"], 0, atol=1e-6), "the nearest name has all weight before too"
    assert far["predictor"].unique().tolist() == [Predictor.SUMMON]


def test_what_is_wrong_is_named() -> None:
    table = base()
    with pytest.raises(SchemaError, match="context 'named' is unknown"):
        belief_forecast(table[table["context"] == "nameless"], "a=x")
    with pytest.raises(SchemaError, match="taught trait 'a=z' is unknown"):
        belief_forecast(table, "a=z")
    with pytest.raises(SchemaError, match="beliefs of several bases: column 'seed' holds 2"):
        belief_forecast(pd.concat([table, table.assign(seed=1)]), "a=x")
    lacks = table[(table["persona"] != "bob") | (table["topic"] != "b")]
    with pytest.raises(SchemaError, match="bob was not asked the same"):
        belief_forecast(lacks, "a=x")
