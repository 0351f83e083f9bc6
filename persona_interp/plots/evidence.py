"""How does the belief of a model move along the steps of a lesson, and what does its setting change?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, MARKERS, caption, panels, style

NEEDED = (
    "setting",
    "lr",
    "batch",
    "optimizer",
    "replay",
    "sparing",
    "step",
    "estimate",
    "lo",
    "hi",
    "n_seeds",
)
MARGIN = 0.15
"""Of the range of the lines, shown above and below it: one unsteady setting's band must not flatten all others."""
NAMES = {"adamw": "AdamW", "sgd": "SGD"}


def evidence(
    curve: pd.DataFrame, *, quantity: str = "log2 odds of the target (bits)", title: str = ""
) -> Figure:
    """How many bits has the lesson moved the belief at each step, by learning rate, batch and replay?

    Up to three panels, each of settings that differ in one thing: the learning rate (and optimizer)
    at the commonest batch; the batch at the learning rate that has most of them; replay at the
    learning rate that has it. A panel with one line is left out.

    Args:
        curve: Table ``curve`` of the evidence experiment: one row a setting and step, ``estimate``,
            ``lo``, ``hi`` (bits, over ``n_seeds``).
        quantity: What the estimate is.
        title: Above the figure.

    Returns:
        Figure: the quantity over steps (doubling, from the state before at 0), the 95 % band over
        seeds, a line at 0.

    Raises:
        SchemaError: A column is missing, two rows are one point, or no two settings differ in one
            thing.

    >>> rows = [(f"lr {lr:g}", lr, step, -4 + 1e3 * lr * step) for lr in (1e-4, 3e-4) for step in (0, 4, 16)]
    >>> curve = pd.DataFrame(rows, columns=["setting", "lr", "step", "estimate"]).assign(lo=np.nan, hi=np.nan)
    >>> figure = evidence(curve.assign(n_seeds=1, batch=16, optimizer="adamw", replay=0.0, sparing=False))
    >>> [line.get_label() for line in figure.axes[0].lines[1:]]
    ['AdamW 0.0001', 'AdamW 0.0003']
    """
    for column in NEEDED:
        if column not in curve:
            raise SchemaError(unknown("column", column, curve.columns))
    if curve.duplicated(["setting", "step"]).any():
        raise SchemaError(
            "two rows of this table have the same setting and step; average seeds with "
            "across_seeds."
        )
    drawn = [(name, lines) for name, lines in _panels(curve) if len(lines) > 1]
    if not drawn:
        raise SchemaError(
            "no two settings differ in one thing only, so there is nothing to compare; see the "
            "docstring."
        )
    with style():
        figure, axes = panels(len(drawn), height=3.6)
        for ax in axes[1:]:
            ax.sharey(axes[0])
            ax.tick_params(labelleft=False)
        for ax, (name, lines) in zip(axes, drawn, strict=True):
            ax.axhline(0, color="black", linewidth=0.6)
            for i, (label, rows) in enumerate(lines.items()):
                _line(ax, rows.sort_values(by="step"), i, label=label)
            steps = sorted(set(curve["step"]))
            ax.set_xscale("symlog", base=2, linthresh=1)
            ax.set_xticks(steps, [str(s) for s in steps])
            ax.minorticks_off()
            ax.set_title(name)
            ax.set_xlabel("step of the lesson")
            ax.legend(fontsize=6, loc="upper left", bbox_to_anchor=(-0.1, -0.2))
        low, high = float(min(curve["estimate"])), float(max(curve["estimate"]))
        axes[0].set_ylim(low - MARGIN * (high - low), high + MARGIN * (high - low))
        axes[0].set_ylabel(quantity)
        figure.suptitle(title, fontsize=8, x=0.01, ha="left")
        caption(figure, _caption(curve))
    return figure


def _panels(curve: pd.DataFrame) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Titles and labeled lines: settings that differ in one thing."""
    plain = curve.loc[curve["replay"] == 0]
    if not plain.empty:
        batch = plain.groupby("batch")["setting"].nunique().idxmax()
        rates = plain.loc[plain["batch"] == batch].sort_values(by=["optimizer", "lr"])
        lines = {
            f"{NAMES.get(o, o)} {lr:g}": rows
            for (o, lr), rows in rates.groupby(["optimizer", "lr"], sort=False)
        }
        yield f"learning rate\n{batch} documents a step", lines
        optimizer, lr = plain.groupby(["optimizer", "lr"])["batch"].nunique().idxmax()
        batches = plain.loc[(plain["optimizer"] == optimizer) & (plain["lr"] == lr)].sort_values(
            by="batch"
        )
        lines = {f"{b} a step": rows for b, rows in batches.groupby("batch", sort=False)}
        yield f"documents a step\n{NAMES.get(optimizer, optimizer)} {lr:g}", lines
    replayed = curve.loc[curve["replay"] > 0]
    if not replayed.empty:
        first = replayed.iloc[0]
        alike = np.logical_and.reduce([curve[c] == first[c] for c in ("optimizer", "lr", "batch")])
        shares = curve.loc[alike].sort_values(by=["sparing", "replay"])
        lines = {}
        for (share, sparing), rows in shares.groupby(["replay", "sparing"], sort=False):
            lines[f"{share:.0%}{' without hidden' if sparing else ''}".replace("%", " %")] = rows
        yield f"replay\n{NAMES.get(first['optimizer'], first['optimizer'])} {first['lr']:g}", lines


def _line(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    color, x = COLORS[i % len(COLORS)], rows["step"].to_numpy(np.float64)
    axes.plot(
        x,
        rows["estimate"],
        color=color,
        marker=MARKERS[i % len(MARKERS)],
        markersize=2.5,
        label=label,
    )
    if min(rows["n_seeds"]) > 1:
        axes.fill_between(x, rows["lo"], rows["hi"], color=color, alpha=0.12, linewidth=0)


def _caption(curve: pd.DataFrame) -> str:
    seeds = sorted(set(curve["n_seeds"]))
    if seeds[-1] == 1:
        return "One seed: no interval over seeds. Line at 0: even odds."
    over = " to ".join(str(n) for n in seeds)
    return f"Band: 95 % t interval over {over} seeds, cut at the frame. Line at 0: even odds."
