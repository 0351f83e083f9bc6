"""Does the dictionary still describe each checkpoint?"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import COLORS, GRAY, label_rows, panels, style
from persona_interp.schema.words import Fit, Place

FILLED = {str(Place.TEXTS): True, str(Place.PROMPTS): False}
"""Points on whole texts are filled, those at prompts are rings."""
FIT_COLORS: dict[str, str] = {Fit.FITS: COLORS[2], Fit.DOUBTFUL: COLORS[4], Fit.UNUSABLE: COLORS[1]}
PANELS = {"fvu": "FVU (fraction)", "ce_recovered": "CE recovered (fraction)"}
LABEL = re.compile(r"(.*)@(\d{1,9})")
"""A checkpoint of a training, as ``models.Checkpoint`` labels it; a revision has more digits."""


def fidelity(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how well a dictionary describes each checkpoint.

    Args:
        table: A fidelity table, checkpoints in the order to be drawn.
        title: Above the figure.

    Returns:
        Figure: a row a checkpoint, FVU (0 = perfect, 1 = the mean) and recovered cross-entropy, CE
        (1 = all), colored by verdict; rings: at the prompts that features are read on. A line joins
        checkpoints of one training ("lesson@8", "lesson@40"); models without a step have none.

    Raises:
        SchemaError: Not a fidelity table.

    >>> table = pd.DataFrame({column: [0.5] for column in schema.TABLES["fidelity"]})
    >>> table = table.assign(checkpoint="base@0", verdict="fits", where=str(Place.TEXTS))
    >>> fidelity(table).axes[0].get_xlabel()
    'FVU (fraction)'
    """
    schema.check(table, "fidelity")
    labels = distinct(table["checkpoint"].astype(str))
    table = table.assign(y=[labels.index(str(label)) for label in table["checkpoint"]])
    with style():
        figure, axes = panels(2)
        for ax, (column, name) in zip(axes, PANELS.items(), strict=True):
            for _, rows in table.groupby("where", sort=False):
                for training in _trainings(rows):
                    line = {"color": GRAY, "linewidth": 0.8, "zorder": 1}
                    ax.plot(training[column], training["y"], "-", **line)
            _points(ax, table, column)
            label_rows(ax, labels if ax is axes[0] else [""] * len(labels))
            ax.set_xlabel(name)
            largest = float(np.nanmax([1.0, *table[column]]))
            ax.set_xlim(min(0.0, float(np.nanmin([0.0, *table[column]]))) - 0.03, 1.05 * largest)
        legend(figure, *axes[0].get_legend_handles_labels())
        note = " ".join(filter(None, [_note(table), missing(table, *PANELS, names="checkpoint")]))
        return finish(figure, note, height=0.3 + 0.19 * len(labels), title=title)


def _trainings(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows of each training that has two checkpoints or more, in order of step."""
    matches = [LABEL.fullmatch(str(label)) for label in rows["checkpoint"]]
    stage = [match[1] if match else None for match in matches]
    step = [int(match[2]) if match else 0 for match in matches]
    for _, training in rows.assign(stage=stage, at=step).groupby("stage", sort=False):
        if len(training) > 1:
            yield training.sort_values("at")


def _points(axes: Axes, table: pd.DataFrame, column: str) -> None:
    both = len(set(table["where"])) > 1
    for _, rows in table.groupby(["where", "verdict"], sort=False):
        where, verdict = map(str, rows[["where", "verdict"]].iloc[0])
        color = FIT_COLORS.get(verdict, GRAY)
        face = color if FILLED[where] else "white"
        label = f"{verdict}, {where}" if both else verdict
        look: dict[str, Any] = {"facecolor": face, "edgecolor": color, "s": 18, "zorder": 2}
        axes.scatter(rows[column], rows["y"], label=label, **look)


def _note(table: pd.DataFrame) -> str:
    texts = table.loc[table["where"] == Place.TEXTS]
    prompts = table.loc[table["where"] == Place.PROMPTS]
    parts = []
    if len(texts):
        tokens, dead = min(texts["n_tokens"]), max(texts["dead"])
        parts.append(
            f"At least {tokens:,} held-out tokens a checkpoint; dead features at most {dead:.1%}."
        )
    if len(prompts):
        parts.append(f"Rings: the last tokens of {max(prompts['n_tokens']):,} prompts read.")
    return " ".join(parts)
