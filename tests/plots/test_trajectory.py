import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots import trajectory


def _lines(figure: Figure) -> dict[str, list[float]]:
    return {str(x.get_label()): [float(y) for y in x.get_ydata()] for x in figure.axes[0].lines}


@pytest.fixture(scope="module")
def mean(shifts: pd.DataFrame) -> pd.DataFrame:
    return shifts[shifts["trait"] == "mean"]


def test_one_line_an_arm_with_its_interval_within_the_seed(mean: pd.DataFrame) -> None:
    table = mean.assign(n_seeds=1)
    figure = trajectory(table, label="mean shift", unit="bits", start=0)
    lines = _lines(figure)
    assert lines["lesson"] == pytest.approx([0.0, 1.1, 4.3])
    assert lines["unrelated lesson"] == pytest.approx([0.0, 0.7, 2.3])
    assert "scrambled world" in lines
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mean shift (bits)"
    assert _lines(trajectory(table))["lesson"] == pytest.approx([1.1, 4.3]), "no start is made up"
    bands = [part for part in axes.collections if isinstance(part, PolyCollection)]
    ends = bands[0].get_paths()[0].vertices
    assert len(bands) == 3 and ends[:, 1].max() == pytest.approx(4.8) and ends[:, 1].min() == 0.0
    note = figure.get_supxlabel()
    assert "within one seed, n = 4" in note and "no interval over seeds" in note


def test_bayes_lines_are_the_first_arms(mean: pd.DataFrame) -> None:
    lines = _lines(trajectory(mean, start=0))
    assert lines["Bayes, taught trait certain"] == [6.0, 6.0, 6.0]
    assert lines["Bayes, n lessons = K n documents"] == [0.0, 1.0, 5.0]
    assert "Bayes, n lessons = K n documents" not in _lines(
        trajectory(mean.assign(bayes_mixing=float("nan")), start=0)
    )


def test_seeds_are_thin_lines(mean: pd.DataFrame) -> None:
    seeds = pd.concat([mean, mean.assign(seed=1, estimate=mean["estimate"] + 1)])
    figure = trajectory(mean.assign(n_seeds=2), seeds=seeds, start=0)
    (axes,) = figure.axes
    assert sum(x.get_linewidth() == 0.5 for x in axes.lines) == 6
    assert (
        "over 2 seeds" in figure.get_supxlabel() and "Thin: single seeds" in figure.get_supxlabel()
    )


def test_any_table_is_drawn_the_lines_that_go_farthest_first() -> None:
    rows = [(f"f{i}", step, i * step) for i in range(12) for step in (0, 1, 2)]
    table = pd.DataFrame(rows, columns=["what", "step", "estimate"])
    table = table.assign(
        lo=table["estimate"] - 1, hi=table["estimate"] + 1, unit="bits", kind="wit"
    )
    figure = trajectory(table, line="what", most=3)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["f11", "f10", "f9"]
    assert figure.axes[0].get_ylabel() == "change of wit (bits)"
    assert "9 lines that go less far are in the table" in figure.get_supxlabel()


def test_points_that_were_claimed_are_filled() -> None:
    table = pd.DataFrame({"step": [1, 2, 3], "estimate": [0.0, 1.0, 2.0], "q": [0.5, 0.04, np.nan]})
    figure = trajectory(table.assign(lo=-1.0, hi=3.0))
    (dots,) = (part for part in figure.axes[0].collections if isinstance(part, PathCollection))
    assert np.asarray(dots.get_offsets()).tolist() == [[2.0, 1.0]]
    assert "Filled: q <= 0.05" in figure.get_supxlabel() and not figure.legends


def test_ambiguous_points_are_refused(shifts: pd.DataFrame, mean: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match=r"same arm 'lesson' and step 8; .*trait == 'mean'"):
        trajectory(shifts)
    with pytest.raises(SchemaError, match="column 'step' is unknown"):
        trajectory(shifts.drop(columns="step"))
    with pytest.raises(SchemaError, match="column 'am' is unknown; did you mean 'arm'"):
        trajectory(mean, line="am")
    with pytest.raises(SchemaError, match="2 rows have no step, and a line through models"):
        trajectory(mean.assign(step=[np.nan, np.nan, *mean["step"][2:]]))
    units = mean.assign(unit=["bits", "nats"] * 3)
    with pytest.raises(SchemaError, match="bits and nats do not share an axis"):
        trajectory(units)
    with pytest.raises(SchemaError, match="no rows"):
        trajectory(mean[:0])
