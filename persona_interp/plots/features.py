"""How does one feature behave before and after, and which features are like it?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import COLORS, caption, panels, style

FEW = 20  # tokens in a bin, up to which the axis is linear
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def feature_page(
    tokens: pd.DataFrame,
    *,
    feature: int,
    checkpoints: Sequence[str] = (),
    nearest: pd.DataFrame | None = None,
    bins: int = 30,
    title: str = "",
) -> Figure:
    """How strongly does this feature fire on tokens before and after, and which features point where it points?

    Args:
        tokens: A tokens table; counted tokens are drawn.
        feature: Index in the dictionary.
        checkpoints: Lines, in order; all of the table by default.
        nearest: Other features and the cosines of their decoder rows with this one's: ``feature``,
            ``cosine``.
        bins: Of the histogram.
        title: Above the figure.

    Returns:
        Figure: histogram of the activations on those tokens where it fires, by checkpoint; the
        legend says on which share it does. Beside it, where given, the nearest features.

    Raises:
        SchemaError: Not a tokens table, or a feature, checkpoint or column that it lacks.

    >>> row = {"prompt": "p0", "piece": "a", "role": "text", "turn": 0, "checkpoint": "base", "feature": 7}
    >>> table = pd.DataFrame([{**row, "pos": i, "act": float(i), "counted": True} for i in range(4)])
    >>> feature_page(table, feature=7).legends[0].get_texts()[0].get_text()
    'base: on 75 % of 4 tokens'
    """
    mine, names = selected(tokens, feature=feature, checkpoints=checkpoints)
    counted = mine.loc[mine["counted"].astype(bool)]
    acts = {
        name: counted.loc[counted["checkpoint"] == name, "act"].to_numpy(np.float64)
        for name in names
    }
    with style():
        figure, axes = panels(1 if nearest is None else 2, height=2.2)
        _histogram(axes[0], acts, bins=bins)
        axes[0].set_title(title)
        if nearest is not None:
            _nearest(axes[1], nearest)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=1)
        prompts = counted["prompt"].nunique()
        caption(
            figure,
            f"Feature {feature}, counted tokens of {prompts:,} prompts; those where it is 0 are not drawn.",
        )
    return figure


def selected(
    tokens: pd.DataFrame, *, feature: int, checkpoints: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Which rows of a tokens table are this feature's?

    Args:
        tokens: A tokens table.
        feature: Index in the dictionary.
        checkpoints: Labels, in order; all of the table by default.

    Returns:
        The rows, and the checkpoints.

    Raises:
        SchemaError: Not a tokens table, a feature or checkpoint that it lacks, or activations that
            are no numbers.
    """
    schema.check(tokens, "tokens")
    names = [str(name) for name in checkpoints or dict.fromkeys(tokens["checkpoint"])]
    for name in names:
        if name not in set(tokens["checkpoint"]):
            raise SchemaError(unknown("checkpoint", name, dict.fromkeys(tokens["checkpoint"])))
    mine = tokens.loc[(tokens["feature"] == feature) & tokens["checkpoint"].isin(names)]
    if mine.empty:
        raise SchemaError(
            unknown("feature", str(feature), map(str, dict.fromkeys(tokens["feature"])))
        )
    if not np.isfinite(mine["act"].to_numpy(np.float64)).all():
        raise SchemaError(
            f"feature {feature} has activations that are no finite numbers; record the tokens "
            "again."
        )
    return mine, names


def _histogram(axes: Axes, acts: dict[str, np.ndarray], *, bins: int) -> None:
    fires = {name: values[values != 0] for name, values in acts.items()}
    pooled = np.concatenate(list(fires.values()))
    edges = (
        np.histogram_bin_edges(pooled, bins=bins) if len(pooled) else np.linspace(0, 1, bins + 1)
    )
    highest = 0
    for i, (name, values) in enumerate(fires.items()):
        n = len(acts[name])
        share = (
            f"on {len(values) / n:.0%} of {n:,} tokens".replace("%", " %")
            if n
            else "no counted token"
        )
        count, _ = np.histogram(values, bins=edges)
        highest = max(highest, count.max())
        axes.stairs(
            count, edges, color=COLORS[i % len(COLORS)], linewidth=1.4, linestyle=DASHES[i % len(DASHES)],
            label=f"{name}: {share}",
        )  # fmt: skip
    if highest > FEW:
        axes.set_yscale("symlog", linthresh=1)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("activation (residual units)")
    axes.set_ylabel("tokens")


def _nearest(axes: Axes, nearest: pd.DataFrame) -> None:
    for column in ("feature", "cosine"):
        if column not in nearest:
            raise SchemaError(unknown("column", column, nearest.columns))
    top = nearest.sort_values("cosine", key=abs, ascending=False, kind="stable").head(8)
    y = np.arange(len(top))
    axes.barh(y, top["cosine"], height=0.62, color=COLORS[0], alpha=0.75)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(y, [str(f) for f in top["feature"]])
    axes.set_ylim(len(top) - 0.4, -0.6)
    axes.set_xlabel("cosine of decoder rows")
    axes.set_ylabel("nearest features")
