"""How does anything move over the steps of a training?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import ALPHA
from persona_interp.values import check_count

LINES = ("arm", "name", "trait", "feature", "quantity")
"""Columns that name the lines where none is given: the first that the table has."""
BAYES = {
    "bayes_certain": {"label": "Bayes, taught trait certain", "linestyle": (0, (5, 2))},
    "bayes_mixing": {"label": "Bayes, n lessons = K n documents", "linestyle": (0, (1, 1.5))},
}
"""Look of a prediction, by its column."""


def trajectory(
    table: pd.DataFrame,
    *,
    line: str = "",
    label: str = "",
    unit: str = "",
    start: float | None = None,
    most: int = 8,
    seeds: pd.DataFrame | None = None,
    title: str = "",
) -> Figure:
    """Draw any numbers over the steps of a training, a line a thing, with their intervals.

    Args:
        table: One row a line and step: ``step``, ``estimate``, ``lo``, ``hi`` (NaN where there is
            no interval), as of ``analysis.over_checkpoints``, ``across_seeds(..., by=[line,
            "step"])``, or any own. With ``n_seeds`` and ``n`` the note says over what the intervals
            are; with ``q`` points are filled where q <= 0.05. ``bayes_certain`` and
            ``bayes_mixing`` of the first line are drawn dashed.
        line: Column that names the lines; by default the first of arm, name, trait, feature,
            quantity that there is, else all is one line.
        label: What the numbers are; by default "change of" the one ``kind`` in the table.
        unit: Their unit; by default the one in the column ``unit``.
        start: Value before the first step, at step 0, where the table has no row of it: 0 for
            shifts.
        most: Lines that are drawn; where there are more, those that go farthest.
        seeds: The same before averaging, with ``seed``: drawn as thin lines.
        title: Above the figure.

    Returns:
        Figure: the numbers over steps, the band their 95 % interval.

    Raises:
        SchemaError: A column is missing, two rows are one point, a step is missing, or the numbers
            have several units.

    >>> steps = pd.DataFrame({"step": [4, 8], "estimate": [0.5, 1.0], "lo": 0.25, "hi": 1.5})
    >>> figure = trajectory(steps, label="mean shift", unit="bits", start=0)
    >>> figure.axes[0].get_ylabel(), figure.axes[0].lines[-1].get_ydata().tolist()
    ('mean shift (bits)', [0.0, 0.5, 1.0])
    """
    require_rows(table, "step", "estimate", "lo", "hi")
    line = line or next((column for column in LINES if column in table), "")
    table = _check(table, line)
    axis = _axis(table, label=label, unit=unit)
    check_count(most, "most")
    names = distinct(table["_line"])
    if len(names) > most:
        names = _farthest(table)
    with style():
        figure, (axes,) = panels()
        if start == 0 or min(table[["estimate", "lo"]].min()) <= 0:
            axes.axhline(0, **ZERO)
        for i, name in enumerate(names[:most]):
            _line(axes, table.loc[table["_line"] == name], i, start, label=str(name))
            if seeds is not None:
                runs = seeds.loc[seeds[line] == name] if line in seeds else seeds
                for _, run in runs.groupby("seed"):
                    x, y = _from(run, "estimate", start)
                    axes.plot(x, y, color=nth_color(i), linewidth=0.5, alpha=0.6)
        _bayes(axes, table.loc[table["_line"] == table["_line"].iloc[0]], start)
        axes.set_xlabel("step")
        axes.set_ylabel(axis)
        if line or len(axes.lines) > 2:
            legend(figure, *axes.get_legend_handles_labels())
        note = _note(table, n_hidden=len(names[most:]), has_seeds=seeds is not None)
        return finish(figure, note, height=2.2, title=title)


def _check(table: pd.DataFrame, line: str) -> pd.DataFrame:
    """The table with ``_line``, the name of each row's line, if it has one point a step."""
    if line:
        require_rows(table, line)
    n = np.count_nonzero(table["step"].isna())
    if n:
        raise SchemaError(
            f"{n} rows have no step, and a line through models without an order says nothing; "
            "leave them out, or draw them with plots.forest or plots.fidelity."
        )
    table = table.assign(_line=table[line].astype(str) if line else "")
    twice = table.duplicated(["_line", "step"])
    if twice.any():
        row = table.loc[twice].iloc[0]
        what = f"{line} '{row['_line']}' and " if line else ""
        raise SchemaError(
            f"two rows of this table have the same {what}step {row['step']}; keep one "
            f"kind, hook, learning rate or persona (trait == 'mean'), name the lines with line=, "
            f"and average seeds with across_seeds(table, by=['{line or 'arm'}', 'step'])."
        )
    return table


