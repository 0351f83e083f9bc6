import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import volcano


def test_discoveries_are_colored_and_named(feature_shifts: pd.DataFrame) -> None:
    figure = volcano(feature_shifts, title="Last token")
    (axes,) = figure.axes
    null, rest, found = axes.collections
    assert np.asarray(found.get_offsets()) == pytest.approx(np.array([[5.0, 3.0], [-3.0, 3.0]]))
    assert len(rest.get_offsets()) == 38 and len(null.get_paths()) == 40
    assert np.ptp(null.get_paths()[0].vertices[:, 0]) == pytest.approx(0.8)
    assert sorted(t.get_text() for t in axes.texts) == ["100", "139"]


def test_the_caption_says_what_was_tested(feature_shifts: pd.DataFrame) -> None:
    text = volcano(feature_shifts)._supxlabel.get_text()
    assert "2 of 40 features tested (472 silent)" in text and "50 prompts in 25 clusters" in text
    assert "FVU before 0.030, after 0.200" in text


def test_nothing_found_is_drawn_too(feature_shifts: pd.DataFrame) -> None:
    figure = volcano(feature_shifts.assign(q=1.0))
    assert "0 of 40 features" in figure._supxlabel.get_text() and not figure.axes[0].texts


def test_close_names_do_not_share_a_height(feature_shifts: pd.DataFrame) -> None:
    near = feature_shifts.assign(q=0.01)
    texts = volcano(near.assign(estimate=np.r_[5.0, 4.9, np.zeros(38)]), label=2).axes[0].texts
    assert len({t.xyann for t in texts}) == 2


def test_another_table_is_refused(fidelities: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="a feature_shift table lacks"):
        volcano(fidelities)
