"""Which estimators find the truth, and which agree with each other?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.heatmap import cells
from persona_interp.plots.style import COLORS, GRAY, caption, panels, style

COLUMNS = ("estimator", "rho", "lo", "hi", "null_lo", "null_hi", "n", "n_seeds", "works")


def agreement(
    parts: dict[str, pd.DataFrame], *, line: float | None = None, title: str = ""
) -> Figure:
    """Which estimators find the truth?

    Args:
        parts: ``analysis.agreement_with_truth`` by the name of what is estimated, a panel each.
        line: Correlation that is marked: from there on an estimator is said to work.
        title: Above the figure.

    Returns:
        Figure: one dot an estimator with its 95 % interval, filled where it works; the gray bar
        behind is 95 % of the null.

    Raises:
        SchemaError: Nothing to draw, or a column is missing.

    >>> row = {"estimator": "traits", "rho": 0.5, "lo": 0.25, "hi": 0.75, "null_lo": -0.5, "null_hi": 0.5}
    >>> table = pd.DataFrame([row | {"n": 16, "n_seeds": 1, "works": False}])
    >>> [text.get_text() for text in agreement({"measure": table}).axes[0].get_yticklabels()]
    ['traits']
    """
    if not parts:
        raise SchemaError("no table of estimators against the truth; give one a panel.")
    for table in parts.values():
        for column in COLUMNS:
            if column not in table:
                raise SchemaError(unknown("column", column, table.columns))
    with style():
        figure, axes = panels(len(parts), height=1.2 + 0.19 * max(map(len, parts.values())))
        for ax, (name, table) in zip(axes, parts.items(), strict=True):
            _dots(ax, table)
            if line is not None:
                ax.axvline(line, color=GRAY, linewidth=0.8, linestyle="--")
            ax.axvline(0, color="black", linewidth=0.6)
            ax.set_xlim(-1.05, 1.05)
            ax.set_xlabel("rank correlation with the truth")
            ax.set_title(name)
        figure.suptitle(title, fontsize=8, x=0.01, ha="left")
        caption(figure, _caption(parts, line))
    return figure


def agreement_matrix(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Which estimators agree with each other?

    Args:
        table: ``analysis.agreement``: ``one``, ``other``, ``rho``, ``p``, an unordered pair each.
        title: Above the figure.

    Returns:
        Figure: estimators by estimators, rank correlation in each cell, a dot where p <= 0.05.

    Raises:
        SchemaError: A column is missing.

    >>> table = pd.DataFrame({"one": ["a"], "other": ["b"], "rho": [0.5], "p": [0.01], "n": 16, "n_seeds": 1})
    >>> [text.get_text() for text in agreement_matrix(table).axes[0].texts]
    ['–', '+.50 •', '+.50 •', '–']
    """
    for column in ("one", "other", "rho", "p", "n", "n_seeds"):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    names = list(dict.fromkeys([*table["one"], *table["other"]]))
    rho, sure = np.full((len(names), len(names)), np.nan), np.zeros((len(names), len(names)), bool)
    for one, other, value, p in zip(*(table[c] for c in ("one", "other", "rho", "p")), strict=True):
        i, j = names.index(one), names.index(other)
        rho[i, j] = rho[j, i] = value
        sure[i, j] = sure[j, i] = p <= 0.05
    with style():
        figure, (axes,) = panels(height=1.5 + 0.27 * len(names))
        image = cells(
            axes, rho, limit=1.0, sure=sure, write=_rho, fontsize=6.5 if len(names) <= 8 else 5
        )
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_title(title)
        figure.colorbar(image, ax=axes, label="rank correlation", fraction=0.05, pad=0.02)
        worlds = " to ".join(
            str(i) for i in dict.fromkeys((min(table["n_seeds"]), max(table["n_seeds"])))
        )
        caption(figure, f"Dot: p <= 0.05, personas permuted within worlds; worlds: {worlds}.")
    return figure


def _dots(axes: Axes, table: pd.DataFrame) -> None:
    y = np.arange(len(table))
    rho, lo, hi, null_lo, null_hi = (
        table[c].to_numpy(np.float64) for c in ("rho", "lo", "hi", "null_lo", "null_hi")
    )
    axes.barh(y, null_hi - null_lo, left=null_lo, height=0.7, color="#D8D8D8", linewidth=0)
    axes.hlines(y, lo, hi, color=COLORS[0], linewidth=1.2)
    works = table["works"].to_numpy(bool)
    axes.scatter(
        rho, y, s=18, zorder=3, facecolor=np.where(works, COLORS[0], "white"), edgecolor=COLORS[0]
    )
    axes.set_yticks(y, [str(name) for name in table["estimator"]])
    axes.set_ylim(len(table) - 0.4, -0.6)


def _caption(parts: dict[str, pd.DataFrame], line: float | None) -> str:
    n = "; ".join(f"{name}: n = {max(table['n'])}" for name, table in parts.items())
    worlds = max(max(table["n_seeds"]) for table in parts.values())
    marked = "" if line is None else f" Filled: at least {line:g} (dashed)."
    lines = (
        "Lines: 95 % bootstrap intervals over personas; gray: 95 % of the null, personas permuted."
    )
    return f"{lines}{marked} {n}; worlds: {worlds}."


def _rho(value: float) -> str:
    return f"{value:+.2f}".replace("0.", ".")
