"""What differs from the base, beside control finetunes, random directions, and on whose words?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, GRAY, MARKERS, caption, panels, style

MOST = 30
"""Quantities drawn in one figure."""
PANELS = 4


def forest(effects: pd.DataFrame, *, unit: str, title: str = "") -> Figure:
    """How far did each quantity go from the base, and how far do control finetunes go?

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

    >>> row = dict.fromkeys(schema.TABLES["effects"], 0.5) | {"checkpoint": "a", "role": "tuned", "quantity": "wry"}
    >>> forest(pd.DataFrame([row]), unit="bits a token").axes[0].get_yticklabels()[0].get_text()
    'wry'
    """
    schema.check(effects, "effects")
    tuned, controls = (effects.loc[effects["role"] == role] for role in ("tuned", "control"))
    if tuned.empty:
        raise SchemaError("a forest shows finetunes; these effects are of controls alone.")
    size = tuned.assign(size=tuned["estimate"].abs()).groupby("quantity", sort=False)["size"].max()
    names = size.sort_values(ascending=False, kind="stable").index[:MOST].tolist()
    labels = list(dict.fromkeys(tuned["checkpoint"]))
    with style():
        figure, (axes,) = panels(height=1.2 + 0.14 * len(names) * max(1, len(labels)))
        axes.axvline(0, color="black", linewidth=0.6)
        for k, label in enumerate(labels):
            rows = tuned.loc[tuned["checkpoint"] == label].set_index("quantity").loc[names]
            y = np.arange(len(names)) + 0.7 * ((k + 0.5) / len(labels) - 0.5)
            bar = {"color": "#D8D8D8", "linewidth": 4, "zorder": 0}
            axes.hlines(
                y,
                rows["range_lo"],
                rows["range_hi"],
                label="" if k else "one more control, 95 %",
                **bar,
            )
            color = COLORS[k % len(COLORS)]
            axes.hlines(y, rows["lo"], rows["hi"], color=color, linewidth=1)
            found = ~rows["verdict"].eq("no difference shown").to_numpy()
            face = [color if one else "white" for one in found]
            marker = MARKERS[k % len(MARKERS)]
            axes.scatter(
                rows["estimate"],
                y,
                c=face,
                edgecolors=color,
                s=18,
                marker=marker,
                label=label,
                zorder=3,
            )
        rows = controls.loc[controls["quantity"].isin(names)]
        y = [names.index(name) for name in rows["quantity"]]
        axes.scatter(
            rows["estimate"],
            y,
            facecolors="none",
            edgecolors=GRAY,
            s=10,
            zorder=2,
            label="controls",
        )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(f"tuned minus base ({unit})")
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(figure, _caption(tuned, n_hidden=len(size) - len(names)))
    return figure


def layers(effects: pd.DataFrame, *, quantities: Sequence[str] = (), title: str = "") -> Figure:
    """At which depth do the residuals go towards each trait, against random directions?

    Args:
        effects: An effects table with ``random_lo`` and ``random_hi`` (``analysis.random_range``);
            projections are drawn.
        quantities: Traits to draw, at most four; those that go farthest by default.
        title: Above the figure.

    Returns:
        Figure: a panel a trait; change of the projection by hook with its 95 % interval, controls
        as gray rings, and a gray band where 95 % of random directions go.

    Raises:
        SchemaError: No projections, or an unknown trait.
    """
    schema.check(effects, "effects")
    rows = effects.loc[effects["family"] == "projection"]
    if rows.empty or "random_lo" not in rows:
        raise SchemaError(
            "layers shows projections beside random directions; these effects have none."
        )
    tuned = rows.loc[rows["role"] == "tuned"]
    far = tuned.assign(size=tuned["estimate"].abs()).groupby("quantity", sort=False)["size"].max()
    names = list(quantities) or far.sort_values(ascending=False, kind="stable").index.tolist()
    for name in names:
        if name not in far.index:
            raise SchemaError(unknown("trait", name, far.index))
    names, hooks = names[:PANELS], list(dict.fromkeys(rows["hook"]))
    x = np.arange(len(hooks))
    with style():
        figure, drawn = panels(len(names), height=2.6)
        for axes, name in zip(drawn, names, strict=True):
            mine = rows.loc[rows["quantity"] == name]
            band = mine.loc[mine["role"] == "tuned"].groupby("hook", sort=False)[
                ["random_lo", "random_hi"]
            ]
            lo, hi = band.min()["random_lo"].loc[hooks], band.max()["random_hi"].loc[hooks]
            axes.fill_between(x, lo, hi, color="#D8D8D8", label="random directions, 95 %", zorder=0)
            controls = mine.loc[mine["role"] == "control"]
            at = [hooks.index(hook) for hook in controls["hook"]]
            axes.scatter(
                at, controls["estimate"], facecolors="none", edgecolors=GRAY, s=10, label="controls"
            )
            for k, (label, part) in enumerate(
                mine.loc[mine["role"] == "tuned"].groupby("checkpoint", sort=False)
            ):
                at = part.set_index("hook").loc[hooks]
                half = np.abs(at[["lo", "hi"]].to_numpy().T - at["estimate"].to_numpy())
                look = {
                    "color": COLORS[k % len(COLORS)],
                    "marker": MARKERS[k % len(MARKERS)],
                    "markersize": 3,
                }
                axes.errorbar(
                    x + 0.06 * k, at["estimate"], half, label=str(label), linewidth=1, **look
                )
            axes.axhline(0, color="black", linewidth=0.6)
            axes.set_xticks(x, [_short(hook) for hook in hooks], rotation=45, ha="right")
            axes.set_title(name)
        drawn[0].set_ylabel("change of projection\n(residual units)")
        if title:
            figure.suptitle(title, fontsize=8)
        handles, labels = drawn[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
        one = rows.iloc[0]
        text = f"{one['n']} answers of the base, mean over their tokens; {rows['n_random'].max()} random directions."
        caption(figure, f"{text} After block i = hidden_states[i + 1].")
    return figure


def drift(kl: pd.DataFrame, *, title: str = "") -> Figure:
    """How far has each checkpoint's next token drifted from the base's, on whose words?

    Args:
        kl: ``checkpoint``, ``role``, ``estimate``, ``lo``, ``hi`` (bits a token), ``n``
            conversations.
        title: Above the figure.

    Returns:
        Figure: a row a role, a color a checkpoint.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"checkpoint": "a", "role": "user", "estimate": 0.1, "lo": 0.05, "hi": 0.15, "n": 3, "n_tokens": 9}
    >>> drift(pd.DataFrame([row])).axes[0].get_xlabel()
    'KL(base ‖ checkpoint), bits a token'
    """
    for column in ("checkpoint", "role", "estimate", "lo", "hi", "n"):
        if column not in kl:
            raise SchemaError(unknown("column", column, kl.columns))
    roles, labels = list(dict.fromkeys(kl["role"])), list(dict.fromkeys(kl["checkpoint"]))
    with style():
        figure, (axes,) = panels(height=1.2 + 0.12 * len(roles) * len(labels))
        for k, label in enumerate(labels):
            rows = kl.loc[kl["checkpoint"] == label]
            y = np.array([roles.index(role) for role in rows["role"]]) + 0.7 * (
                (k + 0.5) / len(labels) - 0.5
            )
            color = COLORS[k % len(COLORS)]
            axes.hlines(y, rows["lo"], rows["hi"], linewidth=1, color=color)
            axes.plot(
                rows["estimate"],
                y,
                MARKERS[k % len(MARKERS)],
                markersize=3,
                label=label,
                color=color,
            )
        axes.set_yticks(range(len(roles)), roles)
        axes.set_ylim(len(roles) - 0.4, -0.6)
        axes.set_xlabel("KL(base ‖ checkpoint), bits a token")
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.set_title(title)
        figure.legend(loc="outside right upper")
        caption(
            figure,
            f"Up to {kl['n'].max()} conversations with the base's own answers; 95 % t intervals over them.",
        )
    return figure


def _short(hook: str) -> str:
    """``blocks.7.hook_out`` as people say it."""
    parts = hook.split(".")
    return (
        f"block {parts[1]}"
        if len(parts) == 3 and parts[0] == "blocks" and parts[2] == "hook_out"
        else hook
    )


def _caption(tuned: pd.DataFrame, *, n_hidden: int) -> str:
    n, controls = sorted({min(tuned["n"]), max(tuned["n"])}), max(tuned["n_controls"])
    rest = f" {n_hidden} smaller ones are in the table." if n_hidden else ""
    said = (
        "filled: a verdict was reached after correction"
        if len(tuned) > 1
        else "filled: a verdict was reached"
    )
    return f"{' to '.join(map(str, n))} questions each, 95 % t intervals over them; {controls} controls; {said}.{rest}"
