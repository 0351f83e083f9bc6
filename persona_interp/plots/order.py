"""Does the persona that was written about last win, and is the other one forgotten?"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import ZERO, label_rows, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows
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
    >>> [axes.get_xlabel().split()[0] for axes in order(contrasts, own).axes]
    ['contrast', 'rehearsal']
    """
    require_rows(contrasts, "order", line, "n_seeds", "estimate", "lo", "hi")
    require_rows(own, "replay", "which", "estimate", "lo", "hi")
    orders, series = distinct(contrasts["order"]), distinct(contrasts[line])
    with style():
        figure, (left, right) = panels(2)
        left.axvline(0, **ZERO)
        for i, name in enumerate(series):
            rows = contrasts.loc[contrasts[line] == name]
            offset = 0.8 * (i + 0.5) / len(series)
            y = [orders.index(value) + offset - 0.4 for value in rows["order"]]
            look: dict[str, Any] = {"color": nth_color(i), "marker": nth_marker(i)}
            left.hlines(y, rows["lo"], rows["hi"], color=nth_color(i), linewidth=1)
            left.scatter(rows["estimate"], y, s=16, zorder=3, label=str(name), **look)
        label_rows(left, orders)
        left.set_xlabel(f"contrast ({Unit.BITS})")
        for i, which in enumerate(distinct(own["which"])):
            rows = own.loc[own["which"] == which].sort_values("replay")
            x, y, color = rows["replay"], rows["estimate"], nth_color(len(series) + i)
            look = {"color": color, "marker": nth_marker(len(series) + i), "markersize": 4}
            right.plot(x, y, label=f"{which}, under its own name", **look)
            right.vlines(x, rows["lo"], rows["hi"], color=color, linewidth=0.8)
        right.set_ylim(-0.02, 1.02)
        right.set_xlabel("rehearsal (share of the later phase)")
        right.set_ylabel("own values under own name")
        (handles, names), others = (axes.get_legend_handles_labels() for axes in (left, right))
        legend(figure, handles + others[0], names + others[1])
        seeds = max(contrasts["n_seeds"])
        intervals = "One seed: no interval over seeds."
        if seeds > 1:
            intervals = f"95 % t intervals over {seeds:g} seeds."
        gaps = f"{missing(contrasts, 'estimate', names=line)} "
        gaps += missing(own, "estimate", names="which")
        note = f"{intervals} Exact Bayes expects no difference between the orders. {gaps}".strip()
        height = max(1.5, 0.2 + 0.12 * len(series) * len(orders))
        return finish(figure, note, height=height, title=title)
