import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import heatmap


def test_cells_are_the_table(profile: pd.DataFrame) -> None:
    figure = heatmap(profile, title="Towards john")
    axes = figure.axes[0]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert values == pytest.approx(np.array([[0, np.nan], [0.5, -0.25], [1, -0.5]]), nan_ok=True)
    assert axes.images[0].get_clim() == (-1, 1) and figure.get_suptitle() == "Towards john"
    assert [t.get_text() for t in axes.texts] == [
        "+0.00",
        "–",
        "+0.50 •",
        "−0.25",
        "+1.00 •",
        "−0.50 •",
    ]
    low, high = axes.get_ylim()
    assert low < high, "the first layer is at the bottom"


def test_layers_are_numbered_where_hooks_differ_in_nothing_else(profile: pd.DataFrame) -> None:
    axes = heatmap(profile).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "0",
        "1",
        "2",
    ] and axes.get_ylabel() == "layer (hook_out)"
    mixed = profile.replace({"hook": {"blocks.2.hook_out": "blocks.2.mlp.hook_out"}})
    axes = heatmap(mixed).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()][
        2
    ] == "blocks.2.mlp.hook_out" and axes.get_ylabel() == ""


def test_small_numbers_keep_their_digits(profile: pd.DataFrame) -> None:
    small = profile.assign(**{c: profile[c] / 50 for c in ("estimate", "lo", "hi")})
    assert heatmap(small).axes[0].texts[2].get_text() == "+0.010 •"
    tiny = profile.assign(**{c: profile[c] / 5_000 for c in ("estimate", "lo", "hi")})
    assert heatmap(tiny).axes[0].texts[2].get_text() == "+1.0e−04 •"


def test_a_profile_of_zeros_is_drawn(profile: pd.DataFrame) -> None:
    assert heatmap(profile.assign(estimate=0.0, lo=0.0, hi=0.0)).axes[0].images[0].get_clim() == (
        -1,
        1,
    )


def test_two_numbers_for_one_cell_are_refused(profile: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="select one checkpoint and one name"):
        heatmap(pd.concat([profile, profile.assign(name="mary")]))
    with pytest.raises(SchemaError, match="column 'role' is unknown"):
        heatmap(profile.drop(columns="role"))


def test_a_long_label_stays_within_a_low_figure() -> None:
    rows = [(f"blocks.{i}.hook_out", "user", 0.5, 0.25, 1.0) for i in range(2)]
    table = pd.DataFrame(rows, columns=["hook", "role", "estimate", "lo", "hi"])
    figure = heatmap(table, label="change along john's vector (fraction of its length)")
    figure.canvas.draw()
    bar = figure.axes[1].yaxis.label.get_window_extent()
    assert figure.bbox.y0 <= bar.y0 and bar.y1 <= figure.bbox.y1
    assert "length)" in figure.axes[1].get_ylabel()
