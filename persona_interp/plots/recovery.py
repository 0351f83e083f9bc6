"""Which method finds planted features, and what became of them?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, span
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLOR_BAR, panels, style
from persona_interp.schema import require

MEASURES = {
    "recovered": "recovered",
    "status right": "status right",
    "birth within 1": "birth within 1",
    "artifact not born or dead": "artifacts not born or dead",
    "sign right": "sign right",
    "false discovery": "false discovery (0 is best)",
}
"""Columns of the benchmark's table that are shares, and what they are called."""


def recovery(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw what each method recovers of planted features.

    Args:
        table: Rows as ``benchmarks/recovery.py`` writes them, of one condition: ``method``,
            ``seed``, ``recovered``, and the other measures.
        title: Above the figure.

    Returns:
        Figure: methods downwards, measures to the right, the mean over seeds in each cell (share of
        planted features; of false discovery, of claims).

    Raises:
        SchemaError: A column is missing, several conditions, or two rows of a method and seed.

    >>> rows = [{"method": "PCA", "seed": 0, "recovered": 0.0}, {"method": "SAE", "seed": 0}]
    >>> figure = recovery(pd.DataFrame(rows).fillna({"recovered": 0.84}))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.00', '0.84']
    """
    require(table, "method", "seed", "recovered")
    conditions = distinct(table["condition"]) if "condition" in table else []
    if len(conditions) > 1:
        names = ", ".join(map(str, conditions))
        raise SchemaError(f"this table has several conditions ({names}); select one.")
    if np.any(table.duplicated(["method", "seed"])):
        raise SchemaError("two rows are of one method and seed; keep one run of each.")
    measures = [name for name in MEASURES if name in table]
    methods = distinct(table["method"])
    # a mean that leaves out seeds without a value would be another mean
    means = table.groupby("method", sort=False)[measures].agg(lambda own: own.mean(skipna=False))
    values = means.loc[methods].to_numpy(np.float64)
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
