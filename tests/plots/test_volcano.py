"""The volcano: the finetune's shift against the controls', and no p anywhere."""

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import volcano


def test_every_feature_is_a_point_against_the_controls(feature_effects: pd.DataFrame) -> None:
    figure = volcano(feature_effects, title="seed 0", label=2)
    (axes,) = figure.axes
    tuned = feature_effects.query("role == 'tuned'")
    points = [dots.get_offsets() for dots in axes.collections if len(dots.get_offsets()) > 0]
    drawn = {tuple(np.round(point, 6)) for dots in points for point in np.asarray(dots)}
    expected = tuned[["controls", "estimate"]].round(6)
    assert set(map(tuple, expected.to_numpy())) <= drawn
    assert axes.get_xlabel() == "shift of mean activation, mean of 3 controls"
    assert "−log" not in axes.get_ylabel() and "mine" in axes.get_ylabel()
    assert "0" in [text.get_text() for text in axes.texts], "what the finetune alone moves is named"
    assert "12 features" in figure.get_supxlabel().replace("\n", " ")


def test_the_axes_are_those_of_the_points(feature_effects: pd.DataFrame) -> None:
    wide = feature_effects.assign(range_lo=-1e6, range_hi=1e6)
    low, high = volcano(wide).axes[0].get_xlim()
    assert -1 < low < 0 < 2 < high < 4


def test_a_marked_feature_is_named_whatever_it_does(feature_effects: pd.DataFrame) -> None:
    texts = volcano(feature_effects, label=0, marked={"1": "1 (john)"}).axes[0].texts
    assert [text.get_text() for text in texts] == ["1 (john)"]


def test_without_controls_or_of_another_table_it_is_refused(
    feature_effects: pd.DataFrame, fidelities: pd.DataFrame
) -> None:
    with pytest.raises(SchemaError, match="two of them or more"):
        volcano(feature_effects.assign(controls=np.nan))
    with pytest.raises(SchemaError, match="effects table lacks"):
        volcano(fidelities)
    with pytest.raises(SchemaError, match="shows one finetune"):
        volcano(feature_effects.assign(role="tuned"))
