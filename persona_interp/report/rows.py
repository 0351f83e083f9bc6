"""Which rows of a table are meant, and how sure is one? What every report asks of its tables."""

import math
from typing import Any

import pandas as pd

from persona_interp.plots.columns import excludes_zero
from persona_interp.schema.words import Effect

Row = Any
"""A row of ``DataFrame.itertuples``: one attribute a column."""


def only(table: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    """Rows that have these values.

    Args:
        table: Any table.
        equal: Value by column.

    Returns:
        The rows, in order.

    >>> table = pd.DataFrame({"arm": ["lesson", "filler lesson"], "lr": 0.1})
    >>> only(table, arm="lesson", lr=0.1).index.tolist()
    [0]
    """
    for column, value in equal.items():
        table = table.loc[table[column] == value]
    return table


def rows(table: pd.DataFrame) -> list[Row]:
    """Rows of a table, one named tuple each.

    Args:
        table: Any table.

    Returns:
        One named tuple a row.

    >>> rows(pd.DataFrame({"arm": ["lesson"]}))[0].arm
    'lesson'
    """
    return list(table.itertuples(index=False))


def has(tables: dict[str, pd.DataFrame], name: str) -> bool:
    """Whether there is such a table, with rows.

    Args:
        tables: Any tables.
        name: Of one.

    Returns:
        False where nothing was measured yet.

    >>> has({"causes": pd.DataFrame()}, "causes")
    False
    """
    return name in tables and not tables[name].empty


def effect(row: Row) -> Effect:
    """What the interval of a summary row says of its mean.

    Args:
        row: A row with ``estimate``, ``lo``, ``hi`` over seeds, and ``lo_topics``, ``hi_topics``
            for a single seed.

    Returns:
        A rise or a fall where the interval leaves out zero; unknown where there is no interval.
        With one seed the interval over topics decides.
    """
    low, high = _ends(row)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Effect.UNKNOWN
    if not excludes_zero(low, high):
        return Effect.NONE
    return Effect.RISE if low > 0 else Effect.FALL


def size(row: Row) -> str:
    """Estimate and interval of a summary row, in words.

    Args:
        row: As for ``effect``, with ``n_seeds`` and ``n_topics``.

    Returns:
        Estimate and interval (bits), saying over what it is.

    >>> row = {"estimate": 1.0, "lo": 0.5, "hi": 1.5, "n_seeds": 3, "n_topics": 4}
    >>> size(rows(pd.DataFrame([row]))[0])
    '+1.00 bits [+0.50, +1.50] (95 % t interval over 3 seeds)'
    """
    low, high = _ends(row)
    mean, interval = f"{row.estimate:+.2f} bits", f"[{low:+.2f}, {high:+.2f}]"
    seeds, topics = int(row.n_seeds), int(row.n_topics)
    if effect(row) == Effect.UNKNOWN:
        plural = "s" if seeds > 1 else ""
        return f"{mean} (n = {topics} topics, {seeds} seed{plural}: no interval exists)"
    if seeds > 1:
        return f"{mean} {interval} (95 % t interval over {seeds} seeds)"
    over = f"95 % t interval over {topics} topics; one seed, so none over seeds exists"
    return f"{mean} {interval} ({over})"


def decisive(summary: pd.DataFrame) -> pd.DataFrame:
    """Table whose interval is the one that sentences speak of, for a figure beside them.

    Args:
        summary: Rows as for ``effect``.

    Returns:
        The rows, with ``lo`` and ``hi`` over seeds, or within the seed where there is one.

    >>> row = {"lo": float("nan"), "hi": float("nan"), "lo_topics": 0.5, "hi_topics": 1.5}
    >>> decisive(pd.DataFrame([row | {"n_seeds": 1}]))[["lo", "hi"]].values.tolist()
    [[0.5, 1.5]]
    """
    ends = [_ends(row) for row in rows(summary)]
    return summary.assign(lo=[lo for lo, _ in ends], hi=[hi for _, hi in ends])


def _ends(row: Row) -> tuple[float, float]:
    """The interval that counts: over seeds, or over topics where there is one seed."""
    if row.n_seeds > 1:
        return row.lo, row.hi
    return row.lo_topics, row.hi_topics
