"""Which features moved, by how much, and by more than sign flips move them?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.style import COLORS, GRAY, ZERO, caption, panels, style
from persona_interp.schema.words import Unit

PALE = "#C8C8C8"  # of each feature's null


def volcano(table: pd.DataFrame, *, label: int = 5, alpha: float = 0.05, title: str = "") -> Figure:
    """Draw the shift of every feature beside its chance.

    Args:
        table: A feature_shift table.
        label: How many discoveries are named, largest shift first.
        alpha: False discovery rate below which a feature counts as discovered.
        title: Above the figure.

    Returns:
        Figure: shift of each feature against -log10 p; colored where q <= alpha; behind each point
        the 95 % range of its own sign-flip null.

    Raises:
        SchemaError: Not a feature_shift table.

    >>> table = pd.DataFrame({column: [1.0] for column in schema.TABLES["feature_shift"]})
    >>> volcano(table.assign(feature=7, p=0.01, p_min=0.01, q=0.01)).axes[0].texts[0].get_text()
    '7'
    """
    schema.check(table, "feature_shift")
    y = -np.log10(table["p"].to_numpy())
    discovered = (table["q"] <= alpha).to_numpy()
    x = table["estimate"].to_numpy()
    floor = max(-np.log10(table["p_min"].iloc[0]), 0.1)
    near = 0.12 * (float(np.ptp(x)) or 1.0)
    with style():
        figure, (axes,) = panels(height=3.0)
        lo, hi = table["null_lo"], table["null_hi"]
        axes.hlines(y, lo, hi, color=PALE, linewidth=0.5, zorder=0, label="null, 95 %")
        axes.axvline(0, **ZERO)
        axes.scatter(x[~discovered], y[~discovered], s=8, color=GRAY, label=f"q > {alpha:g}")
        axes.scatter(x[discovered], y[discovered], s=12, color=COLORS[1], label=f"q ≤ {alpha:g}")
        axes.axhline(floor, color=GRAY, linewidth=0.6, linestyle=":", label="smallest p possible")
        axes.set_xlabel(f"shift of {Unit.ACTIVATION} (after minus before)")
        axes.set_ylabel("−log₁₀ p (sign flips)")
        axes.margins(x=0.08)
        axes.set_ylim(0, floor * (1.3 if discovered.any() else 1.1))
        _name_points(axes, table.loc[discovered], y[discovered], n=label, near=near)
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(table, int(discovered.sum()), alpha))
    return figure


def _name_points(axes: Axes, rows: pd.DataFrame, y: np.ndarray, *, n: int, near: float) -> None:
    """Name the n largest shifts; names of points close to each other get different heights."""
    x, names = rows["estimate"].to_numpy(), rows["feature"].to_numpy()
    top = sorted(range(len(x)), key=lambda i: -abs(x[i]))[:n]
    levels: list[tuple[float, int]] = []
    for i in sorted(top, key=lambda i: x[i]):
        occupied = {level for other, level in levels if abs(other - x[i]) < near}
        level = next(level for level in range(len(levels) + 1) if level not in occupied)
        levels.append((x[i], level))
        axes.annotate(
            str(names[i]),
            (x[i], y[i]),
            xytext=(0, 6 + 9 * level),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": GRAY, "linewidth": 0.5},
        )


def _caption(table: pd.DataFrame, n_discovered: int, alpha: float) -> str:
    first = table.iloc[0]
    return (
        f"{n_discovered} of {int(first['n_tested'])} features tested ({int(first['n_silent'])} "
        f"silent) at q ≤ {alpha:g} (Benjamini-Hochberg); {int(first['n'])} prompts in "
        f"{int(first['n_clusters'])} clusters, before and after flipped by cluster. FVU before "
        f"{first['fvu_before']:.3f}, after {first['fvu_after']:.3f}."
    )
