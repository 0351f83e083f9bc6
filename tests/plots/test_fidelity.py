import pandas as pd

from persona_interp.plots import fidelity


def test_both_measures_by_checkpoint(fidelities: pd.DataFrame) -> None:
    figure = fidelity(fidelities, title="Dictionary")
    left, right = figure.axes
    assert list(left.lines[0].get_ydata()) == [0.03, 0.2, 1.2] and list(
        right.lines[0].get_ydata()
    ) == [0.98, 0.9, 0.4]
    assert [t.get_text() for t in left.get_xticklabels()] == list(fidelities["checkpoint"])
    assert left.get_ylim()[1] > 1.2 and left.get_title("left") == "Dictionary"
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["fits", "doubtful", "unusable"]
    assert "20,000 held-out tokens" in figure._supxlabel.get_text()
