"""How do the untaught traits move while the lesson is learned, and how do the controls?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, require, span
from persona_interp.plots.style import ZERO, caption, nth_color, nth_marker, panels, style
from persona_interp.schema.words import Arm, Unit

BAYES = {
    "bayes_certain": {"label": "Bayes, taught trait certain", "linestyle": (0, (5, 2))},
    "bayes_mixing": {"label": "Bayes, n lessons = K n documents", "linestyle": (0, (1, 1.5))},
}
"""Look of a prediction, by its column."""


def trajectory(
    table: pd.DataFrame, *, seeds: pd.DataFrame | None = None, line: str = "arm", title: str = ""
) -> Figure:
    """Draw the mean shift of the untaught traits over the steps of a lesson, by arm.

    Args:
        table: One row an arm and step: ``step``, ``estimate`` (bits); the "mean" rows of a transfer
            table of one seed, or ``across_seeds(..., by=[line, "step"])`` of several, whose ``lo``,
            ``hi`` and ``n_seeds`` make the band. Bayes columns of the first arm are drawn dashed.
        seeds: The same before averaging, with ``seed``: drawn as thin lines.
        line: Column that tells the lines apart; where it is missing there is one line, "lesson".
        title: Above the figure.

    Returns:
        Figure: mean untaught shift (bits) over steps of the lesson; the state before it is the
        point (0, 0).

    Raises:
        SchemaError: A column is missing, or two rows are one point.

    >>> figure = trajectory(pd.DataFrame({"step": [4, 8], "estimate": [0.5, 1.0]}))
    >>> figure.axes[0].lines[-1].get_ydata().tolist()
    [0.0, 0.5, 1.0]
    """
    require(table, "step", "estimate")
    if line not in table:
        table = table.assign(**{line: str(Arm.LESSON)})
    if table.duplicated([line, "step"]).any():
        raise SchemaError(
            f"two rows of this table have the same {line} and step; keep trait == 'mean' and one "
            f"learning rate, and average seeds with across_seeds(table, by=['{line}', 'step'])."
        )
    lines = distinct(table[line])
    with style():
        figure, (axes,) = panels(height=2.6)
        axes.axhline(0, **ZERO)
        for i, name in enumerate(lines):
            _line(axes, table.loc[table[line] == name], i, label=str(name))
            if seeds is not None:
                runs = seeds.loc[seeds[line] == name] if line in seeds else seeds
                for _, run in runs.groupby("seed"):
                    axes.plot(
                        *_from_zero(run, "estimate"), color=nth_color(i), linewidth=0.5, alpha=0.6
                    )
        _bayes(axes, table.loc[table[line] == lines[0]])
        axes.set_xlabel("step of the lesson")
        axes.set_ylabel(f"mean shift of untaught traits ({Unit.BITS})")
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(table))
    return figure


def _from_zero(rows: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, with the state before the lesson as the point (0, 0)."""
    rows = rows.sort_values("step")
    x, y = rows["step"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
    if x[0] == 0:
        return x.copy(), y.copy()
    return np.insert(x, 0, 0.0), np.insert(y, 0, 0.0)


def _line(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    color = nth_color(i)
    x, y = _from_zero(rows, "estimate")
    axes.plot(x, y, color=color, marker=nth_marker(i), markersize=3, label=label)
    if "n_seeds" in rows and min(rows["n_seeds"]) > 1:
        lo, hi = _from_zero(rows, "lo")[1], _from_zero(rows, "hi")[1]
        axes.fill_between(x, lo, hi, color=color, alpha=0.15, linewidth=0)


def _bayes(axes: Axes, rows: pd.DataFrame) -> None:
    for column, look in BAYES.items():
        if column in rows and np.isfinite(rows[column]).all():
            x, y = _from_zero(rows, column)
            if column == "bayes_certain":  # holds at every step, from the start
                y[0] = y[-1]
            axes.plot(x, y, color="black", linewidth=1, **look)


def _caption(table: pd.DataFrame) -> str:
    if "n_seeds" not in table or max(table["n_seeds"]) == 1:
        return "One seed: no interval over seeds."
    return f"Band: 95 % t interval over {span(table['n_seeds'])} seeds; thin: single seeds."
