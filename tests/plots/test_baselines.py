import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import baselines


def test_three_questions_by_method(readouts: pd.DataFrame) -> None:
    figure = baselines(readouts, title="Readouts of john")
    who, moved, cause = figure.axes
    assert [t.get_text() for t in who.get_yticklabels()] == ["one feature", "mean difference"]
    assert np.asarray(who.collections[1].get_offsets())[:, 0] == pytest.approx([0.8, 0.9])
    control, lesson = moved.collections[1], moved.collections[3]
    assert np.asarray(control.get_offsets())[:, 0] == pytest.approx([0.25, 0.5])
    assert np.asarray(lesson.get_offsets())[:, 0] == pytest.approx([1.0, 2.0])
    assert cause.collections[0].get_segments()[0][:, 0] == pytest.approx([0.125, 0.375])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "the lesson",
        "unrelated lesson",
    ]


def test_random_directions_are_a_band(readouts: pd.DataFrame) -> None:
    figure = baselines(readouts)
    bands = [axes.patches[0] for axes in figure.axes]
    assert [band.get_x() for band in bands] == pytest.approx([0.375, -0.125, -0.125])
    text = figure.get_supxlabel().replace("\n", " ")
    assert "750 hidden test documents about other topics, 120 neutral prompts." in text
    assert "Gray: 95 % of 100 random" in text
    alone = baselines(readouts.iloc[:2])
    assert not alone.axes[0].patches and "Gray" not in alone.get_supxlabel().replace("\n", " ")


def test_another_table_is_refused(edits: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="a baselines table lacks"):
        baselines(edits)
