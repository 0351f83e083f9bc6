"""Does the dictionary say more than simpler readouts do?"""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.style import COLORS, GRAY, WRAP, caption, panels, style

RANDOM = "random"
"""Method whose row is a band over random directions."""


def baselines(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Does the dictionary say more than simpler readouts: of who speaks, what the lesson moved, what causes it?

    Args:
        table: A baselines table, methods in the order to be drawn.
        title: Above the figure.

    Returns:
        Figure: AUROC on hidden documents, rise with the lesson beside the unrelated lesson's (sd),
        and share of the behavior's shift removed, each with its 95 % interval, by method; gray: the
        band of random directions.

    Raises:
        SchemaError: Not a baselines table.

    >>> table = pd.DataFrame({column: [0.75] for column in schema.TABLES["baselines"]})
    >>> figure = baselines(table.assign(method="mean difference", n_directions=1))
    >>> [axes.get_xlabel().split() for axes in figure.axes]
    [['AUROC,', 'hidden', 'documents'], ['rise', '(sd)'], ['share', 'removed', '(fraction)']]
    """
    schema.check(table, "baselines")
    bands, methods = table.loc[table["method"] == RANDOM], table.loc[table["method"] != RANDOM]
    y = np.arange(len(methods))
    with style():
        figure, axes = panels(3, height=1.2 + 0.24 * len(methods))
        for ax, column, zero, name in zip(
            axes,
            ("auroc", "rise", "share"),
            (0.5, 0.0, 0.0),
            ("AUROC,\nhidden documents", "rise\n(sd)", "share removed\n(fraction)"),
            strict=True,
        ):
            for _, band in bands.iterrows():
                if np.isfinite([band[f"{column}_lo"], band[f"{column}_hi"]]).all():
                    ax.axvspan(
                        band[f"{column}_lo"],
                        band[f"{column}_hi"],
                        color="#D8D8D8",
                        linewidth=0,
                        zorder=0,
                    )
            ax.axvline(zero, color="black", linewidth=0.6)
            if column == "rise":
                _points(ax, methods, "rise_control", y + 0.18, hollow=True)
            _points(ax, methods, column, y - 0.18 * (column == "rise"), hollow=False)
            ax.set_yticks(
                y,
                [fill(str(m), WRAP) for m in methods["method"]]
                if ax is axes[0]
                else [""] * len(methods),
            )
            ax.set_ylim(len(methods) - 0.4, -0.6)
            ax.set_xlabel(name)
            ax.margins(x=0.08)
        axes[0].set_title(title)
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper right", ncols=2)
        caption(figure, _caption(table, bands))
    return figure


def _points(axes: Axes, rows: pd.DataFrame, column: str, y: np.ndarray, *, hollow: bool) -> None:
    color = GRAY if hollow else COLORS[0]
    axes.hlines(y, rows[f"{column}_lo"], rows[f"{column}_hi"], color=color, linewidth=1.2)
    face = "white" if hollow else color
    label = "unrelated lesson" if hollow else "the lesson"
    marker = "s" if hollow else "o"
    axes.scatter(
        rows[column], y, s=16, marker=marker, facecolor=face, edgecolor=color, zorder=3, label=label
    )


def _caption(table: pd.DataFrame, bands: pd.DataFrame) -> str:
    behind = "".join(f" Gray: 95 % of {n:g} random directions." for n in bands["n_directions"])
    documents, prompts = max(table["n_documents"]), max(table["n_prompts"])
    return f"95 % intervals; {documents:,.0f} hidden test documents, {prompts:,.0f} neutral prompts.{behind}"
