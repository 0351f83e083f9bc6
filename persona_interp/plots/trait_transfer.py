"""Which trait moved when another one was taught, and what foretold it?"""

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.labels import cut
from persona_interp.plots.layout import finish
from persona_interp.plots.names import name_points
from persona_interp.plots.style import COLOR_BAR, COLORS, GRAY, WIDTH, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import CLAIMS, Unit
from persona_interp.values import as_tuple

LABELS = {
    "cosine": "cosine of both vectors",
    "cooccurrence": f"co-occurrence ({Unit.BITS})",
    "behavior": "correlation over answers",
}
"""Label of each predictor, in the order in which they are drawn."""
FRAME: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1, "zorder": 3}
SHORT = 16
"""Characters of a trait in the name of a point, and in the note."""
FEW = 8
"""Traits set aside that the note names."""
BESIDE = 3.4
"""Height of the matrix where three panels stand beside it (inches)."""


def trait_transfer(
    table: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    predictors: pd.DataFrame | None = None,
    *,
    aside: Iterable[str] = (),
    title: str = "",
) -> Figure:
    """Draw which trait moved when another one was taught, and what foretold it.

    Args:
        table: ``analysis.trait_transfer``.
        pairs: One row an ordered pair of distinct traits: ``estimate`` and the predictors. Drawn
            with ``predictors``.
        predictors: ``analysis.trait_predictors`` of these pairs.
        aside: Names of traits that were set aside; the caption names them.
        title: Above the figure.

    Returns:
        Figure: taught traits in rows, measured ones in columns, 0 white, the taught trait framed, a
        dot where something is claimed. Beside it the pairs against each predictor, with rank
        correlation and 95 % interval.

    Raises:
        SchemaError: A column is missing, or two rows are one cell.

    >>> row = {"taught": "dry", "trait": "dry", "estimate": 0.5, "n": 20, "n_seeds": 1, "n_null": 6}
    >>> row["verdict"] = "differs"
    >>> trait_transfer(pd.DataFrame([row])).axes[0].texts[0].get_text()
    '+.50 •'
    """
    require_rows(table, "taught", "trait", "estimate", "verdict", "n", "n_seeds", "n_null")
    if table.duplicated(["taught", "trait"]).any():
        raise SchemaError("two rows of this table are one taught and measured trait; select one.")
    rows = distinct(table["taught"])
    # measured traits in the order of the taught ones, so that what was taught is the diagonal
    columns = sorted(distinct(table["trait"]), key=[*rows, *distinct(table["trait"])].index)
    with style():
        figure, matrix, scatters = _axes(predictors)
        _matrix(matrix, table, rows, columns)
        for ax, (predictor, label) in zip(scatters, LABELS.items(), strict=False):
            assert pairs is not None and predictors is not None
            numbers = predictors.set_index("predictor").to_dict("index")[predictor]
            _scatter(ax, pairs, numbers, x=predictor)
            ax.set_xlabel(label, fontsize=7)
        if scatters:
            scatters[1].set_ylabel(
                f"transfer to an untaught trait ({Unit.BITS_A_TOKEN})", fontsize=7
            )
        height = max(0.3 + 0.27 * len(rows), BESIDE if scatters else 0.0)
        note = _note(table, pairs, predictors, aside=list(as_tuple(aside)))
        return finish(figure, note, height=height, title=title)


def _axes(predictors: pd.DataFrame | None) -> tuple[Figure, Axes, list[Axes]]:
    if predictors is None:
        figure, (matrix,) = panels()
        return figure, matrix, []
    figure, axes = plt.subplot_mosaic("Ma;Mb;Mc", figsize=(WIDTH, WIDTH), width_ratios=(1.2, 1))
    plt.close(figure)
    return figure, axes["M"], [axes[key] for key in "abc"]


