"""Which estimators find the truth, and which agree with each other?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish
from persona_interp.plots.style import (
    BAND,
    COLOR_BAR,
    COLORS,
    GRAY,
    ZERO,
    label_rows,
    panels,
    style,
)
from persona_interp.schema import require_rows
from persona_interp.schema.words import ALPHA
from persona_interp.values import check_mapping

COLUMNS = ("estimator", "rho", "lo", "hi", "null_lo", "null_hi", "n", "n_seeds", "works")


def agreement(
    parts: dict[str, pd.DataFrame], *, line: float | None = None, title: str = ""
) -> Figure:
    """Draw the agreement of each estimator with the truth.

    Args:
        parts: ``analysis.agreement_with_truth`` by the name of what is estimated, a panel each.
        line: Correlation that is marked: from there on an estimator is said to work.
        title: Above the figure.

    Returns:
        Figure: one dot an estimator with its 95 % interval, filled where it works; the gray bar
        behind is 95 % of the null.

    Raises:
        SchemaError: Nothing to draw, or a column is missing.

    >>> row = {"estimator": "traits", "rho": 0.5, "lo": 0.25, "hi": 0.75, "n": 16, "n_seeds": 1}
    >>> table = pd.DataFrame([row | {"null_lo": -0.5, "null_hi": 0.5, "works": False}])
    >>> [text.get_text() for text in agreement({"measure": table}).axes[0].get_yticklabels()]
    ['traits']
    """
    check_mapping(parts, "parts", of="tables")
    if not parts:
        raise SchemaError("no table of estimators against the truth; give one a panel.")
    for table in parts.values():
        require_rows(table, *COLUMNS)
    with style():
        figure, axes = panels(len(parts))
        for ax, (name, table) in zip(axes, parts.items(), strict=True):
            _dots(ax, table)
            if line is not None:
                ax.axvline(line, color=GRAY, linewidth=0.8, linestyle="--")
            ax.axvline(0, **ZERO)
            ax.set_xlim(-1.05, 1.05)
            ax.set_xlabel("rank correlation with the truth")
            ax.set_title(name)
        height = 0.2 + 0.19 * max(map(len, parts.values()))
        return finish(figure, _note(parts, line), height=height, title=title)


def agreement_matrix(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the agreement of estimators with each other.

    Args:
        table: ``analysis.agreement``: ``one``, ``other``, ``rho``, ``p``, an unordered pair each.
        title: Above the figure.

    Returns:
        Figure: estimators by estimators, rank correlation in each cell, a dot where p <= 0.05.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"one": "a", "other": "b", "rho": 0.5, "p": 0.01, "n": 16, "n_seeds": 1}
    >>> [text.get_text() for text in agreement_matrix(pd.DataFrame([row])).axes[0].texts]
    ['–', '+.50 •', '+.50 •', '–']
    """
    require_rows(table, "one", "other", "rho", "p", "n", "n_seeds")
    names = distinct([*table["one"], *table["other"]])
    rho = np.full((len(names), len(names)), np.nan)
    sure = np.zeros((len(names), len(names)), bool)
    pairs = table[["one", "other", "rho", "p"]].itertuples(index=False)
    for one, other, value, p in pairs:
        i, j = names.index(one), names.index(other)
        rho[i, j] = rho[j, i] = value
        sure[i, j] = sure[j, i] = p <= ALPHA
    with style():
        figure, (axes,) = panels()
        image = cells(axes, rho, limit=1.0, sure=sure, write=_rho)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names)
        figure.colorbar(image, ax=axes, label="rank correlation", **COLOR_BAR)
        worlds = span(table["n_seeds"])
        note = (
            f"Dot: p <= {ALPHA:g}, personas permuted within worlds; {NO_VALUE}; worlds: {worlds}."
        )
        return finish(figure, note, height=0.4 + 0.27 * len(names), title=title)


def _dots(axes: Axes, table: pd.DataFrame) -> None:
    y = np.arange(len(table))
    rho, lo, hi, null_lo, null_hi = (
        table[c].to_numpy(np.float64) for c in ("rho", "lo", "hi", "null_lo", "null_hi")
    )
    axes.barh(y, null_hi - null_lo, left=null_lo, height=0.7, color=BAND, linewidth=0)
    axes.hlines(y, lo, hi, color=COLORS[0], linewidth=1.2)
    works = table["works"].to_numpy(bool)
    face = np.where(works, COLORS[0], "white")
    axes.scatter(rho, y, s=18, zorder=3, facecolor=face, edgecolor=COLORS[0])
    label_rows(axes, [str(name) for name in table["estimator"]])


def _note(parts: dict[str, pd.DataFrame], line: float | None) -> str:
    n = "; ".join(f"{name}: n = {max(table['n'])}" for name, table in parts.items())
    worlds = max(max(table["n_seeds"]) for table in parts.values())
    filled = "" if line is None else f" Filled: at least {line:g} (dashed)."
    gaps = [missing(table, "rho", names="estimator") for table in parts.values()]
    note = (
        "Lines: 95 % bootstrap intervals over personas; gray: 95 % of the null, personas permuted."
        f"{filled} {n}; worlds: {worlds}."
    )
    return " ".join([note, *filter(None, gaps)])


def _rho(value: float) -> str:
    """A correlation without its leading zero."""
    return f"{value:+.2f}".replace("0.", ".")
