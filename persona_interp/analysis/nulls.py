"""By how much does a number differ from its null, where both were measured on the same runs?"""

from collections.abc import Iterable

import numpy as np
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
