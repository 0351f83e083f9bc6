import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import order

ORDERS = ("second last", "first last", "mixed")


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    rows = [
        {
            "order": o,
            "series": s,
            "estimate": x * k,
            "lo": x * k - 0.5,
            "hi": x * k + 0.5,
            "n_seeds": 3,
        }
        for s, k in (("before the lesson", 1), ("after the lesson", 2))
        for o, x in zip(ORDERS, (-1.0, 1.0, 0.0), strict=True)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def own() -> pd.DataFrame:
    table = pd.DataFrame({"replay": [0.2, 0.0] * 2, "which": ["earlier"] * 2 + ["later"] * 2})
    return table.assign(estimate=[0.75, 0.25, 0.875, 0.875], lo=0.125, hi=1.0)


def test_contrasts_by_order_and_own_values_by_rehearsal(
    contrasts: pd.DataFrame, own: pd.DataFrame
) -> None:
    figure = order(contrasts, own, title="Contrast of john over sam")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(ORDERS)
    points = {
        c.get_label(): c.get_offsets()[:, 0].tolist()
        for c in left.collections
        if c.get_offsets().shape[0] == 3
    }
    assert points["before the lesson"] == [-1.0, 1.0, 0.0] and points["after the lesson"] == [
        -2.0,
        2.0,
        0.0,
    ]
    assert [[float(y) for y in line.get_ydata()] for line in right.lines] == [
        [0.25, 0.75],
        [0.875, 0.875],
    ]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-2:] == ["earlier, under its own name", "later, under its own name"]
    assert "3 seeds" in figure.get_supxlabel().replace(
        "\n", " "
    ) and "Exact Bayes expects no difference" in figure.get_supxlabel().replace("\n", " ")


def test_one_seed_claims_no_interval(contrasts: pd.DataFrame, own: pd.DataFrame) -> None:
    none = {"lo": np.nan, "hi": np.nan}
    figure = order(contrasts.assign(**none, n_seeds=1), own.assign(**none))
    assert "One seed: no interval over seeds." in figure.get_supxlabel().replace("\n", " ")


def test_bad_tables_are_named(contrasts: pd.DataFrame, own: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="column 'series' is unknown"):
        order(contrasts.drop(columns="series"), own)
    with pytest.raises(SchemaError, match="column 'replay' is unknown"):
        order(contrasts, own.drop(columns="replay"))
