"""What do all figures ask of a table? Its columns, its distinct values, the range of a number."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.plots.labels import cut

FEW = 3
"""Names that a sentence lists."""
LONGEST = 30
"""Characters of such a name."""


def distinct(values: Iterable[Any]) -> list[Any]:
    """Distinct values, in the order in which they first occur.

    Args:
        values: Any values.

    Returns:
        Each once.

    >>> distinct(["b", "a", "b"])
    ['b', 'a']
    """
    return list(dict.fromkeys(values))


def span(numbers: Iterable[Any], *, write: Callable[[Any], str] = str) -> str:
    """Smallest and largest of some numbers, in words; one number where they are equal; no NaN.

    Args:
        numbers: At least one.
        write: How a number is written.

    Returns:
        Text for a caption.

    >>> span([3, 5, 4]), span([3, 3])
    ('3 to 5', '3')
    """
    known = [number for number in numbers if number == number]  # NaN equals nothing
    if not known:
        return "unknown"
    return " to ".join(write(number) for number in distinct((min(known), max(known))))


def missing(table: pd.DataFrame, *columns: str, names: str) -> str:
    """What a note says of numbers that do not exist and so are not drawn.

    Args:
        table: Any table.
        columns: Numbers that are drawn.
        names: Column that names a row.

    Returns:
        A sentence; "" where all exist.

    >>> missing(pd.DataFrame({"x": [1.0, float("nan")], "who": ["a", "b"]}), "x", names="who")
    'Not drawn: 1 of 2 values is missing (NaN): b.'
    """
    absent = table[list(columns)].isna().to_numpy()
    n = int(absent.sum())
    if not n:
        return ""
    who = distinct(str(name) for name in table.loc[absent.any(axis=1), names])
    few = ", ".join(cut(name, LONGEST) for name in who[:FEW])
    more = f" and {len(who) - FEW} more" if len(who) > FEW else ""
    verb = "is" if n == 1 else "are"
    return f"Not drawn: {n} of {absent.size} values {verb} missing (NaN): {few}{more}."


def excludes_zero(lo: npt.ArrayLike, hi: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether intervals leave out 0: what puts a dot into a cell and "rose" into a sentence.

    Args:
        lo: Lower ends; NaN or infinite where there is no interval.
        hi: Upper ends.

    Returns:
        True where both ends are numbers on one side of 0; dims as given.

    >>> excludes_zero([0.5, -1.0, 0.0, float("nan")], [1.0, -0.5, 1.0, 2.0]).tolist()
    [True, True, False, False]
    """
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
    return np.isfinite(lo) & np.isfinite(hi) & ((lo > 0) | (hi < 0))
