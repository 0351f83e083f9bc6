"""Does the dictionary say more than simpler readouts do?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import (
    BAND,
    COLORS,
    GRAY,
    ZERO,
    label_rows,
    panels,
    style,
)
from persona_interp.schema.words import Arm

RANDOM = "random"
"""Method whose row is a band over random directions."""
PANELS = {
    "auroc": ("AUROC, documents\non other topics", 0.5),
    "rise": ("rise\n(sd)", 0.0),
    "share": ("share removed\n(fraction)", 0.0),
}
"""Label, and where nothing is, of what is drawn, by column."""
LOOKS: dict[str, dict[str, Any]] = {
    "lesson": {
        "marker": "o",
        "facecolor": COLORS[0],
        "edgecolor": COLORS[0],
        "label": "the lesson",
    },
    "control": {
        "marker": "s",
        "facecolor": "white",
        "edgecolor": GRAY,
        "label": str(Arm.UNRELATED),
    },
}


def baselines(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw readouts beside each other: of who speaks, what a lesson moved, what causes it.

    Args:
        table: A baselines table, methods in the order to be drawn.
        title: Above the figure.

    Returns:
        Figure: AUROC on hidden documents about other topics than those learned on, rise with the
        lesson beside the unrelated lesson's (sd), and share of the behavior's shift removed, each
        with its 95 % interval, by method; gray: the band of random directions.

    Raises:
        SchemaError: Not a baselines table.

    >>> table = pd.DataFrame({column: [0.75] for column in schema.TABLES["baselines"]})
    >>> figure = baselines(table.assign(method="mean difference", n_directions=1))
    >>> [axes.get_xlabel().split() for axes in figure.axes][1:]
    [['rise', '(sd)'], ['share', 'removed', '(fraction)']]
    """
    schema.check(table, "baselines")
    bands, methods = table.loc[table["method"] == RANDOM], table.loc[table["method"] != RANDOM]
    y = np.arange(len(methods))
    labels = [str(method) for method in methods["method"]]
    with style():
        figure, axes = panels(3)
        for ax, (column, (name, zero)) in zip(axes, PANELS.items(), strict=True):
            for lo, hi in zip(bands[f"{column}_lo"], bands[f"{column}_hi"], strict=True):
                if np.isfinite([lo, hi]).all():
                    ax.axvspan(lo, hi, color=BAND, linewidth=0, zorder=0)
            ax.axvline(zero, **ZERO)
            if column == "rise":
                _points(ax, methods, "rise_control", y + 0.18, **LOOKS["control"])
                _points(ax, methods, column, y - 0.18, **LOOKS["lesson"])
            else:
                _points(ax, methods, column, y, **LOOKS["lesson"])
            label_rows(ax, labels if ax is axes[0] else [""] * len(methods))
            ax.set_xlabel(name)
            ax.margins(x=0.08)
        handles, names = axes[1].get_legend_handles_labels()
        legend(figure, handles[::-1], names[::-1])
        note = _note(table, bands)
        return finish(figure, note, height=0.2 + 0.24 * len(methods), title=title)


def _points(axes: Axes, rows: pd.DataFrame, column: str, y: np.ndarray, **look: Any) -> None:
    lo, hi = rows[f"{column}_lo"], rows[f"{column}_hi"]
    axes.hlines(y, lo, hi, color=look["edgecolor"], linewidth=1.2)
    axes.scatter(rows[column], y, s=16, zorder=3, **look)


def _note(table: pd.DataFrame, bands: pd.DataFrame) -> str:
    gray = "".join(f" Gray: 95 % of {n:g} random directions." for n in bands["n_directions"])
    documents, prompts = max(table["n_documents"]), max(table["n_prompts"])
    note = (
        f"95 % intervals; {documents:,.0f} hidden test documents about other topics, "
        f"{prompts:,.0f} neutral prompts.{gray}"
    )
    return f"{note} {missing(table, *PANELS, 'rise_control', names='method')}".strip()
