"""Which safeguard takes away what is unwanted, and leaves what is wanted?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish
from persona_interp.plots.names import name_points
from persona_interp.plots.style import COLOR_BAR, GRAY, INK, ZERO, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.cells import check_numbers
from persona_interp.schema.words import Unit

COLUMNS = ("label", "cut", "cut_lo", "cut_hi", "kept", "kept_lo", "kept_hi", "leak", "n_seeds")
AIM = 0.9
"""Share cut and share kept that count as a safeguard that works."""
BARS: dict[str, Any] = {"color": "#A8A8A8", "linewidth": 0.6, "zorder": 0}
MOST = 1.5
"""Shares drawn at most, either side: an interval over three seeds may be far wider."""


def frontier(safeguards: pd.DataFrame, *, aim: float = AIM, title: str = "") -> Figure:
    """Draw how much of the unwanted each safeguard cuts against how much of the wanted it keeps.

    Args:
        safeguards: One row a safeguard: ``label``, ``cut`` (share of the unwanted persona's rise
            that is gone) and ``kept`` (share of the lesson's rise that is there), each with ``_lo``
            and ``_hi`` over seeds, ``leak`` (bits, worst trigger), ``n_seeds``.
        aim: Shares at which the dotted lines stand.
        title: Above the figure.

    Returns:
        Figure: kept to the right, cut upwards, 95 % intervals over seeds; the color is the leak.
        What does nothing stands at (1, 0); the corner at the upper right is what is wanted.

    Raises:
        SchemaError: A column is missing, or there are no rows.

    >>> row = {"label": "capping", "cut": 0.9, "kept": 0.5, "leak": 0.25, "n_seeds": 1}
    >>> table = pd.DataFrame([row]).assign(cut_lo=0.8, cut_hi=1.0, kept_lo=0.4, kept_hi=0.6)
    >>> frontier(table).axes[0].texts[0].get_text()
    'capping'
    """
    require_rows(safeguards, *COLUMNS)
    check_numbers(safeguards, COLUMNS[1:])
    x, y = (safeguards[name].to_numpy(float) for name in ("kept", "cut"))
    gray: dict[str, Any] = {**ZERO, "color": GRAY}
    with style():
        figure, (axes,) = panels()
        for line in (0, 1):
            axes.axhline(line, **gray)
            axes.axvline(line, **gray)
        axes.axhline(aim, linestyle=(0, (1, 1.5)), **ZERO)
        axes.axvline(aim, linestyle=(0, (1, 1.5)), **ZERO)
        axes.hlines(y, safeguards["kept_lo"], safeguards["kept_hi"], **BARS)
        axes.vlines(x, safeguards["cut_lo"], safeguards["cut_hi"], **BARS)
        look = {"s": 26, "edgecolors": INK, "linewidth": 0.5, "cmap": "viridis_r", "zorder": 3}
        points = axes.scatter(
            x, y, c=safeguards["leak"].to_numpy(float), plotnonfinite=True, **look
        )
        figure.colorbar(points, ax=axes, label=f"leak, worst trigger ({Unit.BITS})", **COLOR_BAR)
        axes.set_xlim(*_limits(x))
        axes.set_ylim(*_limits(y))
        axes.set_xlabel("share of the wanted lesson kept")
        axes.set_ylabel("share of the unwanted persona cut")
        known = np.isfinite(x) & np.isfinite(y)
        # the best first: they are named where there is no room for all
        order = [i for i in np.argsort(-np.minimum(x, y), kind="stable") if known[i]]
        labels = [str(label) for label in safeguards["label"].iloc[order]]
        name_points(axes, np.column_stack([x, y])[order], labels)
        return finish(figure, _note(safeguards, aim), height=3.4, title=title)


def _limits(shares: np.ndarray) -> tuple[float, float]:
    """Ends of an axis: 0, 1 and the shares, but no farther than is of interest."""
    known = np.append(shares[np.isfinite(shares)], (0.0, 1.0))
    return max(known.min(), -MOST) - 0.12, min(known.max(), 1 + MOST) + 0.12


def _note(safeguards: pd.DataFrame, aim: float) -> str:
    n = max(safeguards["n_seeds"].tolist())
    parts = ["One seed: no interval over seeds."]
    if n > 1:
        parts = [f"95 % t intervals over {n:g} seeds."]
    parts.append(
        f"Dotted: {aim:g} cut and kept. Cut and kept are shares of what no safeguard gives."
    )
    parts.append(missing(safeguards, "cut", "kept", names="label"))
    return " ".join(filter(None, parts))
