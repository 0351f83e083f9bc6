"""In which layer, on whose tokens? A signed number for every cell."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from persona_interp.errors import SchemaError, unknown
from persona_interp.plots.style import caption, panels, style


def heatmap(
    table: pd.DataFrame, *, label: str = "change\n(fraction of base norm)", title: str = ""
) -> Figure:
    """In which layer, on tokens of which role, did the model change?

    Args:
        table: A profile (``record.profile``) of one checkpoint and one name: ``hook``, ``role``,
            ``estimate``, ``lo``, ``hi``, one row a cell, hooks from the first layer to the last.
        label: What the color stands for, with its unit.
        title: Above the figure.

    Returns:
        Figure: hooks upwards, roles to the right, colors centered at 0, the number in each cell, a
        dot where the 95 % interval excludes 0.

    Raises:
        SchemaError: A column is missing, or two rows are one cell.

    >>> table = pd.DataFrame({"hook": ["blocks.0.hook_out"], "role": ["user"], "estimate": [0.5], "lo": [0.25]})
    >>> heatmap(table.assign(hi=1.0)).axes[0].texts[0].get_text()
    '+0.50 •'
    """
    for column in ("hook", "role", "estimate", "lo", "hi"):
        if column not in table:
            raise SchemaError(unknown("column", column, table.columns))
    if table.duplicated(["hook", "role"]).any():
        raise SchemaError(
            "two rows of this profile have the same hook and role; select one checkpoint and one "
            "name."
        )
    hooks, roles = list(dict.fromkeys(table["hook"])), list(dict.fromkeys(table["role"]))
    estimate, lo, hi = (
        table.pivot(index="hook", columns="role", values=c).loc[hooks, roles].to_numpy(np.float64)
        for c in ("estimate", "lo", "hi")
    )
    limit = float(np.abs(estimate[np.isfinite(estimate)]).max(initial=0.0)) or 1.0
    write = ("{:+.2f}" if limit >= 0.1 else "{:+.1e}" if limit < 0.001 else "{:+.3f}").format
    labels, where = _layers(hooks)
    with style():
        figure, (axes,) = panels(height=max(1.1 + 0.17 * len(hooks), 2.0))
        image = cells(axes, estimate, limit=limit, sure=(lo > 0) | (hi < 0), write=write)
        axes.set_yticks(range(len(hooks)), labels)
        axes.set_ylabel(where)
        axes.set_xticks(range(len(roles)), [str(role) for role in roles])
        axes.set_xlabel("role of the tokens")
        axes.invert_yaxis()
        axes.set_title(title)
        figure.colorbar(image, ax=axes, label=label, fraction=0.05, pad=0.02)
        caption(figure, _caption(table))
    return figure


def cells(
    axes: Axes,
    values: np.ndarray,
    *,
    limit: float,
    sure: np.ndarray | None = None,
    write: Callable[[float], str] = "{:+.2f}".format,
    fontsize: float = 7,
) -> AxesImage:
    """How is a matrix of signed numbers drawn?

    Args:
        axes: Gets the cells, rows downwards.
        values: Dims (row, column); NaN is an empty cell with a dash.
        limit: Value that gets full color; 0 is white.
        sure: Dims as values; True gets a dot.
        write: What stands in a cell of this value; what does not exist is a dash.
        fontsize: Of the numbers (points).

    Returns:
        The image, for a color bar.
    """
    image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (i, j), value in np.ndenumerate(values):
        color = "white" if abs(value) > 0.6 * limit else "black"
        dot = " •" if sure is not None and sure[i, j] else ""
        text = "–" if np.isnan(value) else write(value).replace("-", "−") + dot
        if text:
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=fontsize)
    return image


def _layers(hooks: list[Any]) -> tuple[list[str], str]:
    """Labels of the hooks and of their axis: numbers of layers where the hooks differ in nothing else."""
    found = [match for hook in hooks if (match := re.fullmatch(r"blocks\.(\d+)\.(.+)", str(hook)))]
    names = {match[2] for match in found}
    if len(found) == len(hooks) and len(names) == 1:
        return [match[1] for match in found], f"layer ({names.pop()})"
    return [str(hook) for hook in hooks], ""


def _caption(table: pd.DataFrame) -> str:
    shown = "Dot: 95 % interval excludes 0"
    if "n" not in table:
        return f"{shown}."
    n = " to ".join(f"{i:,.0f}" for i in dict.fromkeys((min(table["n"]), max(table["n"]))))
    return f"{shown}; n = {n}."
