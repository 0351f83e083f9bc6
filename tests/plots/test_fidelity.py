import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from persona_interp.plots import fidelity
from persona_interp.schema.words import Place


def test_both_measures_by_checkpoint(fidelities: pd.DataFrame) -> None:
    figure = fidelity(fidelities, title="Dictionary")
    left, right = figure.axes
    assert points(left) == {(0.03, 0), (0.2, 1), (1.2, 2)}
    assert points(right) == {(0.98, 0), (0.9, 1), (0.4, 2)}
    assert [t.get_text() for t in left.get_yticklabels()] == list(fidelities["checkpoint"])
    assert left.get_xlim()[1] > 1.2 and figure.get_suptitle() == "Dictionary"
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["fits", "doubtful", "unusable"]
    assert "20,000 held-out tokens" in figure.get_supxlabel()


def test_a_line_joins_the_steps_of_one_training_alone(fidelities: pd.DataFrame) -> None:
    (line,) = fidelity(fidelities).axes[0].lines
    assert list(line.get_xdata()) == [0.2, 1.2] and list(line.get_ydata()) == [1, 2]
    models = ["google/gemma-2-2b-it@0123456789", "org/model", "mistral"]
    assert not fidelity(fidelities.assign(checkpoint=models)).axes[0].lines


def test_prompts_that_are_read_stand_beside_texts(fidelities: pd.DataFrame) -> None:
    read = fidelities.iloc[[0, 2]].assign(where=str(Place.PROMPTS), fvu=[0.5, 0.75], dead=np.nan)
    read = read.assign(n_tokens=50)
    figure = fidelity(pd.concat([fidelities, read], ignore_index=True))
    axes = figure.axes[0]
    assert points(axes) == {(0.03, 0), (0.2, 1), (1.2, 2), (0.5, 0), (0.75, 2)}
    rings = [dots for dots in axes.collections if dots.get_facecolor().tolist() == [[1, 1, 1, 1]]]
    assert {x for dots in rings for x, _ in np.asarray(dots.get_offsets()).tolist()} == {0.5, 0.75}
    names = {t.get_text() for t in figure.legends[0].get_texts()}
    assert {f"fits, {place}" for place in Place} <= names
    note = figure.get_supxlabel().replace("\n", " ")
    assert "Rings: the last tokens of 50 prompts read." in note


def points(axes: Axes) -> set[tuple[float, float]]:
    """Drawn points, rounded."""
    offsets = [np.asarray(dots.get_offsets()).round(6).tolist() for dots in axes.collections]
    return {(x, y) for part in offsets for x, y in part}
