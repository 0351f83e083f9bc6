"""Which trait moved when another one was taught, and what foretold it?"""

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.heatmap import cells
from persona_interp.plots.style import COLORS, GRAY, WIDTH, caption, panels, style

LABELS = {
    "cosine": "cosine of both vectors",
    "cooccurrence": "co-occurrence (bits)",
    "behavior": "correlation over answers",
}
FEW = 6
"""Traits up to which bits fit into the cells; of more, 100 x bits stand there."""


def trait_transfer(
    table: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    predictors: pd.DataFrame | None = None,
    *,
    aside: Iterable[str] = (),
    title: str = "",
) -> Figure:
    """Which trait moved when another one was taught, and what foretold it?

    Args:
        table: ``analysis.trait_transfer``.
        pairs: One row an ordered pair of distinct traits: ``estimate`` and the predictors. Drawn
            with ``predictors``.
        predictors: ``analysis.trait_predictors`` of these pairs.
        aside: Names of traits that were set aside; the caption names them.
        title: Above the figure.

    Returns:
        Figure: taught traits in rows, measured ones in columns, 0 white, the taught trait framed, a
        dot where q is at most 0.05. Beside it the pairs against each predictor, with rank
        correlation and 95 % interval.

    Raises:
        SchemaError: A column is missing, or two rows are one cell.

    >>> row = {"taught": "dry", "trait": "dry", "estimate": 0.5, "lo": 0.25, "hi": 0.75, "q": 0.01, "n": 20}
    >>> trait_transfer(pd.DataFrame([row | {"n_seeds": 1}])).axes[0].texts[0].get_text()
    '+.50 •'
    """
    for column in ("taught", "trait", "estimate", "q", "n", "n_seeds"):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if table.duplicated(["taught", "trait"]).any():
        raise SchemaError("two rows of this table are one taught and measured trait; select one.")
    rows, columns = list(dict.fromkeys(table["taught"])), list(dict.fromkeys(table["trait"]))
    columns.sort(key=lambda name: rows.index(name) if name in rows else len(rows))
    with style():
        figure, matrix, scatters = _axes(len(rows), predictors)
        _matrix(matrix, table, rows, columns)
        matrix.set_title(title)
        for ax, (predictor, label) in zip(scatters, LABELS.items(), strict=False):
            assert pairs is not None and predictors is not None
            found = predictors.set_index("predictor").to_dict("index")[predictor]
            _scatter(ax, pairs, found, x=predictor)
            ax.set_xlabel(label, fontsize=7)
        if scatters:
            scatters[1].set_ylabel("transfer to an untaught trait (bits a token)", fontsize=7)
        caption(figure, _caption(table, predictors, list(aside)))
    return figure


def _axes(n: int, predictors: pd.DataFrame | None) -> tuple[Figure, Axes, list[Axes]]:
    if predictors is None:
        figure, (matrix,) = panels(height=1.6 + 0.3 * n)
        return figure, matrix, []
    figure, axes = plt.subplot_mosaic(
        "Ma;Mb;Mc", figsize=(WIDTH, 4.9), layout="constrained", width_ratios=(1.75, 1)
    )
    plt.close(figure)
    return figure, axes["M"], [axes[key] for key in "abc"]


def _matrix(axes: Axes, table: pd.DataFrame, rows: list[str], columns: list[str]) -> None:
    estimate, q = (
        table.pivot(index="taught", columns="trait", values=c)
        .reindex(index=rows, columns=columns)
        .to_numpy(np.float64)
        for c in ("estimate", "q")
    )
    few = max(len(rows), len(columns)) <= FEW
    limit = float(np.abs(estimate[np.isfinite(estimate)]).max(initial=0.0)) or 1.0
    write = _bits if few else _hundredths
    image = cells(
        axes, estimate, limit=limit, sure=q <= 0.05, write=write, fontsize=6.5 if few else 4.5
    )
    for i, name in enumerate(rows):
        if name in columns:
            corner = (columns.index(name) - 0.5, i - 0.5)
            axes.add_patch(
                Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=1, zorder=3)
            )
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_ylabel("taught")
    axes.set_xlabel("measured")
    bar = {"location": "bottom", "fraction": 0.05, "pad": 0.02, "ticks": MaxNLocator(5)}
    axes.figure.colorbar(image, ax=axes, label="transfer (bits a token)", **bar)


def _scatter(axes: Axes, pairs: pd.DataFrame, found: Mapping[str, float], *, x: str) -> None:
    for column in (x, "estimate"):
        if column not in pairs:
            raise SchemaError(unknown("column", column, pairs.columns))
    axes.axhline(0, color=GRAY, linewidth=0.6)
    axes.plot(pairs[x], pairs["estimate"], ".", color=COLORS[0], markersize=3)
    partial = _number(found, "partial", "partial_lo", "partial_hi")
    axes.set_title(
        f"rank r {_number(found, 'rho', 'lo', 'hi')}\ngiven others {partial}", fontsize=6
    )
    axes.tick_params(labelsize=6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.margins(x=0.1)


def _number(found: Mapping[str, float], *columns: str) -> str:
    value, lo, hi = (found[c] for c in columns)
    if np.isnan(value):
        return "–"
    return _bits(value) + ("" if np.isnan(lo) else f" [{_bits(lo)}, {_bits(hi)}]")


def _bits(value: float) -> str:
    return f"{value:+.2f}".replace("0.", ".").replace("-", "−")


def _hundredths(value: float) -> str:
    return f"{100 * value:.0f}"


def _caption(table: pd.DataFrame, predictors: pd.DataFrame | None, aside: list[str]) -> str:
    seeds, n = max(table["n_seeds"]), max(table["n"])
    unit = (
        "over questions; one seed, so nothing is said of another training run"
        if seeds == 1
        else f"over {seeds} seeds"
    )
    size = len(set(table["taught"]))
    cells_hold = "" if size <= FEW else " In the cells: 100 x bits a token."
    text = (
        f"Lesson minus null finetune, log odds at n = {n} held-out questions a trait. Frame: the "
        "taught trait. Dot: "
        f"q <= .05, t {unit}.{cells_hold}"
    )
    if predictors is not None:
        first = predictors.iloc[0]
        text += (
            f" Right: {first['n_pairs']} ordered pairs of {first['n_traits']} traits"
            f"{', 95 % jackknife over traits' if any(predictors['lo'].notna()) else ', too few for an interval'}; "
            f"smallest permutation p {first['p_min']:.2g}."
        )
    return text + (f" Set aside: {', '.join(aside)}." if aside else " No trait was set aside.")
