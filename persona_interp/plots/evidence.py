"""How does a model's belief move along the steps of a lesson, and what does the setting change?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish
from persona_interp.plots.style import ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema import require_rows

COLUMNS = (
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
"""Of the range of the lines, shown around it: one unsteady band must not flatten the others."""
NAMES = {"adamw": "AdamW", "sgd": "SGD"}


def evidence(
    curve: pd.DataFrame, *, quantity: str = "log2 odds of the target (bits)", title: str = ""
) -> Figure:
    """Draw the belief over the steps of a lesson, by learning rate, batch and replay.

    Up to three panels, each of settings that differ in one thing: the learning rate (and optimizer)
    at the commonest batch; the batch at the learning rate that has most of them; replay at the
    learning rate that has it. A panel with one line is left out.

    Args:
        curve: Table ``curve`` of the evidence experiment: one row a setting and step, ``estimate``,
            ``lo``, ``hi`` (bits, over ``n_seeds``), and where there is one ``additive`` (bits: the
            learner to whom every step adds the same, read by the same reader).
        quantity: What the estimate is.
        title: Above the figure.

    Returns:
        Figure: the quantity over steps (doubling, from the state before at 0), the 95 % band over
        seeds, the additive learner dashed, a line at 0.

    Raises:
        SchemaError: A column is missing, two rows are one point, or no two settings differ in one
            thing.

    >>> rates = pd.DataFrame({"lr": [1e-4, 3e-4], "setting": ["slow", "fast"]})
    >>> curve = rates.merge(pd.DataFrame({"step": [0, 4, 16]}), how="cross")
    >>> curve = curve.assign(estimate=-4 + 1e3 * curve["lr"] * curve["step"], n_seeds=1, batch=16)
    >>> curve = curve.assign(lo=np.nan, hi=np.nan, optimizer="adamw", replay=0.0, sparing=False)
    >>> figure = evidence(curve)
    >>> [line.get_label() for line in figure.axes[0].lines[1:]]
    ['AdamW 0.0001', 'AdamW 0.0003']
    """
    require_rows(curve, *COLUMNS)
    if curve.duplicated(["setting", "step"]).any():
        raise SchemaError(
            "two rows of this table have the same setting and step; average seeds with "
            "across_seeds."
        )
    parts = [(name, lines) for name, lines in _panels(curve) if len(lines) > 1]
    if not parts:
        raise SchemaError(
            "no two settings differ in one thing only, so there is nothing to compare; see the "
            "docstring."
        )
    with style():
        figure, axes = panels(len(parts))
        for ax in axes[1:]:
            ax.sharey(axes[0])
            ax.tick_params(labelleft=False)
        for ax, (name, lines) in zip(axes, parts, strict=True):
            ax.axhline(0, **ZERO)
            for i, (label, rows) in enumerate(lines.items()):
                _line(ax, rows.sort_values(by="step"), i, label=label)
            steps = sorted(set(curve["step"]))
            ax.set_xscale("symlog", base=2, linthresh=1)
            ax.set_xticks(steps, [str(step) for step in steps])
            ax.minorticks_off()
            ax.set_title(name)
            ax.set_xlabel("step of the lesson")
            ax.legend(fontsize=6, loc="upper left", bbox_to_anchor=(-0.1, -0.2))
        low, high = float(np.nanmin(curve["estimate"])), float(np.nanmax(curve["estimate"]))
        room = MARGIN * ((high - low) or 1.0)
        axes[0].set_ylim(low - room, high + room)
        axes[0].set_ylabel(quantity)
        return finish(figure, _note(curve), height=1.9, title=title)


def _panels(curve: pd.DataFrame) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Yield titles and labeled lines: settings that differ in one thing."""
    plain = curve.loc[curve["replay"] == 0]
    if not plain.empty:
        batch = plain.groupby("batch")["setting"].nunique().idxmax()
        rates = plain.loc[plain["batch"] == batch].sort_values(by=["optimizer", "lr"])
        lines = {}
        for (optimizer, lr), rows in rates.groupby(["optimizer", "lr"], sort=False):
            lines[_rate(optimizer, lr)] = rows
        yield f"learning rate\n{batch} documents a step", lines
        optimizer, lr = plain.groupby(["optimizer", "lr"])["batch"].nunique().idxmax()
        same_rate = (plain["optimizer"] == optimizer) & (plain["lr"] == lr)
        batches = plain.loc[same_rate].sort_values(by="batch")
        lines = {f"{batch} a step": rows for batch, rows in batches.groupby("batch", sort=False)}
        yield f"documents a step\n{_rate(optimizer, lr)}", lines
    replayed = curve.loc[curve["replay"] > 0]
    if not replayed.empty:
        first = replayed.iloc[0]
        same = np.logical_and.reduce([curve[c] == first[c] for c in ("optimizer", "lr", "batch")])
        shares = curve.loc[same].sort_values(by=["sparing", "replay"])
        lines = {}
        for (share, sparing), rows in shares.groupby(["replay", "sparing"], sort=False):
            suffix = " without hidden" if sparing else ""
            lines[f"{share:.0%}{suffix}".replace("%", " %")] = rows
        yield f"replay\n{_rate(first['optimizer'], first['lr'])}", lines


def _rate(optimizer: str, lr: float) -> str:
    """Optimizer and learning rate, in words."""
    return f"{NAMES.get(optimizer, optimizer)} {lr:g}"


def _line(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    color, marker, x = nth_color(i), nth_marker(i), rows["step"].to_numpy(np.float64)
    axes.plot(x, rows["estimate"], color=color, marker=marker, markersize=2.5, label=label)
    if "additive" in rows:
        axes.plot(
            x, rows["additive"], color=color, linestyle="--", linewidth=0.8, label="_additive"
        )
    if min(rows["n_seeds"]) > 1:
        axes.fill_between(x, rows["lo"], rows["hi"], color=color, alpha=0.12, linewidth=0)


def _note(curve: pd.DataFrame) -> str:
    seeds = sorted(set(curve["n_seeds"]))
    if seeds[-1] == 1:
        text = "One seed: no interval over seeds."
    else:
        numbers = " to ".join(str(n) for n in seeds)
        text = f"Band: 95 % t interval over {numbers} seeds, cut at the frame."
    if "additive" in curve:
        text += " Dashed: a learner whose evidence adds up, read the same."
    gaps = missing(curve, "estimate", names="setting")
    return f"{text} Line at 0: even odds. {gaps}".strip()
