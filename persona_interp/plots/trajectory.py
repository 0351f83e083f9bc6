"""How do the untaught traits move while the lesson is learned, and how do the controls?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, MARKERS, caption, panels, style

BAYES = {
    "bayes_certain": "Bayes, taught trait certain",
    "bayes_mixing": "Bayes, n lessons = K n documents",
}
DASHES = {"bayes_certain": (0, (5, 2)), "bayes_mixing": (0, (1, 1.5))}


def trajectory(
    table: pd.DataFrame, *, seeds: pd.DataFrame | None = None, line: str = "arm", title: str = ""
) -> Figure:
    """How far have the untaught traits moved at each step, by arm?

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
    for column in ("step", "estimate"):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    table = table if line in table else table.assign(**{line: "lesson"})
    if table.duplicated([line, "step"]).any():
        raise SchemaError(
            f"two rows of this table have the same {line} and step; keep trait == 'mean' and one "
            "learning rate, and "
            f"average seeds with across_seeds(table, by=['{line}', 'step'])."
        )
    lines = list(dict.fromkeys(table[line]))
    with style():
        figure, (axes,) = panels(height=2.6)
        axes.axhline(0, color="black", linewidth=0.6)
        for i, name in enumerate(lines):
            _line(axes, table.loc[table[line] == name], i, label=str(name))
            if seeds is not None:
                own = seeds.loc[seeds[line] == name] if line in seeds else seeds
                for _, run in own.groupby("seed"):
                    axes.plot(
                        *_from_zero(run, "estimate"), color=_color(i), linewidth=0.5, alpha=0.6
                    )
        _bayes(axes, table.loc[table[line] == lines[0]])
        axes.set_xlabel("step of the lesson")
        axes.set_ylabel("mean shift of untaught traits (bits)")
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(table))
    return figure


def _color(i: int) -> str:
    return COLORS[i % len(COLORS)]


def _from_zero(rows: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    rows = rows.sort_values("step")
    x, y = rows["step"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
    return (x.copy(), y.copy()) if x[0] == 0 else (np.insert(x, 0, 0.0), np.insert(y, 0, 0.0))


def _line(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    marker = MARKERS[i % len(MARKERS)]
    axes.plot(
        *_from_zero(rows, "estimate"), color=_color(i), marker=marker, markersize=3, label=label
    )
    if "n_seeds" in rows and min(rows["n_seeds"]) > 1:
        x, lo = _from_zero(rows, "lo")
        axes.fill_between(
            x, lo, _from_zero(rows, "hi")[1], color=_color(i), alpha=0.15, linewidth=0
        )


def _bayes(axes: Axes, rows: pd.DataFrame) -> None:
    for column, label in BAYES.items():
        if column in rows and np.isfinite(rows[column]).all():
            x, y = _from_zero(rows, column)
            if column == "bayes_certain":  # holds at every step, from the start
                y[0] = y[-1]
            axes.plot(x, y, color="black", linewidth=1, linestyle=DASHES[column], label=label)


def _caption(table: pd.DataFrame) -> str:
    if "n_seeds" not in table or max(table["n_seeds"]) == 1:
        return "One seed: no interval over seeds."
    n = " to ".join(str(i) for i in dict.fromkeys((min(table["n_seeds"]), max(table["n_seeds"]))))
    return f"Band: 95 % t interval over {n} seeds; thin: single seeds."
