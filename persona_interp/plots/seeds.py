"""Does every seed say so? One point a seed, the mean with its interval, and the null beside."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import COLORS, GRAY, ZERO, label_rows, panels, style
from persona_interp.schema import require_rows


def seeds(
    summary: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    unit: str,
    by: str = "name",
    each: str = "seed",
    title: str = "",
) -> Figure:
    """Draw numbers with one point a seed, their mean over seeds and its interval.

    Args:
        summary: One row a number: the column ``by`` names it, ``estimate``, ``lo``, ``hi`` over
            seeds, ``n_seeds``, and ``null`` where it has one.
        runs: The same before averaging: ``by``, ``seed``, ``estimate``, and ``null``.
        unit: What the numbers are, for the axis.
        by: Column that names them.
        each: What a ring is, where the numbers are not averaged over seeds: "trait".
        title: Above the figure.

    Returns:
        Figure: a row a number, rings for its seeds; where there is a null a cross for its mean, and
        small crosses for its seeds.

    Raises:
        SchemaError: A column is missing, or two rows of the summary have one name.

    >>> runs = pd.DataFrame({"name": "creates", "seed": [0, 1], "estimate": [0.0, 0.5]})
    >>> row = {"name": "creates", "estimate": 0.25, "lo": -1.0, "hi": 1.5, "n_seeds": 2}
    >>> seeds(pd.DataFrame([row]), runs, unit="share").axes[0].get_xlabel()
    'share'
    """
    require_rows(summary, by, "estimate", "lo", "hi", "n_seeds")
    require_rows(runs, by, "seed", "estimate")
    if summary[by].duplicated().any():
        raise SchemaError(f"two rows of this summary have the same {by}; select one of each.")
    names = distinct(summary[by].astype(str))
    y = np.arange(len(names))
    own = [names.index(str(name)) for name in runs[by] if str(name) in names]
    rows = runs.loc[runs[by].astype(str).isin(names)]
    with style():
        figure, (axes,) = panels()
        axes.axvline(0, **ZERO)
        ring = {"facecolors": "none", "edgecolors": GRAY, "s": 12, "zorder": 2}
        axes.scatter(rows["estimate"], own, label=f"one {each}", **ring)
        axes.hlines(y, summary["lo"], summary["hi"], color=COLORS[0], linewidth=1.2)
        axes.scatter(summary["estimate"], y, color=COLORS[0], s=22, zorder=3, label="mean, 95 %")
        if "null" in summary:
            cross = {"marker": "x", "color": COLORS[1], "linewidth": 1}
            axes.scatter(summary["null"], y + 0.28, s=20, label="its null", **cross)
            if "null" in rows:
                axes.scatter(rows["null"], np.array(own) + 0.28, s=5, alpha=0.6, **cross)
        label_rows(axes, names)
        axes.set_xlabel(unit)
        legend(figure, *axes.get_legend_handles_labels())
        note = f"95 % t interval over {span(summary['n_seeds'])} {each}s."
        note = " ".join(filter(None, [note, missing(summary, "estimate", names=by)]))
        return finish(figure, note, height=0.3 + 0.24 * len(names), title=title)
