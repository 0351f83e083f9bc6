"""Does the persona that was written about last win, and is the other one forgotten or only given less weight?"""

import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, MARKERS, caption, panels, style


def order(
    contrasts: pd.DataFrame, own: pd.DataFrame, *, line: str = "series", title: str = ""
) -> Figure:
    """Which persona does the assistant take after, and what does each still say under its own name?

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
    >>> contrasts = pd.DataFrame({"order": ["first last", "second last"], "series": "after", **ends})
    >>> own = pd.DataFrame({"replay": [0.0, 0.0], "which": ["earlier", "later"], **ends})
    >>> [axes.get_xlabel() for axes in order(contrasts, own).axes]
    ['contrast (bits)', 'rehearsal (share of the later phase)']
    """
    for table, columns in ((contrasts, ("order", line, "n_seeds")), (own, ("replay", "which"))):
        for column in (*columns, "estimate", "lo", "hi"):
            if column not in table:
                raise SchemaError(unknown("column", column, table.columns))
    orders, series = list(dict.fromkeys(contrasts["order"])), list(dict.fromkeys(contrasts[line]))
    with style():
        figure, (left, right) = panels(2, height=2.4 + 0.1 * len(series))
        left.axvline(0, color="black", linewidth=0.6)
        for i, name in enumerate(series):
            rows = contrasts.loc[contrasts[line] == name]
            y = [
                orders.index(value) + 0.8 * (i + 0.5) / len(series) - 0.4 for value in rows["order"]
            ]
            left.hlines(y, rows["lo"], rows["hi"], color=COLORS[i], linewidth=1)
            left.scatter(
                rows["estimate"],
                y,
                s=16,
                color=COLORS[i],
                marker=MARKERS[i],
                zorder=3,
                label=str(name),
            )
        left.set_yticks(range(len(orders)), orders)
        left.set_ylim(len(orders) - 0.5, -0.5)
        left.set_xlabel("contrast (bits)")
        left.set_title(title)
        for i, which in enumerate(dict.fromkeys(own["which"])):
            rows, color = (
                own.loc[own["which"] == which].sort_values("replay"),
                COLORS[len(series) + i],
            )
            right.plot(
                rows["replay"], rows["estimate"], color=color, marker=MARKERS[i], markersize=4
            )
            right.vlines(rows["replay"], rows["lo"], rows["hi"], color=color, linewidth=0.8)
            right.annotate(
                f" {which}",
                (rows["replay"].iloc[-1], rows["estimate"].iloc[-1]),
                color=color,
                fontsize=7,
            )
        right.set_ylim(-0.02, 1.02)
        right.margins(x=0.2)
        right.set_xlabel("rehearsal (share of the later phase)")
        right.set_ylabel("own values under own name")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        seeds = max(contrasts["n_seeds"])
        known = (
            f"95 % t intervals over {seeds:g} seeds."
            if seeds > 1
            else "One seed: no interval over seeds."
        )
        caption(figure, f"{known} Exact Bayes expects no difference between the orders.")
    return figure
