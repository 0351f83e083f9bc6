"""In which layer, on whose tokens? A signed number for every cell."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.errors import SchemaError
from persona_interp.plots.cells import NO_VALUE, cells
from persona_interp.plots.columns import distinct, excludes_zero, span
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLOR_BAR, panels, style
from persona_interp.schema import require_rows


def heatmap(
    table: pd.DataFrame, *, label: str = "change (fraction of base norm)", title: str = ""
) -> Figure:
    """Draw the change of a model by layer and role of the tokens.

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

    >>> row = {"hook": "blocks.0.hook_out", "role": "user", "estimate": 0.5, "lo": 0.25, "hi": 1.0}
    >>> heatmap(pd.DataFrame([row])).axes[0].texts[0].get_text()
    '+0.50 •'
    """
    require_rows(table, "hook", "role", "estimate", "lo", "hi")
    if table.duplicated(["hook", "role"]).any():
        raise SchemaError(
            "two rows of this profile have the same hook and role; select one checkpoint and one "
            "name."
        )
    hooks, roles = distinct(table["hook"]), distinct(table["role"])
    estimate, lo, hi = (
        table.pivot(index="hook", columns="role", values=c).loc[hooks, roles].to_numpy(np.float64)
        for c in ("estimate", "lo", "hi")
    )
    limit = float(np.abs(estimate[np.isfinite(estimate)]).max(initial=0.0)) or 1.0
    labels, where = _layers(hooks)
    with style():
        figure, (axes,) = panels()
        image = cells(axes, estimate, limit=limit, sure=excludes_zero(lo, hi), write=_writer(limit))
        axes.set_yticks(range(len(hooks)), labels)
        axes.set_ylabel(where)
        axes.set_xticks(range(len(roles)), [str(role) for role in roles])
        axes.set_xlabel("role of the tokens")
        axes.invert_yaxis()
        figure.colorbar(image, ax=axes, label=label, **COLOR_BAR)
        return finish(figure, _note(table), height=max(0.17 * len(hooks), 1.1), title=title)


def _layers(hooks: list[Any]) -> tuple[list[str], str]:
    """Labels of hooks and of their axis: numbers of layers where hooks differ in nothing else."""
    matches = [re.fullmatch(r"blocks\.(\d+)\.(.+)", str(hook)) for hook in hooks]
    numbers = [match[1] for match in matches if match]
    names = {match[2] for match in matches if match}
    if len(numbers) == len(hooks) and len(names) == 1:
        return numbers, f"layer ({names.pop()})"
    return [str(hook) for hook in hooks], ""


def _writer(limit: float) -> Callable[[float], str]:
    """How numbers up to this limit are written: with as many digits as tell them apart."""
    if limit >= 0.1:
        return "{:+.2f}".format
    if limit >= 0.001:
        return "{:+.3f}".format
    return "{:+.1e}".format


def _note(table: pd.DataFrame) -> str:
    text = f"{NO_VALUE}. Dot: 95 % interval excludes 0"
    if "n" not in table:
        return f"{text}."
    return f"{text}; n = {span(table['n'], write='{:,.0f}'.format)}."
