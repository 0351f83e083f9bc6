"""The frontier draws every safeguard where its shares are."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import plots
from persona_interp.errors import SchemaError


def table(**changes: object) -> pd.DataFrame:
    row = {"cut": [0.0, 0.95, np.nan], "kept": [1.0, 0.5, 0.9], "leak": [1.0, 0.1, np.nan]}
    made = pd.DataFrame({"label": ["nothing", "capping", "replay"], **row, "n_seeds": 3})
    for name in ("cut", "kept"):
        made = made.assign(**{f"{name}_lo": made[name] - 0.1, f"{name}_hi": made[name] + 0.1})
    return made.assign(**changes)


def test_points_stand_where_their_shares_are() -> None:
    axes = plots.frontier(table()).axes[0]
    points = axes.collections[-1].get_offsets()
    assert np.asarray(points[:2]).tolist() == [[1.0, 0.0], [0.5, 0.95]]
    assert {text.get_text() for text in axes.texts} == {"nothing", "capping"}


def test_what_has_no_share_is_counted_in_the_note() -> None:
    assert "replay" in plots.frontier(table()).get_supxlabel()


def test_shares_far_out_do_not_squeeze_the_rest() -> None:
    axes = plots.frontier(table(cut=[0.0, 0.95, -40.0])).axes[0]
    assert axes.get_ylim()[0] > -2


def test_nothing_known_is_drawn_all_the_same() -> None:
    assert plots.frontier(table(cut=np.nan)).axes[0].get_ylim()[0] < 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="leak"):
        plots.frontier(table().drop(columns="leak"))
