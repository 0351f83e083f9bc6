"""Who is summoned, and which law says so best?"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import COLORS, GRAY, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.cells import check_numbers

FLOOR = 0.005  # smallest share that is drawn; what is below sits there


def summon(summoned: pd.DataFrame, rivals: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw each candidate's share by distance and measure, and how far off each law is.

    Args:
        summoned: A summoned table: ``share``, ``measure``, ``distance``, one row a seed, start and
            candidate.
        rivals: From ``analysis.summon_rivals``, one kind of lessons left out: ``law``, ``bits``,
            ``estimate``, ``lo``, ``hi``.
        title: Above the figure.

    Returns:
        Figure: left the shares (log scale) over distance, a color a measure, a marker a candidate's
        lesson, a line the mean; right the divergence of each law's prediction (bits a lesson), with
        the interval of its difference to the two-factor law.

    Raises:
        SchemaError: A column is missing, or the rivals leave out several kinds of lessons.

    >>> rows = pd.DataFrame({"share": [0.8, 0.2], "measure": [0.2, 0.1], "distance": [0, 2]})
    >>> law = {"law": "uniform", "bits": 1.0, "estimate": 0.5, "lo": 0.2, "hi": 0.8, "n": 12}
    >>> laws = pd.DataFrame([law | {"left_out": "start", "unit": "seeds", "n_units": 3}])
    >>> len(summon(rows, laws).axes)
    2
    """
    require_rows(summoned, "share", "measure", "distance")
    check_numbers(summoned, ["measure"])
    require_rows(rivals, "law", "bits", "lo", "hi", "unit")
    if rivals["law"].duplicated().any():
        raise SchemaError(
            "two rows of these rivals are one law; select one kind of lessons left out."
        )
    with style():
        figure, (left, right) = panels(2)
        _shares(left, summoned)
        _laws(right, rivals)
        legend(figure, *left.get_legend_handles_labels())
        height = max(1.6, 0.2 + 0.19 * len(rivals))
        return finish(figure, _note(summoned, rivals), height=height, title=title)


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    measures = table["measure"].round(6)
    masses = sorted(measures.unique(), reverse=True)
    for i, mass in enumerate(masses):
        rows = table.loc[measures == mass]
        x = rows["distance"].to_numpy(np.float64) + 0.25 * (i - (len(masses) - 1) / 2)
        y = np.maximum(rows["share"].to_numpy(np.float64), FLOOR)
        color = nth_color(i)
        axes.plot(x, y, nth_marker(i), color=color, markersize=3, alpha=0.5, linestyle="none")
        mean = rows.groupby("distance")["share"].mean()
        x, y = mean.index.to_numpy(), np.maximum(mean.to_numpy(), FLOOR)
        axes.plot(x, y, color=color, label=f"{100 * mass:.1f} % of documents")
    axes.set_yscale("log")
    _plain(axes.yaxis, [FLOOR, 0.02, 0.1, 0.5])
    axes.set_xlabel("distance from the start\n(topics)")
    axes.set_ylabel("share of the candidate")
    axes.set_xticks(sorted(table["distance"].unique()))


def _laws(axes: Axes, table: pd.DataFrame) -> None:
    rows = table.sort_values("bits", ascending=False, ignore_index=True)
    y = np.arange(len(rows))
    best = rows["bits"] - rows["estimate"]  # of the two-factor law
    for i, (law, lo, hi) in enumerate(zip(best, rows["lo"], rows["hi"], strict=True)):
        axes.plot([law + lo, law + hi], [i, i], color=GRAY, linewidth=1)
    axes.plot(rows["bits"], y, "o", color="black", markersize=4)
    axes.axvline(best.iloc[0], color=COLORS[0], linewidth=1, linestyle="--")
    axes.set_yticks(y, rows["law"].tolist())
    axes.set_xlabel("held-out divergence\n(bits a lesson)")
    axes.set_xscale("symlog", linthresh=1)
    _plain(axes.xaxis, [0.0, 0.5, 1.0, 5.0])
    axes.set_xlim(left=0)


def _plain(axis: Axis, ticks: list[float]) -> None:
    """Write numbers as people do on an axis that is not linear."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _note(summoned: pd.DataFrame, rivals: pd.DataFrame) -> str:
    first = rivals.iloc[0]
    return (
        f"Left: share of each candidate after the lesson ({len(summoned)} shares; line: mean; "
        f"below {FLOOR:g} drawn there). Right: lessons left out by {first['left_out']}, n = "
        f"{first['n']}; bar: 95 % interval of the difference to the two-factor law (t over "
        f"{first['n_units']} {first['unit']}). {missing(summoned, 'share', names='measure')} "
        f"{missing(rivals, 'bits', names='law')}"
    )
