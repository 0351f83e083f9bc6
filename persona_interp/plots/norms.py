"""How much of each feature is there at each checkpoint, and what do its decoders say?"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows

MOST = 6
"""Features drawn in one figure."""
COLUMNS = ("feature", "checkpoint", "norm", "beta_error", "error_lo", "error_hi")


def norms(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw decoder norms over checkpoints, beside what the residuals hold of each feature.

    Args:
        table: Rows of ``analysis.latent_scaling`` of one crosscoder, checkpoints in order.
        title: Above the figure.

    Returns:
        Figure: a line a feature, what the residuals hold of it at each checkpoint (beta of the
        error, with its 95 % interval over documents); rings: the norm of its decoder. Both are over
        its longest decoder. Features whose length varies most, where there are many.

    Raises:
        SchemaError: A column is missing, or two rows are one feature and checkpoint.

    >>> row = {"feature": 3, "norm": 2.0, "beta_error": 0.5, "error_lo": 0.25, "error_hi": 0.75}
    >>> table = pd.DataFrame([row | {"checkpoint": "base"}, row | {"checkpoint": "tuned"}])
    >>> norms(table).axes[0].lines[-1].get_ydata().tolist()
    [0.5, 0.5]
    """
    require_rows(table, *COLUMNS)
    if table.duplicated(["feature", "checkpoint"]).any():
        raise SchemaError(
            "two rows of this table are of one feature and checkpoint; select one life and seed."
        )
    checkpoints = distinct(table["checkpoint"])
    longest = table.groupby("feature", sort=False)["norm"].transform("max")
    with np.errstate(invalid="ignore", divide="ignore"):
        table = table.assign(ring=table["norm"] / longest)
    values: Any = table.groupby("feature", sort=False)["beta_error"]
    varies = values.max() - values.min()
    chosen = set(varies.sort_values(ascending=False, kind="stable").index[:MOST])
    features = [feature for feature in distinct(table["feature"]) if feature in chosen]
    with style():
        figure, (axes,) = panels()
        axes.axhline(0, **ZERO)
        for i, feature in enumerate(features):
            rows = table.loc[table["feature"] == feature]
            x = np.array([checkpoints.index(name) for name in rows["checkpoint"]], float)
            x += (i - (len(features) - 1) / 2) * 0.08
            color, marker = nth_color(i), nth_marker(i)
            axes.vlines(x, rows["error_lo"], rows["error_hi"], color=color, linewidth=0.8)
            axes.scatter(x, rows["ring"], s=26, facecolors="none", edgecolors=color, linewidth=0.6)
            look = {"color": color, "marker": marker, "markersize": 3, "linewidth": 1}
            axes.plot(x, rows["beta_error"], label=f"feature {feature}", **look)
        axes.set_xticks(range(len(checkpoints)), [str(name) for name in checkpoints])
        axes.set_ylabel("length (of the longest decoder)")
        legend(figure, *axes.get_legend_handles_labels())
        return finish(figure, _note(table, len(varies) - len(features)), height=2.3, title=title)


def _note(table: pd.DataFrame, n_hidden: int) -> str:
    parts = ["Line: in the residuals, 95 % interval over documents; rings: decoder norms."]
    if n_hidden:
        parts.append(f"Features that vary less, in the table: {n_hidden:,}.")
    parts.append(missing(table, "beta_error", names="feature"))
    return " ".join(filter(None, parts))
