import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import agreement, agreement_matrix

ENDS = {"null_lo": -0.5, "null_hi": 0.5, "n": 48, "n_seeds": 3}


def judged(names: str = "ab") -> pd.DataFrame:
    rho = np.linspace(0.875, 0.25, len(names))
    table = pd.DataFrame({"estimator": list(names), "rho": rho, "works": rho >= 0.7}).assign(**ENDS)
    return table.assign(lo=rho - 0.125, hi=rho + 0.125)


def test_a_panel_for_each_thing_estimated_filled_where_it_works() -> None:
    figure = agreement({"measure": judged(), "metric": judged("xyz")}, line=0.7, title="both")
    one, two = figure.axes
    assert [t.get_text() for t in two.get_yticklabels()] == ["x", "y", "z"]
    dots = one.collections[-1]
    assert np.asarray(dots.get_offsets())[:, 0].tolist() == [0.875, 0.25]
    faces = np.asarray(dots.get_facecolor())
    assert faces[1].tolist() == [1, 1, 1, 1] and faces[0].tolist() != [1, 1, 1, 1]
    assert [line.get_xdata()[0] for line in one.lines] == [0.7, 0]
    assert "worlds: 3" in figure.get_supxlabel().replace(
        "\n", " "
    ) and "at least 0.7" in figure.get_supxlabel().replace("\n", " ")


def test_the_matrix_is_filled_on_both_sides() -> None:
    rows = [("a", "b", 0.5, 0.01), ("a", "c", -0.25, 0.5), ("b", "c", np.nan, np.nan)]
    table = pd.DataFrame(rows, columns=["one", "other", "rho", "p"]).assign(**ENDS)
    axes = agreement_matrix(table).axes[0]
    texts = np.array([t.get_text() for t in axes.texts]).reshape(3, 3)
    assert texts.tolist() == [["–", "+.50 •", "−.25"], ["+.50 •", "–", "–"], ["−.25", "–", "–"]]


def test_bad_input_is_named() -> None:
    with pytest.raises(SchemaError, match="column 'rho' is unknown"):
        agreement({"measure": judged().drop(columns="rho")})
    with pytest.raises(SchemaError, match="give one a panel"):
        agreement({})
    with pytest.raises(SchemaError, match="column 'p' is unknown"):
        agreement_matrix(pd.DataFrame({"one": ["a"], "other": ["b"], "rho": [1.0]}))
