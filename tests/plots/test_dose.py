import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import dose
from persona_interp.plots.dose import ratio

DOSES = [-4, 0, 4]


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    rows = [
        {
            "when": when,
            "dose": d,
            "estimate": k * d,
            "lo": k * d - 0.5,
            "hi": k * d + 0.5,
            "bayes": k * d + 0.25,
        }
        for when, k in (("before", 0.25), ("after", 1.0))
        for d in DOSES
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def said() -> pd.DataFrame:
    return pd.DataFrame(
        {"dose": DOSES, "estimate": [0.1, 0.5, 0.8], "lo": [0.0, 0.4, 0.7], "hi": [0.2, 0.6, 0.9]}
    )


@pytest.fixture(scope="module")
def curve(said: pd.DataFrame) -> pd.DataFrame:
    return said.assign(predicted_lo=0.0, predicted_hi=1.0, n_new=3, n_seeds=4)


def test_contrasts_beside_bayes_and_the_fitted_curve(contrasts, said, curve) -> None:
    figure = dose(contrasts, said, curve=curve, level=0.73, pair=("john", "sam"), title="Contrast")
    left, right = figure.axes
    drawn = [list(map(float, line.get_ydata())) for line in left.lines[1:]]  # the first is the zero
    assert drawn == [[-1, 0, 1], [-0.75, 0.25, 1.25], [-4, 0, 4], [-3.75, 0.25, 4.25]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before", "after"]
    assert [float(y) for y in right.lines[0].get_ydata()] == [0.73, 0.73]
    assert [float(y) for y in right.lines[1].get_ydata()] == [0.1, 0.5, 0.8]
    assert [label.get_text() for label in left.get_xticklabels()] == ["1:16", "1:1", "16:1"]
    said_below = figure.get_supxlabel().replace("\n", " ")
    assert "4 seeds" in said_below and "mean of 3 new seeds" in said_below and "0.73" in said_below
    assert figure.get_suptitle() == "Contrast" and left.get_xlabel() == "written about john : sam"
    assert right.get_ylabel() == "probability of john's values"


def test_one_seed_claims_no_interval(contrasts, said, curve) -> None:
    none = {"lo": np.nan, "hi": np.nan}
    alone = curve.assign(**none, predicted_lo=np.nan, predicted_hi=np.nan, n_seeds=1)
    figure = dose(contrasts.assign(**none), said.assign(**none), curve=alone, level=0.5)
    assert "One seed: no interval over seeds." in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize(
    ("log2", "text"), [(0.0, "1:1"), (6.0, "64:1"), (-6.0, "1:64"), (3.0, "8:1")]
)
def test_doses_are_said_as_ratios(log2: float, text: str) -> None:
    assert ratio(log2) == text


def test_bad_tables_are_named(contrasts, said, curve) -> None:
    with pytest.raises(SchemaError, match="column 'bayes' is unknown"):
        dose(contrasts.drop(columns="bayes"), said, curve=curve, level=0.5)
    with pytest.raises(SchemaError, match="curves table lacks"):
        dose(contrasts, said, curve=said, level=0.5)
