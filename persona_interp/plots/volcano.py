"""Which features did a finetune move, and how far do control finetunes move them?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.names import name_points
from persona_interp.plots.style import COLORS, GRAY, ZERO, panels, style
from persona_interp.schema.cells import check_numbers
from persona_interp.schema.words import ALPHA, Role, Unit
from persona_interp.values import check_count, check_mapping

PALE = "#D8D8D8"  # of intervals, behind the points
MARGIN = 0.08  # around the points, as a fraction of what they span


def volcano(
    effects: pd.DataFrame,
    *,
    label: int = 5,
    marked: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw what a finetune does to every feature against what control finetunes do to it.

    A small p is no evidence that a finetune is special, since any finetune moves most features. So
    no p is drawn: a feature counts by how far it lies from the diagonal, beside how far one more
    control could lie.

    Args:
        effects: An effects table of features, one finetune and two controls or more.
        label: How many features are named, those first that lie farthest from the diagonal.
        marked: Feature -> name, for features that are named whatever they do.
        title: Above the figure.

    Returns:
        Figure: mean shift after the controls to the right, with where one more control would be (95
        % prediction interval); the finetune's shift upwards, with its 95 % interval over prompts;
        on the diagonal it does what controls do. Colored where q <= 0.05.

    Raises:
        SchemaError: Not an effects table, of several finetunes, or with fewer than two controls.

    >>> row = dict.fromkeys(schema.TABLES["effects"], 0.5)
    >>> row |= {"checkpoint": "lesson", "role": "tuned", "quantity": "7", "estimate": 2.0}
    >>> volcano(pd.DataFrame([row])).axes[0].texts[0].get_text()
    '7'
    """
    rows = _rows(effects)
    check_numbers(rows, ["controls"])
    check_count(label, "label", least=0)
    check_mapping(marked or {}, "marked", of="the text of features")
    names = dict(marked or {})
    with style():
        figure, (axes,) = panels()
        x, y = rows["controls"].to_numpy(float), rows["estimate"].to_numpy(float)
        differs = (rows["q"] <= ALPHA).to_numpy()
        bars = {"color": PALE, "linewidth": 0.6, "zorder": 0}
        axes.hlines(y, rows["range_lo"], rows["range_hi"], label="one more control, 95 %", **bars)
        axes.vlines(x, rows["lo"], rows["hi"], **{**bars, "color": "#A8A8A8"})
        axes.axhline(0, **ZERO)
        axes.axvline(0, **ZERO)
        axes.axline((0, 0), slope=1, color=GRAY, linewidth=0.8, linestyle="--", label="as controls")
        axes.scatter(x[~differs], y[~differs], s=8, color=GRAY, label=f"q > {ALPHA:g}")
        axes.scatter(x[differs], y[differs], s=12, color=COLORS[1], label=f"q ≤ {ALPHA:g}")
        is_marked = rows["quantity"].isin(names).to_numpy()
        axes.scatter(x[is_marked], y[is_marked], s=36, facecolors="none", edgecolors=COLORS[0])
        # the intervals of three controls are wide; the axes are those of the points
        axes.set_xlim(*_limits(x))
        axes.set_ylim(*_limits(np.r_[y, rows["lo"], rows["hi"]]))
        _name_points(axes, rows, names, n=label)
        n_controls = int(rows["n_controls"].iloc[0])
        axes.set_xlabel(f"shift of {Unit.ACTIVATION}, mean of {n_controls} controls")
        axes.set_ylabel(f"shift of {Unit.ACTIVATION}, {rows['checkpoint'].iloc[0]}")
        legend(figure, *axes.get_legend_handles_labels())
        note = _note(rows, int(differs.sum()))
        return finish(figure, note, height=2.7, title=title)


def _rows(effects: pd.DataFrame) -> pd.DataFrame:
    """Rows of the finetune."""
    schema.check(effects, "effects")
    rows = effects.loc[effects["role"] == Role.TUNED]
    labels = rows["checkpoint"].unique()
    if len(labels) != 1:
        raise SchemaError(f"a volcano shows one finetune; got {', '.join(map(str, labels))}.")
    if rows["controls"].isna().any():
        raise SchemaError(
            "a volcano shows a finetune against its controls and takes two of them or more; "
            "without, plots.forest shows the changes alone."
        )
    return rows


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Ends of an axis around these values, 0 among them."""
    known = values[np.isfinite(values)]
    low, high = float(known.min(initial=0.0)), float(known.max(initial=0.0))
    room = MARGIN * ((high - low) or 1.0)
    return low - room, high + room


def _name_points(axes: Axes, rows: pd.DataFrame, names: dict[str, str], *, n: int) -> None:
    """Name the n features farthest from the diagonal, and those that are marked."""
    size: Any = rows["excess"].abs()
    farthest = size.sort_values(ascending=False, kind="stable").index[:n]
    chosen = rows.loc[rows.index.isin(farthest) | rows["quantity"].isin(names)]
    chosen = chosen.sort_values("excess", key=abs, ascending=False, kind="stable")
    chosen = chosen.dropna(subset=["controls", "estimate"])
    labels = [names.get(quantity, str(quantity)) for quantity in chosen["quantity"]]
    name_points(axes, chosen[["controls", "estimate"]].to_numpy(np.float64), labels)


def _note(rows: pd.DataFrame, n_differ: int) -> str:
    first = rows.iloc[0]
    return (
        f"{len(rows)} features; vertical: 95 % interval over {int(first['n'])} prompts; "
        f"horizontal: where one more control would be, by {int(first['n_controls'])} of them (95 "
        f"%), cut at the axes. {n_differ} differ from that at q ≤ {ALPHA:g}. "
        f"{missing(rows, 'estimate', names='quantity')}"
    )
