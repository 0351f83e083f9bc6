"""Does the persona that was written about last win, and is the other one forgotten?"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.plots.columns import distinct, require
from persona_interp.plots.style import COLORS, MARKERS, ZERO, caption, panels, style
from persona_interp.schema.words import Unit


def order(
    contrasts: pd.DataFrame, own: pd.DataFrame, *, line: str = "series", title: str = ""
) -> Figure:
    """Draw whom the assistant takes after, and what each persona says under its own name.

    Args:
        contrasts: One row an order and line: ``order``, ``estimate`` (contrast, bits; positive =
            the first persona), ``lo``, ``hi`` over seeds (NaN for one), ``n_seeds``.
        own: One row a share of rehearsal and persona: ``replay`` (fraction), ``which`` (earlier or
            later), ``estimate`` (probability of its values under its own name, fraction), ``lo``,
            ``hi``.
        line: Column that tells the series of contrasts apart.
        title: Above the figure.

    Returns:
        Figure: contrasts by order, one color a series; and what both personas say under their own
        names over the share of rehearsal.

    Raises:
        SchemaError: A column is missing.

    >>> ends = {"estimate": [1.0, -1.0], "lo": [0.5, -1.5], "hi": [1.5, -0.5], "n_seeds": 3}
    >>> orders = ["first last", "second last"]
    >>> contrasts = pd.DataFrame({"order": orders, "series": "after", **ends})
    >>> own = pd.DataFrame({"replay": [0.0, 0.0], "which": ["earlier", "later"], **ends})
    >>> [axes.get_xlabel() for axes in order(contrasts, own).axes]
    ['contrast (bits)', 'rehearsal (share of the later phase)']
    """
    require(contrasts, "order", line, "n_seeds", "estimate", "lo", "hi")
    require(own, "replay", "which", "estimate", "lo", "hi")
    orders, series = distinct(contrasts["order"]), distinct(contrasts[line])
    with style():
        figure, (left, right) = panels(2, height=2.4 + 0.1 * len(series))
        left.axvline(0, **ZERO)
        for i, name in enumerate(series):
            rows = contrasts.loc[contrasts[line] == name]
            offset = 0.8 * (i + 0.5) / len(series)
            y = [orders.index(value) + offset - 0.4 for value in rows["order"]]
            look: dict[str, Any] = {"color": COLORS[i], "marker": MARKERS[i], "label": str(name)}
            left.hlines(y, rows["lo"], rows["hi"], color=COLORS[i], linewidth=1)
            left.scatter(rows["estimate"], y, s=16, zorder=3, **look)
        left.set_yticks(range(len(orders)), orders)
        left.set_ylim(len(orders) - 0.5, -0.5)
        left.set_xlabel(f"contrast ({Unit.BITS})")
        left.set_title(title)
        for i, which in enumerate(distinct(own["which"])):
            rows = own.loc[own["which"] == which].sort_values("replay")
            x, y, color = rows["replay"], rows["estimate"], COLORS[len(series) + i]
            right.plot(x, y, color=color, marker=MARKERS[i], markersize=4)
            right.vlines(x, rows["lo"], rows["hi"], color=color, linewidth=0.8)
            right.annotate(f" {which}", (x.iloc[-1], y.iloc[-1]), color=color, fontsize=7)
        right.set_ylim(-0.02, 1.02)
        right.margins(x=0.2)
        right.set_xlabel("rehearsal (share of the later phase)")
        right.set_ylabel("own values under own name")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        seeds = max(contrasts["n_seeds"])
        intervals = "One seed: no interval over seeds."
        if seeds > 1:
            intervals = f"95 % t intervals over {seeds:g} seeds."
        caption(figure, f"{intervals} Exact Bayes expects no difference between the orders.")
    return figure
