"""What differs from the base, beside control finetunes, random directions, and on whose words?"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import (
    BAND,
    GRAY,
    ZERO,
    label_rows,
    nth_color,
    nth_marker,
    panels,
    style,
)
from persona_interp.schema import require_rows
from persona_interp.schema.words import CLAIMS, Family, Role, Unit
from persona_interp.values import as_tuple

MOST = 30
"""Quantities drawn in one figure."""
PANELS = 4
RING: dict[str, Any] = {"facecolors": "none", "edgecolors": GRAY, "s": 10, "label": "controls"}


def forest(effects: pd.DataFrame, *, unit: str, title: str = "") -> Figure:
    """Draw the change of each quantity from the base, beside that of control finetunes.

    Args:
        effects: An effects table of one family and hook.
        unit: What the numbers are, for the axis.
        title: Above the figure.

    Returns:
        Figure: each finetune's change with its 95 % interval over questions, each control's change
        as a gray ring, and a gray bar where one more control would be (95 %); filled where a
        verdict was reached. Largest changes first.

    Raises:
        SchemaError: Not an effects table, or none of a finetune.

    >>> row = dict.fromkeys(schema.TABLES["effects"], 0.5)
    >>> row |= {"checkpoint": "a", "role": "tuned", "quantity": "wry"}
    >>> forest(pd.DataFrame([row]), unit="bits a token").axes[0].get_yticklabels()[0].get_text()
    'wry'
    """
    schema.check(effects, "effects")
    tuned = effects.loc[effects["role"] == Role.TUNED]
    controls = effects.loc[effects["role"] == Role.CONTROL]
    if tuned.empty:
        raise SchemaError("a forest shows finetunes; these effects are of controls alone.")
    ranking = _rank(tuned)
    names, labels = ranking[:MOST], distinct(tuned["checkpoint"])
    with style():
        figure, (axes,) = panels()
        axes.axvline(0, **ZERO)
        for k, label in enumerate(labels):
            rows = tuned.loc[tuned["checkpoint"] == label].set_index("quantity").loc[names]
            _changes(axes, rows, k, y=np.arange(len(names)) + _offset(k, len(labels)), label=label)
        rows = controls.loc[controls["quantity"].isin(names)]
        y = [names.index(name) for name in rows["quantity"]]
        axes.scatter(rows["estimate"], y, zorder=2, **RING)
        label_rows(axes, names)
        axes.set_xlabel(f"tuned minus base ({unit})")
        legend(figure, *axes.get_legend_handles_labels())
        note = _note(tuned, n_hidden=len(ranking) - len(names))
        height = 0.2 + max(0.16, 0.12 * len(labels)) * len(names)
        return finish(figure, note, height=height, title=title)


def _changes(axes: Axes, rows: pd.DataFrame, k: int, *, y: np.ndarray, label: str) -> None:
    """Changes of the k-th finetune with their intervals, before where one more control would be."""
    range_label = "" if k else "one more control, 95 %"  # once in the legend
    bar = {"color": BAND, "linewidth": 4, "zorder": 0}
    axes.hlines(y, rows["range_lo"], rows["range_hi"], label=range_label, **bar)
    color = nth_color(k)
    axes.hlines(y, rows["lo"], rows["hi"], color=color, linewidth=1)
    differs = rows["verdict"].isin(CLAIMS)
    axes.scatter(
        rows["estimate"],
        y,
        c=[color if filled else "white" for filled in differs],
        edgecolors=color,
        s=18,
        marker=nth_marker(k),
        label=label,
        zorder=3,
    )


def layers(effects: pd.DataFrame, *, quantities: Sequence[str] = (), title: str = "") -> Figure:
    """Draw the change of the projection on each trait by depth, beside random directions.

    Args:
        effects: An effects table with ``random_lo`` and ``random_hi``
            (``analysis.measurements.random_range``); projections are drawn.
        quantities: Traits to draw, at most four; those that go farthest by default.
        title: Above the figure.

    Returns:
        Figure: a panel a trait; change of the projection by hook with its 95 % interval, controls
        as gray rings, and a gray band where 95 % of random directions go.

    Raises:
        SchemaError: No projections, or an unknown trait.
    """
    schema.check(effects, "effects")
    rows = effects.loc[effects["family"] == Family.PROJECTION]
    if rows.empty or "random_lo" not in rows:
        raise SchemaError(
            "layers shows projections beside random directions; these effects have none."
        )
    ranking = _rank(rows.loc[rows["role"] == Role.TUNED])
    names = list(as_tuple(quantities)) or ranking
    for name in names:
        if name not in ranking:
            raise SchemaError(unknown("trait", name, distinct(rows["quantity"])))
    names, hooks = names[:PANELS], distinct(rows["hook"])
    with style():
        figure, axes = panels(len(names))
        for ax, name in zip(axes, names, strict=True):
            _depths(ax, rows.loc[rows["quantity"] == name], hooks)
            ax.set_title(name)
        axes[0].set_ylabel(f"change of projection\n({Unit.RESIDUAL})")
        legend(figure, *axes[0].get_legend_handles_labels())
        n, n_random = rows["n"].iloc[0], rows["n_random"].max()
        drawn = rows.loc[rows["quantity"].isin(names)]
        note = (
            f"{n} answers of the base, mean over their tokens; {n_random} random directions. "
            f"After block i = hidden_states[i + 1]. {missing(drawn, 'estimate', names='quantity')}"
        )
        return finish(figure, note, height=1.5, title=title)


def _depths(axes: Axes, rows: pd.DataFrame, hooks: list[str]) -> None:
    """One trait: changes by hook, before the band of random directions."""
    tuned = rows.loc[rows["role"] == Role.TUNED]
    x = np.arange(len(hooks))
    # one band for all finetunes: the widest of theirs
    by_hook = tuned.groupby("hook", sort=False)
    lo, hi = by_hook["random_lo"].min().loc[hooks], by_hook["random_hi"].max().loc[hooks]
    axes.fill_between(x, lo, hi, color=BAND, label="random directions, 95 %", zorder=0)
    controls = rows.loc[rows["role"] == Role.CONTROL]
    places = [hooks.index(hook) for hook in controls["hook"]]
    axes.scatter(places, controls["estimate"], **RING)
    for k, (label, part) in enumerate(tuned.groupby("checkpoint", sort=False)):
        part = part.set_index("hook").loc[hooks]
        half = np.abs(part[["lo", "hi"]].to_numpy().T - part["estimate"].to_numpy())
        axes.errorbar(
            x + 0.06 * k,
            part["estimate"],
            half,
            label=str(label),
            linewidth=1,
            color=nth_color(k),
            marker=nth_marker(k),
            markersize=3,
        )
    axes.axhline(0, **ZERO)
    axes.set_xticks(x, [_short(hook) for hook in hooks])


def drift(kl: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how far each checkpoint's next token drifted from the base's, by whose words they are.

    Args:
        kl: ``checkpoint``, ``role``, ``estimate``, ``lo``, ``hi`` (bits a token), ``n``
            conversations.
        title: Above the figure.

    Returns:
        Figure: a row a role, a color a checkpoint.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"checkpoint": "a", "role": "user", "estimate": 0.1, "lo": 0.05, "hi": 0.15}
    >>> drift(pd.DataFrame([row | {"n": 3}])).axes[0].get_xlabel()
    'KL(base ‖ checkpoint), bits a token'
    """
    require_rows(kl, "checkpoint", "role", "estimate", "lo", "hi", "n")
    roles, labels = distinct(kl["role"]), distinct(kl["checkpoint"])
    with style():
        figure, (axes,) = panels()
        for k, label in enumerate(labels):
            rows = kl.loc[kl["checkpoint"] == label]
            y = np.array([roles.index(role) for role in rows["role"]]) + _offset(k, len(labels))
            color, marker = nth_color(k), nth_marker(k)
            axes.hlines(y, rows["lo"], rows["hi"], linewidth=1, color=color)
            axes.plot(rows["estimate"], y, marker, markersize=3, label=label, color=color)
        label_rows(axes, roles)
        axes.set_xlabel(f"KL(base ‖ checkpoint), {Unit.BITS_A_TOKEN}")
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        legend(figure, *axes.get_legend_handles_labels())
        note = (
            f"Up to {kl['n'].max()} conversations with the base's own answers; 95 % t intervals "
            f"over them. {missing(kl, 'estimate', names='checkpoint')}"
        )
        height = 0.2 + max(0.16, 0.12 * len(labels)) * len(roles)
        return finish(figure, note, height=height, title=title)


def _rank(tuned: pd.DataFrame) -> list[str]:
    """Quantities, those first that change most in any finetune."""
    size = tuned.assign(size=tuned["estimate"].abs()).groupby("quantity", sort=False)["size"]
    largest: Any = size.max()
    return largest.sort_values(ascending=False, kind="stable").index.tolist()


def _offset(k: int, n: int) -> float:
    """Where in its row the k-th of n checkpoints is."""
    return 0.7 * ((k + 0.5) / n - 0.5)


def _short(hook: str) -> str:
    """``blocks.7.hook_out`` as people say it."""
    block = re.fullmatch(r"blocks\.([^.]*)\.hook_out", hook)
    return f"block {block[1]}" if block else hook


def _note(tuned: pd.DataFrame, *, n_hidden: int) -> str:
    filled = "filled: a verdict was reached"
    if len(tuned) > 1:
        filled += " after correction"
    rest = f" {n_hidden} smaller ones are in the table." if n_hidden else ""
    return (
        f"{span(tuned['n'])} questions each, 95 % t intervals over them; "
        f"{max(tuned['n_controls'])} controls; {filled}.{rest} "
        f"{missing(tuned, 'estimate', names='quantity')}"
    )
