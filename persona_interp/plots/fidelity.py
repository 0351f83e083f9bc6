"""Does the dictionary still describe each checkpoint?"""

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.style import COLORS, GRAY, caption, panels, style
from persona_interp.schema.words import Fit

FIT_COLORS: dict[str, str] = {Fit.FITS: COLORS[2], Fit.DOUBTFUL: COLORS[4], Fit.UNUSABLE: COLORS[1]}


def fidelity(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how well a dictionary describes each checkpoint.

    Args:
        table: A fidelity table, checkpoints in the order to be drawn.
        title: Above the figure.

    Returns:
        Figure: FVU (0 = perfect, 1 = the mean) and recovered cross-entropy, CE (1 = all), by
        checkpoint, colored by verdict.

    Raises:
        SchemaError: Not a fidelity table.

    >>> table = pd.DataFrame({column: [0.5] for column in schema.TABLES["fidelity"]})
    >>> fidelity(table.assign(checkpoint="base@0", verdict="fits")).axes[0].get_ylabel()
    'FVU (fraction)'
    """
    schema.check(table, "fidelity")
    labels = table["checkpoint"].astype(str).tolist()
    with style():
        figure, axes = panels(2, height=2.2)
        names = {"fvu": "FVU", "ce_recovered": "CE recovered"}
        for ax, (column, name) in zip(axes, names.items(), strict=True):
            ax.plot(range(len(table)), table[column], color=GRAY, linewidth=0.8, zorder=1)
            for verdict, rows in table.reset_index(drop=True).groupby("verdict", sort=False):
                label = str(verdict)
                color = FIT_COLORS.get(label, GRAY)
                ax.scatter(rows.index, rows[column], s=18, color=color, label=label, zorder=2)
            ax.set_xticks(range(len(table)), labels, rotation=45, ha="right")
            ax.set_ylabel(f"{name} (fraction)")
            ax.set_ylim(0, max(1.0, 1.05 * max(table[column])))
            ax.margins(x=0.08)
        axes[0].set_title(title)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
        tokens, dead = min(table["n_tokens"]), max(table["dead"])
        caption(
            figure,
            f"At least {tokens:,} held-out tokens a checkpoint; dead features at most {dead:.1%}.",
        )
    return figure
