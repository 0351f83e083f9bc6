"""Which features moved, by how much, and by more than sign flips move them?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.style import COLORS, GRAY, caption, panels, style


def volcano(table: pd.DataFrame, *, label: int = 5, alpha: float = 0.05, title: str = "") -> Figure:
    """Which features moved by more than chance?

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
    found = (table["q"] <= alpha).to_numpy()
    x = table["estimate"].to_numpy()
    floor = max(-np.log10(table["p_min"].iloc[0]), 0.1)
    with style():
        figure, (axes,) = panels(height=3.0)
        axes.hlines(
            y,
            table["null_lo"],
            table["null_hi"],
            color="#C8C8C8",
            linewidth=0.5,
            zorder=0,
            label="null, 95 %",
        )
        axes.axvline(0, color="black", linewidth=0.6)
        axes.scatter(x[~found], y[~found], s=8, color=GRAY, label=f"q > {alpha:g}")
        axes.scatter(x[found], y[found], s=12, color=COLORS[1], label=f"q ≤ {alpha:g}")
        axes.axhline(floor, color=GRAY, linewidth=0.6, linestyle=":", label="smallest p possible")
        axes.set_xlabel("shift of mean activation (after minus before)")
        axes.set_ylabel("−log₁₀ p (sign flips)")
        axes.margins(x=0.08)
        axes.set_ylim(0, floor * (1.3 if found.any() else 1.1))
        _names(axes, table, found, y, n=label)
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(table, int(found.sum()), alpha))
    return figure


def _names(axes: Axes, table: pd.DataFrame, found: np.ndarray, y: np.ndarray, *, n: int) -> None:
    """Names the largest discoveries; those close to each other get names at different heights."""
    x, names = table["estimate"].to_numpy(), table["feature"].to_numpy()
    top = sorted(np.flatnonzero(found), key=lambda i: -abs(x[i]))[:n]
    near = 0.12 * (float(np.ptp(x)) or 1.0)
    placed: list[tuple[float, int]] = []
    for i in sorted(top, key=lambda i: x[i]):
        taken = {level for other, level in placed if abs(other - x[i]) < near}
        level = next(free for free in range(len(placed) + 1) if free not in taken)
        placed.append((x[i], level))
        axes.annotate(
            str(names[i]),
            (x[i], y[i]),
            xytext=(0, 6 + 9 * level),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": GRAY, "linewidth": 0.5},
        )


def _caption(table: pd.DataFrame, n_found: int, alpha: float) -> str:
    one = table.iloc[0]
    return (
        f"{n_found} of {int(one['n_tested'])} features tested ({int(one['n_silent'])} silent) at q "
        f"≤ {alpha:g} "
        f"(Benjamini-Hochberg); {int(one['n'])} prompts in {int(one['n_clusters'])} clusters, "
        "before and after flipped "
        f"by cluster. FVU before {one['fvu_before']:.3f}, after {one['fvu_after']:.3f}."
    )
