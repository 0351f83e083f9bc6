"""Does it matter who was written about last? Exact Bayes says no.

Two training runs see the same documents about two personas in the two orders. Their difference in
contrast is the recency index: 0 = order does not matter, positive = the later persona weighs more.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import t_interval
from persona_interp.errors import SchemaError, unknown
from persona_interp.values import as_tuple

FIRST_LAST, SECOND_LAST, MIXED = "first last", "second last", "mixed"
ORDERS = (SECOND_LAST, FIRST_LAST, MIXED)
"""Which persona of the contrast the later phase was about; mixed = both, in both phases."""


def recency(
    table: pd.DataFrame, *, by: Iterable[str] = (), value: str = "estimate"
) -> pd.DataFrame:
    """How much more the later persona weighs, the recency index (bits).

    Args:
        table: One row a seed and order, with ``seed``, ``order`` (one of ``ORDERS``) and ``value``,
            a contrast (bits; positive = the first persona). Several rows of one seed and order are
            averaged.
        by: Columns that tell the groups apart.
        value: Column of the contrast.

    Returns:
        A recency table, one row a group: ``by``, ``estimate`` (contrast with the first persona last
        minus contrast with the second last, mean over seeds; bits; positive = the later one weighs
        more), ``lo``, ``hi`` (95 % t interval over seeds; one seed: NaN), ``least`` (smallest among
        the seeds), ``mixed`` (mean contrast of the mixed order; NaN without one), ``n_seeds``.

    Raises:
        SchemaError: A column is missing, an order is unknown, or a seed lacks one of the two
            orders.

    >>> runs = pd.DataFrame({"seed": [0, 0, 1, 1], "order": ["first last", "second last"] * 2,
    ...                      "estimate": [2.0, -1.0, 3.0, -2.0]})
    >>> recency(runs)[["estimate", "least"]].values.tolist()
    [[4.0, 3.0]]
    """
    by = list(as_tuple(by))
    schema.require(table, *by, "seed", "order", value)
    if wrong := [name for name in dict.fromkeys(table["order"]) if name not in ORDERS]:
        raise SchemaError(unknown("order", str(wrong[0]), ORDERS))
    rows = []
    for _, own in table.groupby(by, sort=False, dropna=False) if by else [((), table)]:
        wide = own.pivot_table(index="seed", columns="order", values=value, sort=False)
        wide = wide.reindex(columns=list(ORDERS))
        # Both orders of a seed are the same documents, so their difference is taken within it.
        difference = (wide[FIRST_LAST] - wide[SECOND_LAST]).to_numpy()
        if np.isnan(difference).any():
            seed = wide.index[int(np.isnan(difference).argmax())]
            raise SchemaError(
                f"a recency index needs both orders of every seed; seed {seed} lacks one of them."
            )
        interval = t_interval(difference)
        row = {**own[by].iloc[0].to_dict(), **interval.row(), "least": min(difference)}
        rows.append({**row, "mixed": wide[MIXED].mean(), "n_seeds": interval.n})
    return schema.check(pd.DataFrame(rows), "recency")
