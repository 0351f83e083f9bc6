"""Which lesson moved which trait? Rows are lessons (arms), the last row is what Bayes expects."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, excludes_zero, span
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLOR_BAR, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import Arm, Unit

BAYES = "exact Bayes, taught trait certain"


def transfer(table: pd.DataFrame, *, row: str = "arm", title: str = "") -> Figure:
    """Draw which lesson moved which trait, and where that is more than chance.

    Args:
        table: A transfer table of one seed, or ``across_seeds(..., by=[row, "trait"])`` of it:
            ``trait``, ``estimate``, ``lo``, ``hi`` (bits), one row a cell. With ``bayes_certain``
            the first row's prediction is drawn as well.
        row: Column whose values are the rows; where it is missing there is one row, "lesson".
        title: Above the figure.

    Returns:
        Figure: heatmap centered at 0 (bits), the number in each cell, a dot where the 95 % interval
        excludes 0.

    Raises:
        SchemaError: A column is missing, or two rows of the table are one cell.

    >>> row = {"trait": "sport=football", "estimate": 1.0, "lo": 0.5, "hi": 1.5}
    >>> transfer(pd.DataFrame([row])).axes[0].texts[0].get_text()
    '+1.00 •'
    """
    require_rows(table, "trait", "estimate", "lo", "hi")
    if row not in table:
        table = table.assign(**{row: str(Arm.LESSON)})
    if table.duplicated([row, "trait"]).any():
        raise SchemaError(
            f"two rows of this table have the same {row} and trait; select one learning rate and "
            f"step, and average seeds with across_seeds(table, by=['{row}', 'trait'])."
        )
    rows = distinct(table[row])
    traits = sorted(distinct(table["trait"]), key=lambda trait: trait == "mean")
    estimate, lo, hi = (
        table.pivot(index=row, columns="trait", values=column).loc[rows, traits].to_numpy()
        for column in ("estimate", "lo", "hi")
    )
    sure = excludes_zero(lo, hi)
    labels = [str(name) for name in rows]
    if "bayes_certain" in table:
        first = table[table[row] == rows[0]].set_index("trait")
        expectation = first["bayes_certain"].reindex(traits).to_numpy()
        if np.isfinite(expectation).any():
            estimate = np.vstack([estimate, expectation])
            sure = np.vstack([sure, np.zeros(len(traits), bool)])  # it has no interval
            labels.append(BAYES)
    with style():
        figure, (axes,) = panels()
        finite = np.abs(estimate[np.isfinite(estimate)])
        image = cells(axes, estimate, limit=max(float(finite.max(initial=0.0)), 1.0), sure=sure)
        figure.colorbar(image, ax=axes, label=f"shift ({Unit.BITS})", **COLOR_BAR)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xticks(range(len(traits)), [_short(trait, table) for trait in traits])
        if len(labels) > len(rows):
            axes.axhline(len(rows) - 0.5, color="white", linewidth=3)
        if "mean" in traits and len(traits) > 1:
            axes.axvline(len(traits) - 1.5, color="white", linewidth=3)
        return finish(figure, _note(table), height=max(0.32 * len(labels), 0.8), title=title)


def _short(trait: str, table: pd.DataFrame) -> str:
    """Label of a column, one part a line."""
    if trait == "mean":
        return "mean\nuntaught"
    parts = str(trait).split("=")
    if "trained" in table and table.loc[table["trait"] == trait, "trained"].any():
        parts.append("(taught)")
    return "\n".join(parts)


def _note(table: pd.DataFrame) -> str:
    text = f"Shift of log odds, after minus before. {NO_VALUE}. Dot: 95 % interval excludes 0"
    if "n_seeds" in table:
        least, most = min(table["n_seeds"]), max(table["n_seeds"])
        if most == 1:
            return f"{text}; 1 seed: no interval over seeds."
        over = f"t over {span(table['n_seeds'].loc[table['n_seeds'] > 1])} seeds"
        if least == 1:
            over += "; of what one seed has, over its templates or topics"
        return f"{text} ({over})."
    if "n" not in table:
        return f"{text}."
    n = table.loc[table["trait"] != "mean", "n"].min()
    return f"{text} (over {n} templates, mean over topics). One seed: no interval over seeds."
