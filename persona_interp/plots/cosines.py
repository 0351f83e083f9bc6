"""Which directions point the same way?"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, require
from persona_interp.plots.heatmap import cells
from persona_interp.plots.style import COLOR_BAR, WIDTH, caption, panels, style

FEW = 8
"""Names up to which two digits after the point fit into the cells."""
MANY = 16
"""Names up to which any number does."""


def cosines(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the cosines of directions with each other.

    Args:
        table: ``analysis.cosine_map``: ``name``, ``other``, ``cosine``; one row an ordered pair, or
            an unordered one.
        title: Above the figure.

    Returns:
        Figure: names by names in the table's order, blue to red for -1 to 1, white at 0; the
        diagonal is left out.

    Raises:
        SchemaError: A column is missing, or two rows are one pair.

    >>> table = pd.DataFrame({"name": ["john"], "other": ["mary"], "cosine": [0.5]})
    >>> [text.get_text() for text in cosines(table).axes[0].texts]
    ['–', '+.50', '+.50', '–']
    """
    require(table, "name", "other", "cosine")
    if table.duplicated(["name", "other"]).any():
        raise SchemaError(
            "two rows of these cosines are the same pair; select one hook and one checkpoint."
        )
    names = distinct([*table["name"], *table["other"]])
    index = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for name, other, cosine in zip(table["name"], table["other"], table["cosine"], strict=True):
        values[index[other], index[name]] = cosine
    values = np.where(np.isnan(values), values.T, values)
    np.fill_diagonal(values, np.nan)
    write, meaning = _numbers(len(names))
    with style():
        figure, (axes,) = panels(height=min(max(1.0 + 0.25 * len(names), 1.8), WIDTH))
        fontsize = 7 if len(names) <= FEW else 5.5
        image = cells(axes, values, limit=1.0, write=write, fontsize=fontsize)
        axes.set_yticks(range(len(names)), [str(name) for name in names])
        axes.set_xticks(range(len(names)), [str(name) for name in names], rotation=45, ha="right")
        axes.set_title(title)
        figure.colorbar(image, ax=axes, label="cosine", **COLOR_BAR)
        caption(figure, f"{len(names)} directions, {len(table):,} pairs.{meaning}")
    return figure


def _numbers(n: int) -> tuple[Callable[[float], str], str]:
    """How to write a cosine where n stand in a row, and what the caption says of it."""
    if n <= FEW:
        return lambda cosine: f"{cosine:+.2f}".replace("0.", "."), ""
    if n <= MANY:
        return lambda cosine: f"{100 * cosine:.0f}", " In the cells: 100 x cosine."
    return lambda cosine: "-" if cosine < 0 else "", " Minus: the cosine is negative."
