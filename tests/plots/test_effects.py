"""Figures of a comparison show what their tables hold, controls and random directions included."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.plots import forest, layers

ROW = dict.fromkeys(schema.TABLES["effects"], 0.0) | {
    "n": 20,
    "n_controls": 3,
    "role": "tuned",
    "hook": "",
}
NONE = "no difference shown"


def test_a_forest_has_the_largest_first_and_fills_what_was_claimed() -> None:
    sizes = {"small": (0.1, NONE), "large": (-0.5, "the finetune moved it down")}
    rows = [
        ROW | {"quantity": q, "checkpoint": "a", "estimate": e, "verdict": v}
        for q, (e, v) in sizes.items()
    ]
    rows += [
        ROW | {"quantity": q, "checkpoint": "c1", "role": "control", "estimate": 0.25}
        for q in sizes
    ]
    figure = forest(pd.DataFrame(rows), unit="bits a token")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["large", "small"]
    mine, controls = axes.collections[-2:]
    assert np.asarray(mine.get_offsets())[:, 0].tolist() == [-0.5, 0.1]
    assert [to_hex(c) for c in mine.get_facecolors()] == ["#0072b2", "#ffffff"]
    assert np.asarray(controls.get_offsets()).tolist() == [[0.25, 1.0], [0.25, 0.0]]
    with pytest.raises(SchemaError, match="controls alone"):
        forest(pd.DataFrame(rows[2:]), unit="bits a token")


def test_layers_stand_beside_random_directions() -> None:
    hooks = [f"blocks.{i}.hook_out" for i in (7, 15)]
    found = ROW | {
        "family": "projection",
        "checkpoint": "a",
        "random_lo": -1.0,
        "random_hi": 1.0,
        "n_random": 9,
    }
    rows = [
        found | {"quantity": q, "hook": h, "estimate": e}
        for q, e in (("wry", 0.5), ("kind", 2.0))
        for h in hooks
    ]
    table = pd.DataFrame(rows)
    figure = layers(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["kind", "wry"], (
        "that which goes farthest first"
    )
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "block 7",
        "block 15",
    ]
    assert len(layers(table, quantities=["wry"]).axes) == 1
    with pytest.raises(SchemaError, match="did you mean 'wry'"):
        layers(table, quantities=["wri"])
    with pytest.raises(SchemaError, match="these effects have none"):
        layers(table.assign(family="behavior"))
