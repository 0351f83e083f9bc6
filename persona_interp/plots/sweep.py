"""How do traits and coherence of what is said change with the strength of a push?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp import schema
from persona_interp.plots.columns import distinct, missing, span
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import GRAY, ZERO, nth_color, nth_marker, panels, style
from persona_interp.schema.words import SURPRISAL, Unit


def sweep(means: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw traits and surprisal of steered answers over the strength of the push.

    Args:
        means: A sweep_means table of ``analysis.sweep``.
        title: Above the figure; by default the name of the direction.

    Returns:
        Figure: left the evidence for each trait, a color each, right how surprised the base is,
        both in bits a token over the strength (fraction of a usual residual's length); gray: the
        same of random directions. Without traits the right panel alone.

    Raises:
        SchemaError: No sweep_means table.

    >>> rows = {"direction": "up", "control": False, "strength": [0.0, 0.5], "n": 3, "n_empty": 0}
    >>> rows |= dict.fromkeys(["change", "change_lo", "change_hi", "p", "q"], 0.0)
    >>> rows |= {"estimate": [2.0, 3.0], "lo": 1.0, "hi": 4.0, "quantity": "bits_per_token"}
    >>> [axes.get_ylabel() for axes in sweep(pd.DataFrame(rows)).axes]
    ['surprisal (bits a token)']
    """
    schema.check(means, "sweep_means")
    own = means.loc[~means["control"].astype(bool)]
    traits = [name for name in distinct(own["quantity"]) if name != SURPRISAL]
    with style():
        figure, axes = panels(2 if traits else 1)
        *left, right = axes
        for i, trait in enumerate(traits):
            _lines(left[0], means.loc[means["quantity"] == trait], i, label=str(trait))
        for axis in left:
            axis.axhline(0, **ZERO)
            axis.set_ylabel(f"evidence ({Unit.BITS_A_TOKEN})")
        # a color of its own: the others stand for traits
        surprisal = means.loc[means["quantity"] == SURPRISAL]
        _lines(right, surprisal, len(traits), label="surprisal")
        right.set_ylabel(f"surprisal ({Unit.BITS_A_TOKEN})")
        for axis in axes:
            axis.axvline(0, **ZERO)
            axis.set_xlabel("strength of the push")
        if traits:
            legend(figure, *left[0].get_legend_handles_labels())
        gaps = missing(own, "estimate", names="quantity")
        title = title or ", ".join(map(str, distinct(own["direction"])))
        return finish(figure, f"{_note(means)} {gaps}".strip(), height=1.9, title=title)


def _lines(axes: Axes, rows: pd.DataFrame, i: int, *, label: str) -> None:
    """The direction in color with its intervals, random ones in gray, all from the unedited."""
    start = rows.loc[rows["strength"] == 0]
    for _, line in rows.loc[rows["control"].astype(bool)].groupby("direction"):
        line = pd.concat([line, start]).sort_values("strength")
        axes.plot(line["strength"], line["estimate"], color=GRAY, linewidth=0.6, zorder=1)
    line = rows.loc[~rows["control"].astype(bool)].sort_values("strength")
    x, color = line["strength"], nth_color(i)
    axes.plot(x, line["estimate"], color=color, marker=nth_marker(i), markersize=3, label=label)
    axes.vlines(x, line["lo"], line["hi"], color=color, linewidth=0.8)


def _note(means: pd.DataFrame) -> str:
    """What the reader has to know: prompts, controls, empty answers."""
    own = means.loc[~means["control"].astype(bool)]
    text = "Strength: fraction of a usual residual's length. Surprisal of the answer to the "
    text += "unedited base"
    if (own["quantity"] != SURPRISAL).any():
        text += ", and its evidence that the answer was given under a trait's instruction"
    text += f". 95 % intervals over {span(own['n'])} prompts."
    n_controls = means.loc[means["control"].astype(bool), "direction"].nunique()
    if n_controls:
        text += f" Gray: {n_controls} random directions of the same length."
    n_empty = int(own.loc[own["quantity"] == SURPRISAL, "n_empty"].sum())
    if n_empty:
        text += f" {n_empty} empty answers are left out."
    return f"{text} 1 bit is .69 nats."