def _matrix(axes: Axes, table: pd.DataFrame, rows: list[str], columns: list[str]) -> None:
    estimate, claimed = (
        numbers.pivot(index="taught", columns="trait", values="value")
        .reindex(index=rows, columns=columns)
        .to_numpy(np.float64)
        for numbers in (
            table.assign(value=table["estimate"]),
            table.assign(value=table["verdict"].isin(CLAIMS).astype(float)),
        )
    )
    limit = float(np.abs(estimate[np.isfinite(estimate)]).max(initial=0.0)) or 1.0
    image = cells(axes, estimate, limit=limit, sure=claimed == 1, write=_bits, fontsize=6.5)
    for i, name in enumerate(rows):
        if name in columns:
            corner = (columns.index(name) - 0.5, i - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, **FRAME))
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel("taught")
    axes.set_xlabel("measured")
    bar = {**COLOR_BAR, "location": "bottom", "ticks": MaxNLocator(5)}
    axes.figure.colorbar(image, ax=axes, label=f"transfer ({Unit.BITS_A_TOKEN})", **bar)


def _scatter(axes: Axes, pairs: pd.DataFrame, numbers: Mapping[str, float], *, x: str) -> None:
    """Transfer over one predictor, with the numbers of its row."""
    require_rows(pairs, x, "estimate")
    axes.axhline(0, color=GRAY, linewidth=0.6)
    axes.plot(pairs[x], pairs["estimate"], ".", color=COLORS[0], markersize=3)
    rho = _interval(numbers, "rho", "lo", "hi")
    partial = _interval(numbers, "partial", "partial_lo", "partial_hi")
    axes.set_title(f"rank r {rho}\ngiven others {partial}", fontsize=6)
    farthest = pairs.dropna(subset=[x, "estimate"])
    farthest = farthest.sort_values("estimate", key=abs, ascending=False, kind="stable")
    names = [
        f"{cut(str(taught), SHORT)} →\n{cut(str(trait), SHORT)}"
        for taught, trait in zip(farthest["taught"], farthest["trait"], strict=True)
    ]
    name_points(axes, farthest[[x, "estimate"]].to_numpy(np.float64), names, fontsize=5)
    axes.tick_params(labelsize=6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.margins(x=0.1)


def _interval(numbers: Mapping[str, float], *columns: str) -> str:
    value, lo, hi = (numbers[column] for column in columns)
    if np.isnan(value):
        return "–"
    if np.isnan(lo):
        return _bits(value)
    return f"{_bits(value)} [{_bits(lo)}, {_bits(hi)}]"


def _bits(value: float) -> str:
    return f"{value:+.2f}".replace("0.", ".").replace("-", "−")


def _note(
    table: pd.DataFrame,
    pairs: pd.DataFrame | None,
    predictors: pd.DataFrame | None,
    *,
    aside: list[str],
) -> str:
    n_seeds, n = max(table["n_seeds"]), max(table["n"])
    interval = f"{n_seeds} seeds"
    if n_seeds == 1:
        interval = "one seed, so nothing is said of another training run"
    n_null = max(table["n_null"])
    text = (
        f"Lesson minus mean of {n_null} null finetunes, log odds at n = {n} held-out questions a "
        f"trait. {NO_VALUE}. Frame: the taught trait. Dot: beyond all null finetunes, q <= .05; "
        f"{interval}."
    )
    text += f" {missing(table, 'estimate', names='taught')}".rstrip()
    if predictors is not None and pairs is not None:
        first = predictors.iloc[0]
        interval = "too few for an interval"
        if any(predictors["lo"].notna()):
            interval = "95 % jackknife over traits"
        text += (
            f" Right: {first['n_pairs']} ordered pairs of {first['n_traits']} traits, {interval}; "
            f"smallest permutation p {first['p_min']:.2g}; names: taught → measured."
        )
        gaps = missing(pairs, "estimate", *list(LABELS), names="taught")
        text += f" {gaps}".rstrip()
    if not aside:
        return f"{text} No trait was set aside."
    names = ", ".join(cut(str(name), SHORT) for name in aside[:FEW])
    more = f" and {len(aside) - FEW} more" if len(aside) > FEW else ""
    return f"{text} Set aside: {names}{more}."
