"""Which edit takes the effect away, and which take it away that should not?"""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, GRAY, WRAP, caption, panels, styled

COLUMNS = ("edit", "base", "tuned", "edited", "share", "lo", "hi", "n")


def causes(
    table: pd.DataFrame, *, others: Sequence[str] = (), random: Sequence[str] = (), label: str = "", title: str = ""
) -> Figure:
    """How much of the shift goes with each edit, and how much with the edits that should take nothing?

    Args:
        table: ``analysis.removed_share`` or ``added_share``: edit, base, tuned, edited (bits), share (fraction), lo,
            hi, n.
        others: Edits that are drawn as dots of one row, "other personas": the same edit with other directions.
        random: Edits that are drawn as one band, from the 2.5 % to the 97.5 % point: random directions.
        label: Of the axis; "share of the shift removed (fraction)" by default.
        title: Above the figure.

    Returns:
        Figure: one bar an edit with its 95 % interval, 0 (nothing) and 1 (all of it) marked; where the share is
        undefined it says so.

    Raises:
        SchemaError: Not a table of causes, or a name in ``others`` or ``random`` that it does not hold.

    >>> row = {"edit": "without john", "base": -5.0, "tuned": 1.0, "edited": -2.0, "share": 0.5, "lo": 0.25, "hi": 0.75}
    >>> causes(pd.DataFrame([row | {"n": 4}])).axes[0].patches[0].get_width()
    np.float64(0.5)
    """
    _check(table, [*others, *random])
    bars = table.loc[~table["edit"].isin([*others, *random])]
    rows = [fill(str(edit), WRAP) for edit in bars["edit"]] + ["other personas"] * bool(others)
    with styled():
        figure, (axes,) = panels(height=1.1 + 0.24 * len(rows))
        if random:
            band = table.loc[table["edit"].isin(random), "share"].dropna()
            lo, hi = np.percentile(band, [2.5, 97.5]) if len(band) else (np.nan, np.nan)
            axes.axvspan(
                lo, hi, color="#D8D8D8", linewidth=0, zorder=0, label=f"random directions, 95 % of {len(band)}"
            )
        _bars(axes, bars)
        if others:
            dots = table.loc[table["edit"].isin(others), "share"].dropna()
            axes.scatter(
                dots, np.full(len(dots), len(bars)), s=14, facecolor="white", edgecolor="black", linewidth=0.8, zorder=3
            )
        axes.axvline(0, color="black", linewidth=0.6)
        axes.axvline(1, color=GRAY, linewidth=0.8, linestyle="--", label="all of the shift")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.05)
        axes.set_xlabel(label or "share of the shift removed (fraction)")
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(table, len(others)))
    return figure


def _check(table: pd.DataFrame, named: Sequence[str]) -> None:
    for column in COLUMNS:
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if table["edit"].duplicated().any():
        raise SchemaError("two rows of these causes are the same edit; select one seed, or average over seeds.")
    for name in named:
        if name not in set(table["edit"]):
            raise SchemaError(unknown("edit", name, table["edit"]))


def _bars(axes: Axes, bars: pd.DataFrame) -> None:
    y = np.arange(len(bars))
    share, lo, hi = (bars[c].to_numpy(np.float64) for c in ("share", "lo", "hi"))
    axes.barh(y, np.nan_to_num(share), height=0.62, color=COLORS[0], alpha=0.75)
    axes.hlines(y, lo, hi, color="black", linewidth=1.2, zorder=3)
    for i in np.flatnonzero(np.isnan(share)):
        axes.text(0.01, float(i), "undefined: no shift to share", va="center", fontsize=6.5, color="#404040")


def _caption(table: pd.DataFrame, n_others: int) -> str:
    n = " to ".join(str(int(i)) for i in dict.fromkeys((min(table["n"]), max(table["n"]))))
    tuned, base = table["tuned"].iloc[0], table["base"].iloc[0]
    dots = f" Dots: the same edit for each of {n_others} others." if n_others else ""
    shift = f"The shift is {tuned - base:+.2f} bits, from {base:+.2f} to {tuned:+.2f}.".replace("-", "−")
    return f"Bars: 95 % interval, n = {n}. {shift}{dots}"
