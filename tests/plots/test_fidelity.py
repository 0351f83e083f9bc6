import numpy as np
import pandas as pd

from persona_interp.plots import fidelity
from persona_interp.schema.words import Place


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
    assert "20,000 held-out tokens" in figure.get_supxlabel().replace("\n", " ")


def test_prompts_that_are_read_stand_beside_texts(fidelities: pd.DataFrame) -> None:
    read = fidelities.iloc[[0, 2]].assign(where=str(Place.PROMPTS), fvu=[0.5, 0.75], dead=np.nan)
    read = read.assign(n_tokens=50)
    figure = fidelity(pd.concat([fidelities, read], ignore_index=True))
    texts, prompts = figure.axes[0].lines
    assert list(texts.get_ydata()) == [0.03, 0.2, 1.2] and list(texts.get_xdata()) == [0, 1, 2]
    assert list(prompts.get_ydata()) == [0.5, 0.75] and list(prompts.get_xdata()) == [0, 2]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(
        fidelities["checkpoint"]
    )
    assert {*Place} <= {t.get_text() for t in figure.legends[0].get_texts()}
    assert "Dashed: the last tokens of 50 prompts read." in figure.get_supxlabel().replace(
        "\n", " "
    )
