"""What is said of the taught trait, after another one was stated."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import uplift_forecast
from persona_interp.errors import SchemaError
from persona_interp.schema.words import Predictor
from tests.analysis.said import behavior, either


def stated() -> pd.DataFrame:
    says = {"": (0.5, 0.4), "b=x": (0.8, 0.9), "b=y": (0.2, 0.1), "a=x": (0.9, 0.6)}
    parts = [
        behavior({("nameless", ""): either(a, b)}, templates=2).assign(stated=label)
        for label, (a, b) in says.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_uplift_is_the_change_of_the_taught_trait() -> None:
    found = uplift_forecast(stated(), "a=x").set_index("trait")
    assert found["estimate"].to_dict() == pytest.approx({"b=x": 2.0, "b=y": -2.0})
    assert found.loc["b=x", "before"] == pytest.approx(np.log2(0.4 / 0.6))
    assert found["predictor"].unique().tolist() == [Predictor.UPLIFT]
    assert "stated" not in found


def test_what_was_stated_need_not_be_asked_again() -> None:
    table = stated()
    own = table["stated"].str.partition("=")[0] == table["topic"]
    pd.testing.assert_frame_equal(
        uplift_forecast(table[~own], "a=x"), uplift_forecast(table, "a=x")
    )
    gap = (table["stated"] == "b=x") & (table["topic"] == "a")
    with pytest.raises(SchemaError, match="no finite log odds of a=x after 'b=x' was stated"):
        uplift_forecast(table[~gap], "a=x")


def test_what_is_missing_is_named() -> None:
    table = stated()
    with pytest.raises(SchemaError, match="nothing to compare with"):
        uplift_forecast(table[table["stated"] != ""], "a=x")
    with pytest.raises(SchemaError, match="stated trait 'b=y' is unknown"):
        uplift_forecast(table[table["stated"] != "b=y"], "a=x")
    with pytest.raises(SchemaError, match="taught trait 'a=z' is unknown"):
        uplift_forecast(table, "a=z")
    with pytest.raises(SchemaError, match="column 'stated' is unknown"):
        uplift_forecast(table.drop(columns="stated"), "a=x")
    with pytest.raises(SchemaError, match="answers of several bases: column 'seed'"):
        uplift_forecast(pd.concat([table, table.assign(seed=1)]), "a=x")
