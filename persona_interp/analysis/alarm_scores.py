"""How often is an alarm right about what will move too far? AUROC, false alarms and misses."""

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.auroc import auroc
from persona_interp.analysis.stats import cluster_interval
from persona_interp.errors import SchemaError

NEEDED = ("predictor", "estimate", "actual", "bound")


def alarm_scores(forecasts: pd.DataFrame, *, by: str = "base") -> pd.DataFrame:
    """AUROC, false alarms and misses of forecasts of what moves beyond a bound.

    A trait is positive where it ends beyond the bound, up or down: the largest shift that finetunes
    on nothing gave. An alarm rings where it is forecast beyond the bound.

    Args:
        forecasts: One row a predictor, lesson and untaught trait: ``predictor``, ``estimate`` (the
            forecast), ``actual`` (the shift at the end), ``bound`` (of its base), all bits, and
            ``by``.
        by: Column of the independent units: bases, whose lessons share a model.

    Returns:
        One row a predictor and score: ``auroc`` of the size of the forecast, relative to the bound
        (interval of ``auroc`` by clusters), ``false_alarms`` (share of the traits within the bound
        that were forecast beyond it) and ``misses`` (share of those beyond it that were not), with
        the interval of ``cluster_interval`` over units: ``estimate``, ``lo``, ``hi``, ``n`` units,
        ``n_positive`` and ``n_negative`` traits.

    Raises:
        SchemaError: A column is missing, a bound is not above 0, or nothing is of both kinds.

    >>> rows = pd.DataFrame({"base": [0, 0, 1, 1], "predictor": "line", "bound": 0.5})
    >>> rows = rows.assign(estimate=[0.1, 2.0, 0.7, -3.0], actual=[0.2, 1.0, 0.3, -2.0])
    >>> alarm_scores(rows)[["score", "estimate", "n_positive"]].values.tolist()
    [['auroc', 1.0, 2], ['false_alarms', 0.5, 2], ['misses', 0.0, 2]]
    """
    schema.require(forecasts, *NEEDED, by)
    if not (forecasts["bound"].to_numpy() > 0).all():
        raise SchemaError("a bound is the largest shift of some null finetune, above 0 bits.")
    table = []
    for predictor, rows in forecasts.groupby("predictor", sort=False):
        bound = rows["bound"].to_numpy()
        said, moved = (np.abs(rows[c].to_numpy()) / bound for c in ("estimate", "actual"))
        rings, positive = said > 1, moved > 1
        if positive.all() or not positive.any():
            raise SchemaError(
                f"an AUROC needs traits that end beyond the bound and others; of the "
                f"{len(rows)} of '{predictor}' {int(positive.sum())} do."
            )
        units = rows[by].to_numpy()
        scores = {
            "auroc": auroc(said, positive, clusters=units),
            "false_alarms": cluster_interval(rings[~positive], units[~positive]),
            "misses": cluster_interval(~rings[positive], units[positive]),
        }
        for score, interval in scores.items():
            row = {"predictor": predictor, "score": score, **interval.row(), "n": interval.n}
            row |= {"n_positive": int(positive.sum()), "n_negative": int((~positive).sum())}
            table.append(row)
    return pd.DataFrame(table)
