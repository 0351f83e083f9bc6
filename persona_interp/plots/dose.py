"""How does a model follow the ratio in its documents, and from which on is a persona reliable?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import COLORS, ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import Unit

DASHED = {"linewidth": 0.9, "linestyle": (0, (4, 2))}
MOST = 8
"""Doses up to which each has its tick."""


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
    """Draw the contrast beside exact Bayes, and a persona's probability, over the dose.

    Args:
        contrasts: One row a line and dose: ``dose`` (log2 ratio), ``estimate`` (bits), ``lo``,
            ``hi`` over seeds (NaN for one), ``bayes`` (bits, what exact Bayes expects there).
        probabilities: One row a dose: ``dose``, ``estimate`` (fraction), ``lo``, ``hi``.
        curve: A curves table: the fitted curve through these probabilities.
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

    >>> points = pd.DataFrame({"dose": [-2, 0, 2], "when": "after", "estimate": [0.1, 0.5, 0.8]})
    >>> points = points.assign(lo=0.0, hi=1.0)
    >>> fitted = points.assign(predicted_lo=0.0, predicted_hi=1.0, n_new=3, n_seeds=3)
    >>> figure = dose(points.assign(bayes=points["dose"]), points, curve=fitted, level=0.73)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['contrast (bits)', "probability of first's values"]
    """
    require_rows(contrasts, "dose", line, "estimate", "lo", "hi", "bayes")
    require_rows(probabilities, "dose", "estimate", "lo", "hi")
    schema.check(curve, "curves")
    with style():
        figure, (left, right) = panels(2)
        left.axhline(0, **ZERO)
        for i, name in enumerate(distinct(contrasts[line])):
            rows = contrasts.loc[contrasts[line] == name].sort_values("dose")
            _points(left, rows, i, label=str(name))
            left.plot(rows["dose"], rows["estimate"], color=nth_color(i), linewidth=1)
            left.plot(rows["dose"], rows["bayes"], color=nth_color(i), **DASHED)
        left.set_ylabel(f"contrast ({Unit.BITS})")
        right.axhline(level, linestyle=(0, (1, 1.5)), **ZERO)
        fitted = curve.sort_values("dose")
        x, band = fitted["dose"], {"color": COLORS[2], "linewidth": 0}
        right.fill_between(x, fitted["predicted_lo"], fitted["predicted_hi"], alpha=0.12, **band)
        right.fill_between(x, fitted["lo"], fitted["hi"], alpha=0.25, **band)
        right.plot(fitted["dose"], fitted["estimate"], color=COLORS[2], linewidth=1.2)
        _points(right, probabilities, 2, label="measured")
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel(f"probability of {pair[0]}'s values")
        doses = sorted({*contrasts["dose"], *probabilities["dose"]})
        ticks = doses[:: 1 + len(set(contrasts["dose"])) // MOST]
        for axes in (left, right):
            axes.set_xlabel(f"written about {pair[0]} : {pair[1]}")
            axes.set_xticks(ticks, [ratio(float(tick)) for tick in ticks])
        legend(figure, *left.get_legend_handles_labels())
        gaps = missing(contrasts, "estimate", "bayes", names=line)
        gaps = f"{gaps} {missing(probabilities, 'estimate', names='dose')}".strip()
        return finish(figure, f"{_note(curve, level)} {gaps}".strip(), height=1.9, title=title)


def ratio(dose: float) -> str:
    """Ratio that a dose stands for, in words.

    Args:
        dose: log2 of first : second.

    Returns:
        A ratio with a 1 on one side.

    >>> ratio(4.0), ratio(-6.0), ratio(0.5)
    ('16:1', '1:64', '1.4:1')
    """
    if dose >= 0:
        return f"{2**dose:.2g}:1"
    return f"1:{2**-dose:.2g}"


def _points(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    x, color = rows["dose"], nth_color(i)
    axes.vlines(x, rows["lo"], rows["hi"], color=color, linewidth=0.8)
    axes.scatter(
        x, rows["estimate"], s=14, color=color, marker=nth_marker(i), zorder=3, label=label
    )


def _note(curve: pd.DataFrame, level: float) -> str:
    seeds, new = max(curve["n_seeds"]), max(curve["n_new"])
    intervals = "One seed: no interval over seeds."
    if seeds > 1:
        intervals = (
            f"95 % t intervals over {seeds:g} seeds; light: 95 % prediction interval of the mean "
            f"of {new:g} new seeds."
        )
    return f"{intervals} Dashed: exact Bayes. Dotted: {level:.2f} counts as reliable."
