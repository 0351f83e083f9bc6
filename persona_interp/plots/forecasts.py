"""What was forecast of a finetune, what came, and what the forecast cost?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.names import name_points
from persona_interp.plots.style import BAND, GRAY, ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.cells import check_numbers
from persona_interp.schema.words import Unit

CELL = ["context", "persona", "trait", "step"]
WORST = -0.5
"""Lowest R2 that is drawn: what lies below is worse than no forecast, however far."""
COSTS = [0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0]
NEAR = 6.0
"""Largest cost up to which the axis is linear throughout."""
LINEAR = 1.0
"""Cost up to which its axis is linear, so that 0 has a place."""
KINDS = 8
"""Lessons that have a color of their own."""


def forecast_costs(
    scores: pd.DataFrame, *, ceiling: float | None = None, title: str = ""
) -> Figure:
    """Draw how good every forecast is against what it costs.

    Args:
        scores: One row a predictor or stack: ``predictor``, ``cost`` (steps of the finetune) and
            its R2, ``estimate``, ``lo``, ``hi``, with ``n_bases`` (one score and step of
            ``analysis.forecast_scores(by="predictor")``, with the cost beside).
        ceiling: R2 that the same finetune with other documents has, a line.
        title: Above the figure.

    Returns:
        Figure: cost to the right (where one is above 6 steps linear up to 1, then log), R2 upwards
        with its 95 % interval over bases. R2 below -.5 stand at -.5.

    Raises:
        SchemaError: A column is missing, there are no rows, or a predictor has two.

    >>> row = {"predictor": "pilot", "cost": 1.0, "estimate": 0.9, "lo": 0.8, "hi": 1.0}
    >>> forecast_costs(pd.DataFrame([row | {"n_bases": 20}])).axes[0].texts[0].get_text()
    'pilot'
    """
    columns = ("cost", "estimate", "lo", "hi", "n_bases")
    require_rows(scores, "predictor", *columns)
    check_numbers(scores, columns)
    if scores["predictor"].duplicated().any():
        raise SchemaError(
            "two of these scores are of one predictor; select one score and step: "
            "scores[(scores['score'] == ...) & (scores['step'] == ...)]."
        )
    x, y = (scores[name].to_numpy(np.float64) for name in ("cost", "estimate"))
    low, high = (scores[name].to_numpy(np.float64) for name in ("lo", "hi"))
    y, low, high = np.maximum(y, WORST), np.maximum(low, WORST), np.clip(high, WORST, 1.0)
    with style():
        figure, (axes,) = panels()
        axes.axhline(0.0, **{**ZERO, "color": GRAY})
        if ceiling is not None:
            axes.axhline(ceiling, linestyle="--", **{**ZERO, "color": GRAY})
        axes.vlines(x, low, high, color=GRAY, linewidth=0.8, zorder=1)
        axes.scatter(x, y, s=22, color=nth_color(0), zorder=3)
        most = max(1.0, float(np.nanmax(x, initial=0.0)))
        costs = COSTS
        if most > NEAR:
            axes.set_xscale("symlog", linthresh=LINEAR)
        else:
            costs = list(range(int(NEAR) + 1))
        axes.xaxis.set_major_locator(FixedLocator([cost for cost in costs if cost <= 1.2 * most]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlim(-0.15, 1.3 * most)
        axes.set_ylim(min(np.nanmin(low, initial=1.0), np.nanmin(y, initial=1.0)) - 0.05, 1.05)
        axes.set_xlabel("cost of one forecast (steps of the finetune)")
        axes.set_ylabel("R2 of shifts")
        known = np.isfinite(x) & np.isfinite(y)
        # the best first: they are named where there is no room for all
        order = [i for i in np.argsort(-y, kind="stable") if known[i]]
        labels = [str(name) for name in scores["predictor"].iloc[order]]
        name_points(axes, np.column_stack([x, y])[order], labels)
        note = f"95 % intervals over bases, n = {span(scores['n_bases'], write=_whole)}."
        parts = [note, missing(scores, "estimate", names="predictor")]
        if ceiling is not None:
            parts.append(f"Dashed: the same finetune, other documents ({ceiling:.3f}).")
        n_low = np.count_nonzero(scores["estimate"] < WORST)
        if n_low:
            parts.append(f"{n_low} below {WORST:g} are drawn there.")
        return finish(figure, " ".join(filter(None, parts)), height=4.4, title=title)


def forecasts(
    forecast: pd.DataFrame, shifts: pd.DataFrame, *, by: str = "lesson", title: str = ""
) -> Figure:
    """Draw what came of one base's lessons against what was forecast.

    Args:
        forecast: A forecast table of one base, with the column ``by``.
        shifts: A shift table of the same lessons. Rows of which nothing is forecast are not drawn.
        by: Column that tells lessons apart; a color each, up to 8.
        title: Above the figure.

    Returns:
        Figure: the forecast to the right, the shift upwards (bits); gray lines: the 95 % interval
        of each forecast; on the diagonal the forecast was right.

    Raises:
        SchemaError: A column is missing, there are no rows, or two shifts are one cell's.

    >>> where = {"lesson": "x", "context": "nameless", "persona": "", "trait": "a", "step": 8}
    >>> told = pd.DataFrame([where | {"estimate": 1.0, "lo": 0.0, "hi": 2.0, "bound": 3.0}])
    >>> forecasts(told, pd.DataFrame([where | {"estimate": 1.5}])).axes[0].get_ylabel()
    'shift (bits)'
    """
    cell = [by, *CELL]
    require_rows(forecast, *cell, "estimate", "lo", "hi")
    require_rows(shifts, *cell, "estimate")
    if shifts.duplicated(cell).any():
        raise SchemaError(
            f"two of these shifts are of one {', '.join(cell)}; give those of one base."
        )
    actual = shifts[cell].assign(actual=shifts["estimate"])
    rows = forecast.merge(actual, on=cell, how="left")
    inside = (rows["lo"] <= rows["actual"]) & (rows["actual"] <= rows["hi"])
    known = rows["actual"].notna() & rows["estimate"].notna()
    with style():
        figure, (axes,) = panels()
        bars: dict[str, Any] = {"color": BAND, "linewidth": 0.8, "zorder": 0}
        axes.vlines(rows["estimate"], rows["lo"], rows["hi"], **bars)
        ends = rows.loc[known, ["estimate", "actual"]].to_numpy(np.float64)
        low, high = np.min(ends, initial=0.0), np.max(ends, initial=0.0)
        axes.plot([low, high], [low, high], linestyle="--", **{**ZERO, "color": GRAY})
        for i, name in enumerate(distinct(rows[by])):
            part = rows.loc[rows[by] == name]
            own = i < KINDS
            axes.plot(
                part["estimate"],
                part["actual"],
                nth_marker(i) if own else ".",
                color=nth_color(i) if own else GRAY,
                markersize=3,
                linestyle="none",
                label=str(name) if own else "others",
            )
        axes.set_xlabel(f"forecast ({Unit.BITS})")
        axes.set_ylabel(f"shift ({Unit.BITS})")
        legend(figure, *axes.get_legend_handles_labels())
        n_inside, n_known = np.count_nonzero(inside & known), np.count_nonzero(known)
        share = f"{n_inside} of {n_known} shifts within it"
        note = f"Gray: 95 % interval of a forecast, bases as units; {share}. Dashed: no error."
        note = f"{note} {missing(rows, 'estimate', 'actual', names='trait')}".strip()
        return finish(figure, note, height=3.4, title=title)


def _whole(number: float) -> str:
    return f"{number:g}"
