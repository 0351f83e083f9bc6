"""Whose number is large? Every persona in a row, every reading beside its controls."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.baselines import RANDOM
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import (
    GRAY,
    ZERO,
    label_rows,
    nth_color,
    nth_marker,
    panels,
    style,
)
from persona_interp.schema import require_rows
from persona_interp.values import as_tuple

COLUMNS = ("quantity", "series", "name", "estimate", "lo", "hi")
PALE = "#E0E0E0"  # of the band of random directions
SPREAD = 0.22  # of the series of one name, up and down


def personas(
    table: pd.DataFrame,
    *,
    target: str = "",
    controls: Sequence[str] = (),
    zeros: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw a number of every persona, each reading beside its controls.

    Args:
        table: ``quantity`` (one panel each), ``series`` (one marker each), ``name``, ``estimate``,
            ``lo``, ``hi``; rows in the table's order. The name "random" is no row but a band from
            ``lo`` to ``hi``. With ``n_seeds`` the caption says over how many.
        target: Name that is marked.
        controls: Series drawn hollow and gray.
        zeros: Where nothing is, by quantity (0.5 for an AUROC); 0 by default.
        title: Above the figure.

    Returns:
        Figure: one panel a quantity that share their rows, the names; points with 95 % intervals.

    Raises:
        SchemaError: A column is missing, two rows are one point, or a target, control or quantity
            the table lacks.

    >>> row = {"quantity": "cosine", "series": "lesson", "lo": -0.5, "hi": 0.5}
    >>> john = {**row, "name": "john", "estimate": 0.25}
    >>> table = pd.DataFrame([john, {**row, "name": "random", "estimate": 0.0}])
    >>> [text.get_text() for text in personas(table, target="john").axes[0].get_yticklabels()]
    ['john']
    """
    zeros = zeros or {}
    _check(table, target=target, controls=controls, quantities=zeros)
    rows, bands = table.loc[table["name"] != RANDOM], table.loc[table["name"] == RANDOM]
    names = {name: i for i, name in enumerate(distinct(rows["name"]))}
    quantities, series = distinct(rows["quantity"]), distinct(rows["series"])
    with style():
        figure, axes = panels(len(quantities))
        for ax, quantity in zip(axes, quantities, strict=True):
            for _, band in bands.loc[bands["quantity"] == quantity].iterrows():
                ax.axvspan(band["lo"], band["hi"], color=PALE, linewidth=0, zorder=0)
            ax.axvline(zeros.get(quantity, 0.0), **ZERO)
            _points(ax, rows.loc[rows["quantity"] == quantity], names, series, controls)
            ticks = label_rows(ax, list(names) if ax is axes[0] else [""] * len(names))
            for tick, name in zip(ticks, names, strict=True):
                tick.label1.set_fontweight("bold" if name == target else "normal")
            ax.margins(x=0.06)
            ax.set_xlabel(str(quantity))
        entries = [ax.get_legend_handles_labels() for ax in axes]
        handles = [handle for part, _ in entries for handle in part]
        legend(figure, handles, [name for _, part in entries for name in part])
        note = _note(rows, has_band=not bands.empty)
        return finish(figure, note, height=0.3 + 0.19 * len(names), title=title)


def _check(
    table: pd.DataFrame, *, target: str, controls: Sequence[str], quantities: Mapping[str, float]
) -> None:
    require_rows(table, *COLUMNS)
    if table.duplicated(["quantity", "series", "name"]).any():
        raise SchemaError(
            "two rows are one name of one series; select one seed and hook, or average over seeds."
        )
    choices = [("name", target)] if target else []
    choices += [("series", name) for name in as_tuple(controls)]
    choices += [("quantity", name) for name in as_tuple(quantities)]
    for column, name in choices:
        if name not in set(table[column]):
            raise SchemaError(unknown(column, name, table[column].unique()))


def _points(
    axes: Axes,
    rows: pd.DataFrame,
    names: Mapping[str, int],
    series: Sequence[str],
    controls: Sequence[str],
) -> None:
    here = distinct(rows["series"])
    steps = np.zeros(1)
    if len(here) > 1:
        steps = np.linspace(-SPREAD, SPREAD, len(here))
    for name, step in zip(here, steps, strict=True):
        i = series.index(name)  # one look in all panels
        own, hollow = rows.loc[rows["series"] == name], name in controls
        color = GRAY if hollow else nth_color(i)
        y = own["name"].map(names).to_numpy(np.float64) + step
        axes.hlines(y, own["lo"], own["hi"], color=color, linewidth=1)
        face = "white" if hollow else color
        look = {"s": 13, "marker": nth_marker(i), "facecolor": face, "edgecolor": color}
        axes.scatter(own["estimate"], y, zorder=3, label=str(name), **look)


def _note(rows: pd.DataFrame, *, has_band: bool) -> str:
    gray = " Gray: 95 % of random directions." if has_band else ""
    gray += f" {missing(rows, 'estimate', names='name')}".rstrip()
    if "n_seeds" not in rows or max(rows["n_seeds"]) == 1:
        return f"95 % intervals at fixed weights; one seed, no interval over seeds.{gray}"
    return f"95 % t intervals over {span(rows['n_seeds'])} seeds.{gray}"
