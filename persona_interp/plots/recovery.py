"""Which method finds planted features, and what became of them?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, span
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLOR_BAR, panels, style
from persona_interp.schema import require_rows

MEASURES = {
    "recovered": "recovered",
    "persona identified": "persona identified",
    "status right": "status right",
    "birth within 1": "birth within 1",
    "artifact not born or dead": "artifacts not born or dead",
    "sign right": "sign right",
    "false discovery": "false discovery (0 is best)",
}
"""Measures of the benchmark's table that are shares, and what they are called."""


def recovery(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw what each method recovers of planted features.

    Args:
        table: Rows as ``benchmarks/recovery.py`` writes them, of one condition: ``method``,
            ``seed``, ``measure`` and ``estimate``; measures that are no shares are left out.
        title: Above the figure.

    Returns:
        Figure: methods downwards, measures to the right, the mean over seeds in each cell (share of
        planted features; of false discovery, of claims).

    Raises:
        SchemaError: A column is missing, several conditions, no share among the measures, or two
            rows of one method, seed and measure.

    >>> table = pd.DataFrame({"method": ["PCA", "SAE"], "estimate": [0.0, 0.84]})
    >>> figure = recovery(table.assign(seed=0, measure="recovered"))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.00', '0.84']
    """
    require_rows(table, "method", "seed", "measure", "estimate")
    conditions = distinct(table["condition"]) if "condition" in table else []
    if len(conditions) > 1:
        names = ", ".join(map(str, conditions))
        raise SchemaError(f"this table has several conditions ({names}); select one.")
    table = table.loc[table["measure"].isin(MEASURES)]
    if table.empty:
        raise SchemaError(f"no measure is a share; those drawn are {', '.join(MEASURES)}.")
    if np.any(table.duplicated(["method", "seed", "measure"])):
        raise SchemaError("two rows are of one method, seed and measure; keep one run of each.")
    measures = [name for name in MEASURES if name in set(table["measure"])]
    methods = distinct(table["method"])
    wide = table.pivot(index=["method", "seed"], columns="measure", values="estimate")
    # a mean that leaves out seeds without a value would be another mean
    means = wide.groupby("method").agg(lambda own: own.mean(skipna=False))
    values = means.loc[methods, measures].to_numpy(np.float64)
    with style():
        figure, (axes,) = panels()
        image = cells(axes, values, limit=1.0, write="{:.2f}".format)
        axes.set_yticks(range(len(methods)), [str(name) for name in methods])
        axes.set_xticks(range(len(measures)), [MEASURES[name] for name in measures])
        image.set(clim=(0, 1), cmap="Blues")
        figure.colorbar(image, ax=axes, label="share", **COLOR_BAR)
        n = table.groupby("method", sort=False)["seed"].nunique()
        note = f"{NO_VALUE}, or the method says nothing of it. Seeds: {span(n)}."
        return finish(figure, note, height=max(0.2 * len(methods), 1.1), title=title)
