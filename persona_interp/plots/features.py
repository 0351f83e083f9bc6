"""How does one feature behave before and after, and which features are like it?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import COLORS, ZERO, label_rows, nth_color, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import Unit
from persona_interp.values import as_tuple, check_count

FEW = 20  # tokens in a bin, up to which the axis is linear
NEAREST = 8  # features that are drawn
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
    """Draw how strongly a feature fires on tokens, and which features point where it points.

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

    >>> row = {"prompt": "p0", "piece": "a", "role": "text", "turn": 0, "checkpoint": "base"}
    >>> row |= {"feature": 7, "counted": True}
    >>> table = pd.DataFrame([{**row, "pos": i, "act": float(i)} for i in range(4)])
    >>> feature_page(table, feature=7).legends[0].get_texts()[0].get_text()
    'base: on 75 % of 4 tokens'
    """
    rows, names = select(tokens, feature=feature, checkpoints=checkpoints)
    counted = rows.loc[rows["counted"].astype(bool)]
    acts = {}
    for name in names:
        acts[name] = counted.loc[counted["checkpoint"] == name, "act"].to_numpy(np.float64)
    with style():
        figure, axes = panels(1 if nearest is None else 2)
        _histogram(axes[0], acts, bins=bins)
        if nearest is not None:
            _nearest(axes[1], nearest)
        legend(figure, *axes[0].get_legend_handles_labels())
        prompts = counted["prompt"].nunique()
        gaps = "" if nearest is None else missing(nearest, "cosine", names="feature")
        note = (
            f"Feature {feature}, counted tokens of {prompts:,} prompts; those where it is 0 are "
            f"not drawn. {gaps}"
        )
        return finish(figure, note, height=1.4, title=title)


def select(
    tokens: pd.DataFrame, *, feature: int, checkpoints: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of a tokens table that are of one feature, and the checkpoints.

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
    labels = distinct(tokens["checkpoint"])
    names = [str(name) for name in as_tuple(checkpoints) or labels]
    for name in names:
        if name not in labels:
            raise SchemaError(unknown("checkpoint", name, labels))
    rows = tokens.loc[(tokens["feature"] == feature) & tokens["checkpoint"].isin(names)]
    if rows.empty:
        features = map(str, distinct(tokens["feature"]))
        raise SchemaError(unknown("feature", str(feature), features))
    if not np.isfinite(rows["act"].to_numpy(np.float64)).all():
        raise SchemaError(
            f"feature {feature} has activations that are no finite numbers; record the tokens "
            "again."
        )
    return rows, names


def _histogram(axes: Axes, acts: dict[str, np.ndarray], *, bins: int) -> None:
    check_count(bins, "bins")
    fires = {name: values[values != 0] for name, values in acts.items()}
    pooled = np.concatenate(list(fires.values()))
    edges = np.linspace(0, 1, bins + 1)
    if len(pooled):
        edges = np.histogram_bin_edges(pooled, bins=bins)
    highest = 0
    for i, (name, values) in enumerate(fires.items()):
        share = "no counted token"
        if len(acts[name]):
            n = len(acts[name])
            share = f"on {len(values) / n:.0%} of {n:,} tokens".replace("%", " %")
        count, _ = np.histogram(values, bins=edges)
        highest = max(highest, count.max())
        axes.stairs(
            count,
            edges,
            color=nth_color(i),
            linewidth=1.4,
            linestyle=DASHES[i % len(DASHES)],
            label=f"{name}: {share}",
        )
    if highest > FEW:
        axes.set_yscale("symlog", linthresh=1)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"activation ({Unit.RESIDUAL})")
    axes.set_ylabel("tokens")


def _nearest(axes: Axes, nearest: pd.DataFrame) -> None:
    require_rows(nearest, "feature", "cosine")
    top = nearest.sort_values("cosine", key=abs, ascending=False, kind="stable").head(NEAREST)
    y = np.arange(len(top))
    axes.barh(y, top["cosine"], height=0.62, color=COLORS[0], alpha=0.75)
    axes.axvline(0, **ZERO)
    label_rows(axes, [str(feature) for feature in top["feature"]])
    axes.set_xlabel("cosine of decoder rows")
    axes.set_ylabel("nearest features")
