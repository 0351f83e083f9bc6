import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots import transfer


def _texts(axes: Axes) -> list[str]:
    return [t.get_text() for t in axes.texts]


def _caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def test_cells_are_the_table(shifts: pd.DataFrame) -> None:
    last = shifts[shifts["step"] == 40]
    figure = transfer(last, title="Lesson on the beach")
    axes, bar = figure.axes
    rows = [t.get_text() for t in axes.get_yticklabels()]
    assert rows == [
        "lesson",
        "unrelated lesson",
        "scrambled world",
        "exact Bayes, taught trait certain",
    ]
    columns = [t.get_text() for t in axes.get_xticklabels()]
    assert columns == ["sport\nfootball", "place\nbeach\n(taught)", "food\npizza", "mean\nuntaught"]
    (image,) = axes.images
    assert np.asarray(image.get_array())[:3].ravel() == pytest.approx(last["estimate"].to_numpy())
    assert np.asarray(image.get_array())[3] == pytest.approx(6.0)
    low, high = image.get_clim()
    assert low == -high == -6.0 and bar.get_ylabel() == "shift (bits)"
    assert figure.get_suptitle() == "Lesson on the beach"


def test_dots_where_the_interval_excludes_zero(shifts: pd.DataFrame) -> None:
    (axes, _) = transfer(shifts[shifts["step"] == 40]).axes
    texts = _texts(axes)
    assert texts[0] == "+4.00 •" and texts[8] == "+0.00" and texts[12] == "+6.00"


def test_negative_and_undefined_cells(shifts: pd.DataFrame) -> None:
    last = shifts[shifts["step"] == 40].assign(bayes_certain=np.nan)
    last.loc[last.index[0], ["estimate", "lo", "hi"]] = [-1.5, -2.0, -1.0]
    texts = _texts(transfer(last[:-1]).axes[0])
    assert texts[0] == "−1.50 •" and texts[-1] == "–" and len(texts) == 12


def test_the_caption_says_what_the_interval_is(shifts: pd.DataFrame) -> None:
    last = shifts[shifts["step"] == 40]
    assert "over 10 templates" in _caption(transfer(last)) and "One seed: no interval" in _caption(
        transfer(last)
    )
    assert "t over 3 seeds" in _caption(transfer(last.assign(n_seeds=3)))
    assert "1 seed: no interval over seeds" in _caption(transfer(last.assign(n_seeds=1)))


def test_one_lesson_needs_no_arm(shifts: pd.DataFrame) -> None:
    one = shifts[(shifts["step"] == 40) & (shifts["arm"] == "lesson")].drop(columns="arm")
    assert transfer(one).axes[0].get_yticklabels()[0].get_text() == "lesson"


def test_ambiguous_cells_are_refused(shifts: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match=r"across_seeds\(table, by=\['arm', 'trait'\]\)"):
        transfer(shifts)
    with pytest.raises(SchemaError, match="column 'lo' is unknown"):
        transfer(shifts.drop(columns="lo"))


def test_names_too_wide_for_their_column_are_turned_and_whole(shifts: pd.DataFrame) -> None:
    long = {"sport=football": "sport=association", "food=pizza": "art=renaissance"}
    parts = [shifts[shifts["step"] == 40].replace({"trait": long})]
    for i in range(4):  # more columns, less room for each
        parts.append(
            parts[0][parts[0]["trait"] == "art=renaissance"].assign(trait=f"music=jazz {i}")
        )
    figure = transfer(pd.concat(parts))
    labels = figure.axes[0].get_xticklabels()
    assert labels[0].get_rotation() == 45
    assert {"sport association", "art renaissance"} <= {label.get_text() for label in labels}
