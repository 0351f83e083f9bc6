import pandas as pd
import pytest
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots import trajectory


def _lines(figure: Figure) -> dict[str, list[float]]:
    return {str(x.get_label()): [float(y) for y in x.get_ydata()] for x in figure.axes[0].lines}


@pytest.fixture(scope="module")
def mean(shifts: pd.DataFrame) -> pd.DataFrame:
    return shifts[shifts["trait"] == "mean"]


def test_one_line_an_arm_from_zero(mean: pd.DataFrame) -> None:
    figure = trajectory(mean)
    lines = _lines(figure)
    assert lines["lesson"] == pytest.approx([0.0, 1.1, 4.3])
    assert (
        lines["unrelated lesson"] == pytest.approx([0.0, 0.7, 2.3]) and "scrambled world" in lines
    )
    assert figure.axes[0].get_ylabel() == "mean shift of untaught traits (bits)"
    assert not figure.axes[
        0
    ].collections and "no interval over seeds" in figure.get_supxlabel().replace("\n", " ")


def test_bayes_lines_are_the_first_arms(mean: pd.DataFrame) -> None:
    lines = _lines(trajectory(mean))
    assert lines["Bayes, taught trait certain"] == [6.0, 6.0, 6.0]
    assert lines["Bayes, n lessons = K n documents"] == [0.0, 1.0, 5.0]
    assert "Bayes, n lessons = K n documents" not in _lines(
        trajectory(mean.assign(bayes_mixing=float("nan")))
    )


def test_seeds_make_a_band_and_thin_lines(mean: pd.DataFrame) -> None:
    seeds = pd.concat([mean, mean.assign(seed=1, estimate=mean["estimate"] + 1)])
    figure = trajectory(mean.assign(n_seeds=2), seeds=seeds)
    (axes,) = figure.axes
    assert len(axes.collections) == 3 and sum(x.get_linewidth() == 0.5 for x in axes.lines) == 6
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(4.8) and band[:, 1].min() == 0.0
    assert "over 2 seeds" in figure.get_supxlabel().replace("\n", " ")


def test_ambiguous_points_are_refused(shifts: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="same arm and step; keep trait == 'mean'"):
        trajectory(shifts)
    with pytest.raises(SchemaError, match="column 'step' is unknown"):
        trajectory(shifts.drop(columns="step"))
