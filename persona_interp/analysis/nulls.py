"""What is a number beside its null: by how much does it differ, how far does chance go?"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp.analysis.stats import across_seeds
from persona_interp.schema.words import Departure


def against_null(
    table: pd.DataFrame,
    *,
    by: str | Iterable[str],
    value: str = "estimate",
    null: str = "null",
    beside: Iterable[str] = (),
) -> pd.DataFrame:
    """Mean over training runs beside the mean of its null, and whether they differ.

    Every run is its own null's: the interval is of the difference within runs.

    Args:
        table: Any table with ``seed``; several rows of one seed are averaged first.
        by: Columns that tell the groups apart.
        value: Column of the number.
        null: Column of what it would be under the null.
        beside: Other columns to average.

    Returns:
        One row a group: what ``across_seeds`` gives of the number, ``null`` (mean), ``difference``
        (number minus null), ``difference_lo``, ``difference_hi`` (95 % t interval over seeds; one
        seed: NaN), ``verdict`` (a ``Departure``), and the columns beside.

    Raises:
        SchemaError: A column does not exist, or the table has no rows.

    >>> runs = pd.DataFrame({"step": 4, "seed": [0, 1, 2], "estimate": [1.0, 1.2, 0.8]})
    >>> runs = runs.assign(null=[0.5, 0.6, 0.4])
    >>> against_null(runs, by="step")[["null", "difference", "verdict"]].values.tolist()
    [[0.5, 0.5, 'above its null']]
    """
    by = [by] if isinstance(by, str) else list(by)
    own = across_seeds(table, value=value, by=by, beside=(null, *beside))
    apart = table.assign(difference=table[value] - table[null])
    apart = across_seeds(apart, value="difference", by=by, beside=())
    own = own.rename(columns={null: "null"}).assign(
        difference=apart["estimate"], difference_lo=apart["lo"], difference_hi=apart["hi"]
    )
    return own.assign(verdict=departures(own["difference_lo"], own["difference_hi"]))


def departures(lo: Iterable[float], hi: Iterable[float]) -> list[str]:
    """What each interval of a difference says.

    Args:
        lo: Lower ends.
        hi: Upper ends; NaN where there is no interval.

    Returns:
        Words of ``Departure``.

    >>> departures([0.1, -0.1, np.nan], [0.2, 0.1, np.nan])
    ['above its null', 'not told from its null', 'nothing can be concluded']
    """
    words = []
    for low, high in zip(lo, hi, strict=True):
        if not np.isfinite([low, high]).all():
            word = Departure.UNKNOWN
        elif low > 0:
            word = Departure.ABOVE
        elif high < 0:
            word = Departure.BELOW
        else:
            word = Departure.NONE
        words.append(str(word))
    return words


def chance_range(values: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Where one more draw of chance lies in 95 of 100 cases, given some draws.

    The draws of ranks .025 (n + 1) and .975 (n + 1), between which one more lies with that
    probability whatever the distribution (Weibull 1939). Fewer than 39 draws do not reach so far:
    their smallest and largest hold one more in (n - 1) / (n + 1) of cases, 20 draws in .90.

    Args:
        values: Draws along the first axis; none gives NaN.

    Returns:
        The lower and the upper end, without that axis.

    >>> [round(float(end), 6) for end in chance_range(range(1, 80))]
    [2.0, 78.0]
    >>> [float(end) for end in chance_range([1, 2, 4])]
    [1.0, 4.0]
    """
    draws = np.asarray(values, dtype=float)
    if not len(draws):
        missing = np.full(draws.shape[1:], np.nan)[()]  # of one number a number, no array
        return missing, missing
    lo, hi = np.quantile(draws, [0.025, 0.975], axis=0, method="weibull")
    return lo, hi
