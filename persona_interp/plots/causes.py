"""Which edit takes the effect away, and which take it away that should not?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.columns import missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import (
    BAND,
    COLORS,
    GRAY,
    INK,
    ZERO,
    label_rows,
    panels,
    style,
)
from persona_interp.schema import require_rows
from persona_interp.schema.words import Unit
from persona_interp.values import as_tuple

COLUMNS = ("edit", "base", "tuned", "edited", "share", "lo", "hi", "n")
ALPHA = 0.75  # of the bars
HOLLOW: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": "black",
    "linewidth": 0.8,
    "zorder": 3,
}


def causes(
    table: pd.DataFrame,
    *,
    others: Sequence[str] = (),
    random: Sequence[str] = (),
    controls: Sequence[str] = (),
    patch: str = "",
    by: str = "",
    label: str = "",
    title: str = "",
) -> Figure:
    """Draw how much of the shift goes with each edit, and with those that should take nothing.

    Args:
        table: ``analysis.removed_share`` or ``added_share``: edit, base, tuned, edited (bits),
            share (fraction), lo, hi, n. Where it has ``least`` and ``most``, the smallest and the
            largest of a group of edits, a thin line goes from one to the other.
        others: Edits that are drawn as dots of one row, "other personas": the same edit with other
            directions.
        random: Edits that are drawn as one band, from the 2.5 % to the 97.5 % point: random
            directions.
        controls: Edits whose bars are gray: those that should take nothing.
        patch: Edit that puts the other model's whole residual in: about the most that an edit can
            do; marked by a line.
        by: Column whose values get a panel each, with the same edits in all of them: the hook.
        label: Of the axis; "share of the shift removed (fraction)" by default.
        title: Above the figure.

    Returns:
        Figure: one bar an edit with its 95 % interval, 0 (nothing) and 1 (all of it) marked; where
        the share is undefined it says so.

    Raises:
        SchemaError: Not a table of causes, a name in ``others``, ``random`` or ``controls`` that it
            does not hold, or panels of different edits.

    >>> row = {"edit": "without john", "base": -5.0, "tuned": 1.0, "edited": -2.0, "n": 4}
    >>> row |= {"share": 0.5, "lo": 0.25, "hi": 0.75}
    >>> causes(pd.DataFrame([row])).axes[0].patches[0].get_width()
    np.float64(0.5)
    """
    others, random, controls = map(as_tuple, (others, random, controls))
    patches = [patch] if patch else []
    parts = _parts(table, by, edits=[*others, *random, *controls, *patches])
    edits = [edit for edit in parts[0][1]["edit"] if edit not in {*others, *random}]
    rows = [str(edit) for edit in edits]
    if others:
        rows.append("other personas")
    with style():
        figure, axes = panels(len(parts))
        for ax, (name, part) in zip(axes, parts, strict=True):
            if random:
                _band(ax, part.loc[part["edit"].isin(random), "share"].dropna())
            _bars(ax, part.set_index("edit").loc[edits], controls)
            if others:
                dots = part.loc[part["edit"].isin(others), "share"].dropna()
                ax.scatter(dots, np.full(len(dots), len(edits)), s=14, **HOLLOW)
            ax.axvline(0, **ZERO)
            ax.axvline(1, color=GRAY, linewidth=0.8, linestyle="--", label="all of the shift")
            if patch:
                ceiling = part.set_index("edit").loc[patch, "share"]
                line = {"color": COLORS[1], "linewidth": 0.8, "linestyle": ":"}
                ax.axvline(ceiling, label="whole residual patched", **line)
            label_rows(ax, rows if ax is axes[0] else [""] * len(rows))
            ax.margins(x=0.05)
            ax.set_xlabel(label or "share of the shift removed (fraction)")
            ax.set_title(name)
        handles, names = axes[0].get_legend_handles_labels()
        if controls:
            handles.append(Patch(color=GRAY, alpha=ALPHA))
            names.append("controls")
        legend(figure, handles, names)
        note = _note(table, len(others))
        return finish(figure, note, height=0.2 + 0.24 * len(rows), title=title)


def _parts(table: pd.DataFrame, by: str, *, edits: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Name and rows of every panel."""
    require_rows(table, *COLUMNS)
    if by:
        require_rows(table, by)
    if table.duplicated([by, "edit"] if by else "edit").any():
        raise SchemaError(
            "two rows of these causes are the same edit; select one seed, or average over seeds."
        )
    for name in edits:
        if name not in set(table["edit"]):
            raise SchemaError(unknown("edit", name, table["edit"]))
    if not by:
        return [("", table)]
    parts = [(str(value), part) for value, part in table.groupby(by, sort=False)]
    if len({frozenset(part["edit"]) for _, part in parts}) > 1:
        raise SchemaError(
            f"panels share their rows, but these causes have other edits at another {by}."
        )
    return parts


def _band(axes: Axes, shares: pd.Series) -> None:
    lo, hi = np.nan, np.nan
    if len(shares):  # fewer than 39 reach no further than their smallest and largest
        lo, hi = np.quantile(shares, [0.025, 0.975], method="weibull")
    label = f"random directions, 95 % of {len(shares)}"
    axes.axvspan(lo, hi, color=BAND, linewidth=0, zorder=0, label=label)


def _bars(axes: Axes, bars: pd.DataFrame, controls: Sequence[str]) -> None:
    y = np.arange(len(bars))
    share, lo, hi = (bars[c].to_numpy(np.float64) for c in ("share", "lo", "hi"))
    colors = [GRAY if edit in controls else COLORS[0] for edit in bars.index]
    axes.barh(y, np.nan_to_num(share), height=0.62, color=colors, alpha=ALPHA)
    axes.hlines(y, lo, hi, color="black", linewidth=1.2, zorder=3)
    if {"least", "most"} <= set(bars.columns):
        ends = {"color": INK, "linewidth": 0.6, "zorder": 2}
        axes.hlines(y, bars["least"], bars["most"], label="smallest to largest", **ends)
        for name in ("least", "most"):
            axes.scatter(bars[name], y, marker="|", s=20, color=INK, linewidth=0.8, zorder=2)
    for i in np.flatnonzero(np.isnan(share)):
        remark = "undefined:\nno shift to share"
        axes.text(0.01, float(i), remark, va="center", fontsize=6.5, color=INK)


def _note(table: pd.DataFrame, n_others: int) -> str:
    n = span(table["n"], write="{:.0f}".format)
    tuned, base = table["tuned"].iloc[0], table["base"].iloc[0]
    gaps = missing(table, "share", names="edit")
    dots = f" Dots: the same edit for each of {n_others} others." if n_others else ""
    shift = f"The shift is {tuned - base:+.2f} {Unit.BITS}, from {base:+.2f} to {tuned:+.2f}."
    return f"Bars: 95 % interval, n = {n}. {shift.replace('-', '−')}{dots} {gaps}".strip()
