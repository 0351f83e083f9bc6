"""Which directions point the same way?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLOR_BAR, WIDTH, panels, style
from persona_interp.schema import require_rows


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
    require_rows(table, "name", "other", "cosine")
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
    with style():
        figure, (axes,) = panels()
        image = cells(axes, values, limit=1.0, write=_hundredths)
        axes.set_yticks(range(len(names)), [str(name) for name in names])
        axes.set_xticks(range(len(names)), [str(name) for name in names])
        figure.colorbar(image, ax=axes, label="cosine", **COLOR_BAR)
        note = f"{len(names)} directions, {len(table):,} pairs. {NO_VALUE}."
        return finish(figure, note, height=min(0.4 + 0.25 * len(names), WIDTH), title=title)


def _hundredths(cosine: float) -> str:
    """A cosine without its leading zero."""
    return f"{cosine:+.2f}".replace("0.", ".")
