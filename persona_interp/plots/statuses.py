"""Which features did training create, move or wake, and between which checkpoints?"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.plots.columns import missing
from persona_interp.plots.layout import finish, legend
from persona_interp.plots.style import BAND, COLORS, GRAY, panels, style
from persona_interp.schema import require_rows
from persona_interp.schema.cells import check_numbers
from persona_interp.schema.words import Status

AS_BEFORE, ABSENT = "as before", "not there yet"
"""What a feature is before its change; one that is born is not there."""
STATES: dict[str, str] = {
    AS_BEFORE: BAND,
    Status.AMPLIFIED: COLORS[4],
    Status.SHRUNK: COLORS[5],
    Status.ROTATED: COLORS[0],
    Status.SPLIT: COLORS[3],
    Status.DIED: COLORS[1],
    ABSENT: "#FFFFFF",
    Status.BORN: COLORS[2],
    Status.UNDECIDED: GRAY,
}
"""What a feature is at a checkpoint, from the bottom of the figure upwards, and its color."""
BAR = 0.22
"""Width of a checkpoint's bar, of the distance between two."""


def statuses(table: pd.DataFrame, *, checkpoints: Sequence[str] = (), title: str = "") -> Figure:
    """Draw what becomes of a crosscoder's features from checkpoint to checkpoint.

    Args:
        table: A statuses table (``analysis.statuses``) of one crosscoder.
        checkpoints: Labels of its checkpoints, in order; numbers by default.
        title: Above the figure.

    Returns:
        Figure: a bar of all active features for every checkpoint, by what they are there, and
        between two bars what each of them becomes. Features that are never active are left out.

    Raises:
        SchemaError: Not a statuses table, of several crosscoders, or other labels than it has
            checkpoints.

    >>> row = dict.fromkeys(schema.TABLES["statuses"], 0) | {"norms": (0.0, 1.0), "at": 1}
    >>> figure = statuses(pd.DataFrame([row | {"status": "born"}]), checkpoints=["base", "tuned"])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['not there yet', 'born']
    """
    schema.check(table, "statuses")
    if table["feature"].duplicated().any():
        raise SchemaError(
            "this table has a feature twice; select one crosscoder: one life, hook and seed."
        )
    check_numbers(table, ["at"])
    if any(np.ndim(norms) != 1 for norms in table["norms"]):
        raise SchemaError("column 'norms' holds lists, a number a checkpoint.")
    n = len(table["norms"].iloc[0])
    labels = [str(label) for label in checkpoints] or [str(k) for k in range(n)]
    if len(labels) != n:
        raise SchemaError(f"these statuses are of {n} checkpoints; got {len(labels)} labels.")
    known = table.loc[table["status"].notna() & (table["status"] != Status.DEAD)]
    states = _states(known, n)
    with style():
        figure, (axes,) = panels()
        tops = [_bar(axes, k, states[:, k]) for k in range(n)]
        for k, (left, right) in enumerate(pairwise(range(n))):
            _flows(axes, k, states[:, [left, right]], tops[left], tops[right])
        axes.set_xticks(range(n), labels)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(0, max(1, len(states)))
        axes.set_ylabel("features")
        shown = [state for state in STATES if (states == state).any()]
        handles = [Patch(facecolor=STATES[s], edgecolor=GRAY, linewidth=0.4) for s in shown]
        legend(figure, handles, shown)
        note = _note(table, known)
        return finish(figure, note, height=2.4, title=title)


def _states(table: pd.DataFrame, n: int) -> np.ndarray:
    """What each feature is at each checkpoint, dims (feature, checkpoint)."""
    states = np.full((len(table), n), AS_BEFORE, dtype=object)
    changes = table["at"].fillna(n).to_numpy(int)
    for row, (status, at) in enumerate(zip(table["status"], changes, strict=True)):
        if status == Status.UNDECIDED:
            states[row] = str(status)
        elif status != Status.SHARED:
            states[row, :at] = ABSENT if status == Status.BORN else AS_BEFORE
            states[row, at:] = str(status)
    return states


def _bar(axes: Axes, x: int, states: np.ndarray) -> dict[str, float]:
    """Draw one checkpoint; where each state begins."""
    bottoms, bottom = {}, 0.0
    for state, color in STATES.items():
        bottoms[state] = bottom
        height = float((states == state).sum())
        if height:
            edge = {"edgecolor": GRAY, "linewidth": 0.4}
            axes.bar(x, height, BAR, bottom, color=color, zorder=2, **edge)
        bottom += height
    return bottoms


def _flows(
    axes: Axes, x: int, states: np.ndarray, left: dict[str, float], right: dict[str, float]
) -> None:
    """Draw who goes where between two checkpoints."""
    left, right = dict(left), dict(right)
    along = np.linspace(0, 1, 40)
    rise = along**2 * (3 - 2 * along)
    places = x + BAR / 2 + (1 - BAR) * along
    for before in STATES:
        for after, color in STATES.items():
            n = float(((states[:, 0] == before) & (states[:, 1] == after)).sum())
            if not n:
                continue
            low = left[before] + (right[after] - left[before]) * rise
            alpha = 0.35 if before == after else 0.8
            axes.fill_between(places, low, low + n, color=color, alpha=alpha, linewidth=0, zorder=1)
            left[before] += n
            right[after] += n


def _note(table: pd.DataFrame, known: pd.DataFrame) -> str:
    parts = [f"{len(known):,} active features of {len(table):,}."]
    if "fvus" in table:
        require_rows(table, "fvus")
        worst = float(np.nanmax([np.nanmax(np.atleast_1d(fvus)) for fvus in table["fvus"]]))
        parts.append(f"The crosscoder leaves at most {worst:.2f} unexplained (FVU).")
    parts.append(missing(table, "status", names="feature"))
    return " ".join(filter(None, parts))
