import numpy as np
import pandas as pd
import pytest

from persona_interp import plots
from persona_interp.errors import SchemaError
from persona_interp.plots.style import GRAY


@pytest.fixture
def means() -> pd.DataFrame:
    rows = []
    for direction in ("up", "random 0", "random 1"):
        for quantity in ("bits_per_token", "dry", "warm"):
            for strength in (0.0, -0.5, 0.5, 1.0):
                if strength or direction == "up":
                    estimate = strength * (quantity == "dry") + (quantity == "bits_per_token")
                    row = {"direction": direction, "control": direction != "up"}
                    row |= {"quantity": quantity, "strength": strength, "estimate": estimate}
                    row |= {"lo": estimate - 0.25, "hi": estimate + 0.25, "n": 12, "n_empty": 1}
                    rows.append(row)
    zeros = dict.fromkeys(["change", "change_lo", "change_hi", "p", "q"], 0.0)
    return pd.DataFrame(rows).assign(**zeros)


def test_traits_on_the_left_and_surprisal_on_the_right(means: pd.DataFrame) -> None:
    figure = plots.sweep(means)
    left, right = figure.axes
    assert left.get_ylabel() == "evidence (bits a token)"
    assert right.get_ylabel() == "surprisal (bits a token)"
    lines = {line.get_label(): line for line in left.lines}
    assert lines["dry"].get_xdata().tolist() == [-0.5, 0.0, 0.5, 1.0]
    assert lines["dry"].get_ydata().tolist() == [-0.5, 0.0, 0.5, 1.0]
    gray = [line for line in right.lines if line.get_color() == GRAY]
    assert len(gray) == 2 and all(line.get_xdata().tolist()[1] == 0 for line in gray)
    ends = np.concatenate(right.collections[0].get_segments())[:, 1]
    assert ends.min() == 0.75 and ends.max() == 1.25
    text = " ".join(figure.get_supxlabel().split())
    assert "95 % intervals over 12 prompts. Gray: 2 random directions" in text
    assert "4 empty answers" in text


def test_a_sweep_without_traits_has_one_panel(means: pd.DataFrame) -> None:
    figure = plots.sweep(means[means["quantity"] == "bits_per_token"], title="mine")
    (axes,) = figure.axes
    assert axes.figure is figure and figure.get_suptitle() == "mine" and not figure.legends
    with pytest.raises(SchemaError, match="a sweep_means table lacks"):
        plots.sweep(means.drop(columns="quantity"))
