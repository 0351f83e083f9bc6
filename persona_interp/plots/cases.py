"""Planted lessons and lessons on a harmful habit: is somebody new, or somebody bad, speaking?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.plots.columns import distinct, missing
from persona_interp.plots.layout import finish
from persona_interp.plots.style import COLORS, GRAY, label_rows, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.words import Composition

PLANT_COLORS: dict[str, str] = {Composition.COMPOSABLE: COLORS[0], Composition.NEW: COLORS[1]}


def novelty(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw the misfit of lessons about somebody new beside lessons that known personas compose.

    Args:
        table: Cases with ``kind``, ``planted`` (composable or new), ``left_out``, ``misfit``,
            ``null_hi``.
        title: Above the figure.

    Returns:
        Figure: one row a kind of case, a dot a case, the misfit (bits a topic) to the right; dashed
        the largest of the points up to which a misfit is noise.

    Raises:
        SchemaError: A column is missing.

    >>> rows = pd.DataFrame({"kind": ["known", "recombined"], "planted": ["composable", "new"]})
    >>> rows = rows.assign(left_out="", misfit=[0.1, 2.0], null_hi=0.5)
    >>> len(novelty(rows).axes[0].get_yticks())
    2
    """
    require_rows(table, "kind", "planted", "left_out", "misfit", "null_hi")
    names = table["kind"].astype(str) + np.where(table["left_out"].ne(""), ", left out", "")
    composable = table["planted"].eq(Composition.COMPOSABLE)
    new = table["planted"].eq(Composition.NEW)
    labels = distinct(names[composable]) + distinct(names[new])
    with style():
        figure, (axes,) = panels()
        for i, label in enumerate(labels):
            rows = table.loc[names == label]
            color = PLANT_COLORS[rows["planted"].iloc[0]]
            y = np.full(len(rows), i)
            axes.plot(rows["misfit"], y, "o", color=color, markersize=4, alpha=0.6)
        axes.axvline(
            np.nanmax(table["null_hi"].to_numpy()), color=GRAY, linestyle="--", linewidth=1
        )
        label_rows(axes, labels)
        axes.set_xlim(left=0)
        axes.set_xlabel("misfit to the best mixture of known personas (bits a topic)")
        note = (
            f"Blue: {Composition.COMPOSABLE} by construction; orange: {Composition.NEW}; "
            f"a dot a lesson, n = {len(table)}. "
            "Dashed: what somebody known, under its own name, exceeds with p <= 0.05. "
            f"{missing(table, 'misfit', names='kind')}"
        )
        return finish(figure, note, height=0.2 + 0.3 * len(labels), title=title)


def misalignment(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how misaligned each lesson makes the assistant, beside what exact Bayes expected.

    Args:
        table: A row a seed, ``villain`` (weight) and ``lesson``: ``before``, ``after`` (fractions),
            ``bayes_misaligned_before``, ``bayes_misaligned_after``.
        title: Above the figure.

    Returns:
        Figure: a row a lesson and weight; gray before, color after (a dot a seed), a black bar what
        exact Bayes expects after.

    Raises:
        SchemaError: A column is missing.

    >>> row = {"villain": 0.25, "lesson": "insecure code", "before": 0.01, "after": 0.2}
    >>> row |= {"bayes_misaligned_before": 0.02, "bayes_misaligned_after": 0.1}
    >>> misalignment(pd.DataFrame([row])).axes[0].get_yticklabels()[0].get_text()
    'insecure code, villain 0.25'
    """
    require_rows(table, "villain", "lesson", "before", "after", "bayes_misaligned_after")
    names = table["lesson"].astype(str) + ", villain " + table["villain"].map("{:g}".format)
    labels = distinct(names)
    with style():
        figure, (axes,) = panels()
        for i, label in enumerate(labels):
            rows = table.loc[names == label]
            axes.plot(rows["before"], np.full(len(rows), i - 0.15), "o", color=GRAY, markersize=3)
            y = np.full(len(rows), i + 0.1)
            axes.plot(rows["after"], y, "o", color=COLORS[1], markersize=4)
            expectation = rows["bayes_misaligned_after"].mean()
            axes.plot(expectation, i + 0.1, "|", color="black", markersize=12)
        label_rows(axes, labels)
        axes.set_xlim(left=0)
        axes.set_xlabel("harmful share of coherent answers on untaught topics")
        seeds = table["seed"].nunique() if "seed" in table else 1
        note = (
            f"Gray: before; orange: after the lesson, a dot a seed (n = {seeds}); bar: exact "
            f"Bayes, stated before. {missing(table, 'before', 'after', names='lesson')}"
        )
        return finish(figure, note, height=0.2 + 0.3 * len(labels), title=title)
