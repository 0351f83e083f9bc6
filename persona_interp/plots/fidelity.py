"""Does the dictionary still describe each checkpoint?"""

import pandas as pd
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.style import COLORS, GRAY, caption, panels, style
from persona_interp.schema.words import Fit, Place

LINES = {str(Place.TEXTS): "-", str(Place.PROMPTS): "--"}
FIT_COLORS: dict[str, str] = {Fit.FITS: COLORS[2], Fit.DOUBTFUL: COLORS[4], Fit.UNUSABLE: COLORS[1]}


def fidelity(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how well a dictionary describes each checkpoint.

    Args:
        table: A fidelity table, checkpoints in the order to be drawn.
        title: Above the figure.

    Returns:
        Figure: FVU (0 = perfect, 1 = the mean) and recovered cross-entropy, CE (1 = all), by
        checkpoint, colored by verdict; dashed: at the prompts that features are read on.

    Raises:
        SchemaError: Not a fidelity table.

    >>> table = pd.DataFrame({column: [0.5] for column in schema.TABLES["fidelity"]})
    >>> table = table.assign(checkpoint="base@0", verdict="fits", where=str(Place.TEXTS))
    >>> fidelity(table).axes[0].get_ylabel()
    'FVU (fraction)'
    """
    schema.check(table, "fidelity")
    labels = list(dict.fromkeys(table["checkpoint"].astype(str)))
    table = table.assign(x=[labels.index(str(label)) for label in table["checkpoint"]])
    with style():
        figure, axes = panels(2, height=2.2)
        names = {"fvu": "FVU", "ce_recovered": "CE recovered"}
        for ax, (column, name) in zip(axes, names.items(), strict=True):
            for where, rows in table.groupby("where", sort=False):
                line = LINES[str(where)]
                label = str(where) if len(set(table["where"])) > 1 else None
                ax.plot(
                    rows["x"], rows[column], line, color=GRAY, linewidth=0.8, zorder=1, label=label
                )
            for verdict, rows in table.groupby("verdict", sort=False):
                label = str(verdict)
                color = FIT_COLORS.get(label, GRAY)
                ax.scatter(rows["x"], rows[column], s=18, color=color, label=label, zorder=2)
            ax.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
            ax.set_ylabel(f"{name} (fraction)")
            ax.set_ylim(0, max(1.0, 1.05 * max(table[column])))
            ax.margins(x=0.08)
        axes[0].set_title(title)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
        caption(figure, _caption(table))
    return figure


def _caption(table: pd.DataFrame) -> str:
    texts = table.loc[table["where"] == Place.TEXTS]
    prompts = table.loc[table["where"] == Place.PROMPTS]
    parts = []
    if len(texts):
        tokens, dead = min(texts["n_tokens"]), max(texts["dead"])
        parts.append(
            f"At least {tokens:,} held-out tokens a checkpoint; dead features at most {dead:.1%}."
        )
    if len(prompts):
        parts.append(f"Dashed: the last tokens of {max(prompts['n_tokens']):,} prompts read.")
    return " ".join(parts)
