"""How does a model follow the ratio in its documents, and from which ratio on does it say one persona's values?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, MARKERS, caption, panels, style


def dose(
    contrasts: pd.DataFrame,
    probabilities: pd.DataFrame,
    *,
    curve: pd.DataFrame,
    level: float,
    pair: tuple[str, str] = ("first", "second"),
    line: str = "when",
    title: str = "",
) -> Figure:
    """How steep is the contrast beside exact Bayes, and where is a persona's probability reliable?

    Args:
        contrasts: One row a line and dose: ``dose`` (log2 ratio), ``estimate`` (bits), ``lo``,
            ``hi`` over seeds (NaN for one), ``bayes`` (bits, what exact Bayes expects there).
        probabilities: One row a dose: ``dose``, ``estimate`` (fraction), ``lo``, ``hi``.
        curve: A predicted table: the fitted curve through these probabilities.
        level: Probability that counts as reliable.
        pair: Names of the two personas.
        line: Column that tells the lines of contrasts apart.
        title: Above the figure.

    Returns:
        Figure: contrast over the ratio, dashed in the color of its line what exact Bayes expects;
        and probability over the ratio with the fitted curve, its 95 % interval (dark) and its
        prediction interval (light).

    Raises:
        SchemaError: A column is missing, or the curve is no predicted table.

    >>> points = pd.DataFrame({"dose": [-2, 0, 2], "when": "after", "estimate": [0.1, 0.5, 0.8], "lo": 0.0, "hi": 1.0})
    >>> fitted = points.assign(predicted_lo=0.0, predicted_hi=1.0, n_new=3, n_seeds=3)
    >>> figure = dose(points.assign(bayes=points["dose"]), points, curve=fitted, level=0.73)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['contrast (bits)', "probability of first's values"]
    """
    _need(contrasts, "dose", line, "estimate", "lo", "hi", "bayes")
    _need(probabilities, "dose", "estimate", "lo", "hi")
    schema.check(curve, "curves")
    with style():
        figure, (left, right) = panels(2, height=2.7)
        left.axhline(0, color="black", linewidth=0.6)
        for i, name in enumerate(dict.fromkeys(contrasts[line])):
            rows = contrasts.loc[contrasts[line] == name].sort_values("dose")
            _points(left, rows, i, label=str(name))
            left.plot(rows["dose"], rows["estimate"], color=COLORS[i], linewidth=1)
            left.plot(
                rows["dose"], rows["bayes"], color=COLORS[i], linewidth=0.9, linestyle=(0, (4, 2))
            )
        left.set_ylabel("contrast (bits)")
        left.set_title(title)
        right.axhline(level, color="black", linewidth=0.6, linestyle=(0, (1, 1.5)))
        fitted = curve.sort_values("dose")
        for lo, hi, alpha in (("predicted_lo", "predicted_hi", 0.12), ("lo", "hi", 0.25)):
            right.fill_between(
                fitted["dose"], fitted[lo], fitted[hi], color=COLORS[2], alpha=alpha, linewidth=0
            )
        right.plot(fitted["dose"], fitted["estimate"], color=COLORS[2], linewidth=1.2)
        _points(right, probabilities, 2, label="measured")
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel(f"probability of {pair[0]}'s values")
        for axes in (left, right):
            axes.set_xlabel(f"written about {pair[0]} : {pair[1]}")
            ticks = sorted({*contrasts["dose"], *probabilities["dose"]})[
                :: 1 + len(set(contrasts["dose"])) // 8
            ]
            axes.set_xticks(ticks, [ratio(float(tick)) for tick in ticks])
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        caption(figure, _caption(curve, level))
    return figure


def ratio(dose: float) -> str:
    """How is this dose said?

    Args:
        dose: log2 of first : second.

    Returns:
        A ratio with a 1 on one side.

    >>> ratio(4.0), ratio(-6.0), ratio(0.5)
    ('16:1', '1:64', '1.4:1')
    """
    return f"{2**dose:.2g}:1" if dose >= 0 else f"1:{2**-dose:.2g}"


def _points(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    axes.vlines(rows["dose"], rows["lo"], rows["hi"], color=COLORS[i], linewidth=0.8)
    axes.scatter(
        rows["dose"],
        rows["estimate"],
        s=14,
        color=COLORS[i],
        marker=MARKERS[i],
        zorder=3,
        label=label,
    )


def _caption(curve: pd.DataFrame, level: float) -> str:
    seeds, new = max(curve["n_seeds"]), max(curve["n_new"])
    known = (
        f"95 % t intervals over {seeds:g} seeds; light: 95 % prediction interval of the mean of "
        f"{new:g} new seeds."
        if seeds > 1
        else "One seed: no interval over seeds."
    )
    return f"{known} Dashed: exact Bayes. Dotted: {level:.2f} counts as reliable."


def _need(table: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