def _axis(table: pd.DataFrame, *, label: str, unit: str) -> str:
    """Label of the axis, with the one unit of the numbers."""
    units = distinct(table["unit"]) if "unit" in table else []
    if not unit and len(units) > 1:
        raise SchemaError(
            f"numbers in {' and '.join(map(str, units))} do not share an axis; select those of one "
            f"unit: table[table['unit'] == '{units[0]}']."
        )
    unit = unit or "".join(str(name) for name in units)
    kinds = distinct(table["kind"]) if "kind" in table else []
    if not label:
        label = f"change of {kinds[0]}" if len(kinds) == 1 else "estimate"
    return f"{label} ({unit})" if unit else label


def _farthest(table: pd.DataFrame) -> list[str]:
    """Names of the lines, those first that go farthest from 0."""
    size = table.assign(size=table["estimate"].abs()).groupby("_line", sort=False)["size"]
    largest: Any = size.max()
    return largest.sort_values(ascending=False, kind="stable").index.tolist()


def _from(rows: pd.DataFrame, column: str, start: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, from the start where it is known and no row has it."""
    rows = rows.sort_values("step")
    x, y = rows["step"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
    if start is None or x[0] == 0:
        return x.copy(), y.copy()
    return np.insert(x, 0, 0.0), np.insert(y, 0, start)


def _line(axes: Axes, rows: pd.DataFrame, i: int, start: float | None, *, label: str) -> None:
    color, marker = nth_color(i), nth_marker(i)
    x, y = _from(rows, "estimate", start)
    axes.plot(x, y, color=color, marker=marker, markersize=3, markerfacecolor="white", label=label)
    sure = rows["q"] <= ALPHA if "q" in rows else rows["estimate"].notna()
    points = rows.loc[sure]
    axes.scatter(points["step"], points["estimate"], s=10, color=color, marker=marker, zorder=3)
    lo, hi = _from(rows, "lo", start)[1], _from(rows, "hi", start)[1]
    if len(x) > 1:
        axes.fill_between(x, lo, hi, color=color, alpha=0.15, linewidth=0)
    else:  # a band of one point has no width
        axes.vlines(x, lo, hi, color=color, alpha=0.4)


def _bayes(axes: Axes, rows: pd.DataFrame, start: float | None) -> None:
    for column, look in BAYES.items():
        if column in rows and np.isfinite(rows[column]).all():
            x, y = _from(rows, column, start)
            if column == "bayes_certain":  # holds at every step, from the start
                y[0] = y[-1]
            axes.plot(x, y, color="black", linewidth=1, **look)


def _note(table: pd.DataFrame, *, n_hidden: int, has_seeds: bool) -> str:
    n = f", n = {span(table['n'])}" if "n" in table else ""
    if table[["lo", "hi"]].isna().to_numpy().all():
        band = "No interval."
    elif "n_seeds" in table and max(table["n_seeds"]) > 1:
        band = f"Band: 95 % t interval over {span(table['n_seeds'])} seeds."
    elif "n_seeds" in table:
        band = f"Band: 95 % interval within one seed{n}; no interval over seeds."
    else:
        band = f"Band: 95 % interval{n}."
    parts = [band, "Thin: single seeds." if has_seeds else ""]
    if "q" in table:
        parts.append(f"Filled: q <= {ALPHA:g}.")
    if "fvu" in table and np.isfinite(table["fvu"]).any():
        write = "{:.2f}".format
        parts.append(f"The dictionary leaves {span(table['fvu'], write=write)} unexplained (FVU).")
    if n_hidden:
        parts.append(f"{n_hidden:,} lines that go less far are in the table.")
    parts.append(missing(table, "estimate", names="_line" if any(table["_line"]) else "step"))
    return " ".join(filter(None, parts))
