"""Which lesson moved which trait? Rows are lessons (arms), columns traits, and the last row is what Bayes expects."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.heatmap import cells
from persona_interp.plots.style import caption, panels, style

BAYES = "exact Bayes, taught trait certain"


def transfer(table: pd.DataFrame, *, row: str = "arm", title: str = "") -> Figure:
    """Which lesson moved which trait, in which direction, and where is that more than chance?

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

    >>> table = pd.DataFrame({"trait": ["sport=football"], "estimate": [1.0], "lo": [0.5], "hi": [1.5]})
    >>> transfer(table).axes[0].texts[0].get_text()
    '+1.00 •'
    """
    for column in ("trait", "estimate", "lo", "hi"):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if row not in table:
        table = table.assign(**{row: "lesson"})
    if table.duplicated([row, "trait"]).any():
        raise SchemaError(
            f"two rows of this table have the same {row} and trait; select one learning rate and "
            "step, and average "
            f"seeds with across_seeds(table, by=['{row}', 'trait'])."
        )
    rows, traits = list(dict.fromkeys(table[row])), list(dict.fromkeys(table["trait"]))
    traits.sort(key=lambda trait: trait == "mean")
    at = {
        c: table.pivot(index=row, columns="trait", values=c).loc[rows, traits].to_numpy()
        for c in ("estimate", "lo", "hi")
    }
    estimate, sure = at["estimate"], (at["lo"] > 0) | (at["hi"] < 0)
    labels = [str(r) for r in rows]
    if "bayes_certain" in table:
        first = (
            table[table[row] == rows[0]]
            .set_index("trait")["bayes_certain"]
            .reindex(traits)
            .to_numpy()
        )
        if np.isfinite(first).any():
            estimate, sure = (
                np.vstack([estimate, first]),
                np.vstack([sure, np.zeros(len(traits), bool)]),
            )
            labels.append(BAYES)
    with style():
        figure, (axes,) = panels(height=0.9 + 0.32 * len(labels))
        finite = np.abs(estimate[np.isfinite(estimate)])
        image = cells(axes, estimate, limit=max(float(finite.max(initial=0.0)), 1.0), sure=sure)
        figure.colorbar(image, ax=axes, label="shift (bits)", fraction=0.05, pad=0.02)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xticks(range(len(traits)), [_short(t, table) for t in traits])
        axes.set_title(title)
        if len(labels) > len(rows):
            axes.axhline(len(rows) - 0.5, color="white", linewidth=3)
        if "mean" in traits and len(traits) > 1:
            axes.axvline(len(traits) - 1.5, color="white", linewidth=3)
        caption(figure, _caption(table))
    return figure


def _short(trait: str, table: pd.DataFrame) -> str:
    taught = "trained" in table and bool(table.loc[table["trait"] == trait, "trained"].any())
    if trait == "mean":
        return "mean\nuntaught"
    return trait.replace("=", "\n") + ("\n(taught)" if taught else "")


def _caption(table: pd.DataFrame) -> str:
    shown = "Shift of log odds, after minus before. Dot: 95 % interval excludes 0"
    if "n_seeds" in table:
        seeds = " to ".join(
            str(i) for i in dict.fromkeys((min(table["n_seeds"]), max(table["n_seeds"])))
        )
        return (
            f"{shown} (t over {seeds} seeds)."
            if min(table["n_seeds"]) > 1
            else f"{shown}; {seeds} seed: no interval over seeds."
        )
    if "n" not in table:
        return f"{shown}."
    n = table.loc[table["trait"] != "mean", "n"].min()
    return f"{shown} (over {n} templates, mean over topics). One seed: no interval over seeds."
