"""How steeply does a model follow the dose, and which dose is enough?

A dose is a number on a log2 scale (how many times more is written about John than about
Sam); every seed gives a whole curve. The unit of chance is the seed: its points share one
model's luck, so a line is fitted in each seed and intervals are over those lines, never
over points. A dose that reaches a level is a ratio of two means over seeds, (level -
intercept) / slope, so its interval is Fieller's; where the slope may be zero that interval
is unbounded, and says so by infinite ends.
"""

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from persona_interp import schema
from persona_interp.analysis.stats import LEVEL, Interval, t_interval
from persona_interp.errors import SchemaError
from persona_interp.values import as_tuple

Array = npt.NDArray[np.float64]


def fieller(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> Interval:
    """Ratio of two means and its 95 % interval, of units that give one value of each.

    The interval is the set of ratios r for which a paired t test does not reject ``mean(numerator -
    r * denominator) = 0``, n - 1 degrees of freedom (Fieller 1954; exact for normal pairs). Where
    the mean denominator is not itself different from 0, that set is unbounded.

    Args:
        numerators: One value a unit (seed).
        denominators: One value a unit, in the same order.

    Returns:
        Ratio of the means and its 95 % interval: -inf and inf where it is unbounded, NaN for a
        single unit.

    Raises:
        SchemaError: There are no values, or not equally many.

    >>> ratio, lo, hi, n = fieller([2.0, 2.5, 1.5], [1.0, 1.1, 0.9])
    >>> round(float(ratio), 2), round(float(lo), 2), round(float(hi), 2), n
    (2.0, 1.01, 2.6, 3)
    >>> [float(end) for end in fieller([2.0, 2.5, 1.5], [1.0, -1.0, 0.5])[1:3]]
    [-inf, inf]
    """
    u, b = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if not u.size or u.shape != b.shape:
        raise SchemaError(
            f"a ratio needs one numerator and one denominator a unit; got {u.size} and {b.size}."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Any = u.mean() / b.mean()
    lo, hi = _fieller_bounds(u, b)
    return Interval(ratio, lo, hi, len(u))


def _fieller_bounds(u: Array, b: Array) -> tuple[Any, Any]:
    """Lower and upper end of Fieller's interval for mean(u) / mean(b)."""
    n = len(u)
    if n < 2 or not np.isfinite([u, b]).all():
        return np.float64(np.nan), np.float64(np.nan)
    # A ratio r is in the interval if the t test does not reject mean(u - r b) = 0, that is
    # if (mean u - r mean b)^2 <= t^2 (var u - 2 r cov + r^2 var b), variances of the means.
    # Sorted by powers of r: square r^2 - 2 linear r + constant <= 0.
    t2 = stats.t.ppf(0.5 + LEVEL / 2, n - 1) ** 2
    var_u, cov, _, var_b = np.cov(u, b).ravel() / n
    square = b.mean() ** 2 - t2 * var_b
    linear = u.mean() * b.mean() - t2 * cov
    constant = u.mean() ** 2 - t2 * var_u
    if not square > 0:
        # The denominator may be 0, and then the ratio may be anything. The set may leave
        # out a gap in the middle; the interval around it does not.
        return np.float64(-np.inf), np.float64(np.inf)
    half = np.sqrt(max(linear**2 - square * constant, 0.0))
    return (linear - half) / square, (linear + half) / square


def fit_lines(
    table: pd.DataFrame, *, x: str, y: str = "estimate", by: Iterable[str] = ()
) -> pd.DataFrame:
    """Straight line of least squares in each seed.

    Args:
        table: One row a measurement, with ``seed``.
        x: Column on the horizontal axis.
        y: Column on the vertical axis.
        by: Columns that tell the groups apart.

    Returns:
        One row a group and seed: ``by``, ``seed``, ``intercept``, ``slope`` (least squares), ``n``
        points.

    Raises:
        SchemaError: A column is missing, or a seed has fewer than two different x.

    >>> table = pd.DataFrame({"seed": 0, "dose": [-1, 0, 1], "estimate": [0.0, 1.0, 2.0]})
    >>> fit_lines(table, x="dose").round(2)
       seed  intercept  slope  n
    0     0        1.0    1.0  3
    """
    by = list(as_tuple(by))
    schema.require_rows(table, *by, "seed", x, y)
    rows = []
    for _, own in table.groupby([*by, "seed"], sort=False, dropna=False):
        at, value = own[x].to_numpy(np.float64), own[y].to_numpy(np.float64)
        if len(set(at)) < 2:
            raise SchemaError(
                f"a line needs two different {x}; seed {own['seed'].iloc[0]} has {len(set(at))}."
            )
        away = at - at.mean()
        slope = float(away @ value / (away @ away))
        group = {column: own[column].iloc[0] for column in (*by, "seed")}
        intercept = float(value.mean() - slope * at.mean())
        rows.append({**group, "intercept": intercept, "slope": slope, "n": len(own)})
    return pd.DataFrame(rows)


def slopes(
    table: pd.DataFrame, *, x: str, y: str = "estimate", by: Iterable[str] = ()
) -> pd.DataFrame:
    """Mean slope of y in x over training runs, and its interval.

    Args:
        table: One row a measurement, with ``seed``.
        x: Column on the horizontal axis: what exact Bayes expects, or the dose.
        y: Column on the vertical axis.
        by: Columns that tell the groups apart.

    Returns:
        One row a group: ``by``, ``estimate`` (mean over seeds of each seed's slope; y
        per x), ``lo``, ``hi`` (95 % t interval over seeds; one seed: NaN; where seeds are skewed it
        covers .85 to .93),
        ``intercept`` (mean over seeds), ``r2`` (squared correlation of all points
        together), ``n`` points, ``n_seeds``.

    Raises:
        SchemaError: A column is missing, or a seed has fewer than two different x.

    >>> table = pd.DataFrame({"seed": [0, 0, 1, 1], "bayes": [0.0, 1.0] * 2})
    >>> lines = slopes(table.assign(estimate=[0.0, 1.0, 0.0, 2.0]), x="bayes")
    >>> lines[["estimate", "n", "n_seeds"]].round(3).values.tolist()
    [[1.5, 4.0, 2.0]]
    """
    by = list(as_tuple(by))
    rows = []
    for group, fits, own in _groups(table, x=x, y=y, by=by):
        # The seed is the unit of chance: points of one seed share its luck, so an interval
        # over points would be too narrow.
        estimate, lo, hi, n = t_interval(fits["slope"])
        at, value = own[x].to_numpy(np.float64), own[y].to_numpy(np.float64)
        varies = at.std() and value.std()
        row = {**group, "estimate": float(estimate), "lo": float(lo), "hi": float(hi)}
        row["intercept"] = fits["intercept"].mean()
        row["r2"] = float(np.corrcoef(at, value)[0, 1] ** 2) if varies else np.nan
        rows.append({**row, "n": len(own), "n_seeds": n})
    return pd.DataFrame(rows)


def ed50(
    table: pd.DataFrame,
    *,
    level: float = 0.0,
    x: str = "dose",
    y: str = "estimate",
    by: Iterable[str] = (),
) -> pd.DataFrame:
    """Dose at which the mean line reaches a level, with Fieller's interval.

    Args:
        table: One row a measurement, with ``seed``.
        level: Value of y to reach; 0 bits = the model is undecided, half of the way.
        x: Column of the dose (log2).
        y: Column that follows it, on a straight line.
        by: Columns that tell the groups apart.

    Returns:
        One row a group: ``by``, ``level``, ``estimate`` (dose at which the mean line
        reaches the level), ``lo``, ``hi`` (95 %, Fieller over seeds; -inf and inf where
        unbounded, NaN for one seed; .88 to .92 are covered where seeds are skewed), ``bounded``,
        ``n_seeds``.

    Raises:
        SchemaError: A column is missing, or a seed has fewer than two different x.

    >>> table = pd.DataFrame({"seed": [0, 0, 1, 1], "dose": [0, 1] * 2})
    >>> table = table.assign(estimate=[-1.0, 0.0, -1.0, 1.0])  # mean line: -1 + 1.5 dose
    >>> round(ed50(table)["estimate"].item(), 3)
    0.667
    """
    rows = []
    for group, fits, _ in _groups(table, x=x, y=y, by=list(as_tuple(by))):
        dose, lo, hi, n = fieller(level - fits["intercept"], fits["slope"])
        row = {**group, "level": level, "estimate": float(dose), "lo": float(lo), "hi": float(hi)}
        row["bounded"] = bool(np.isfinite([lo, hi]).all())
        rows.append({**row, "n_seeds": n})
    return pd.DataFrame(rows)


def _groups(
    table: pd.DataFrame, *, x: str, y: str, by: list[str]
) -> list[tuple[dict[Hashable, Any], pd.DataFrame, pd.DataFrame]]:
    """Values of ``by``, lines of the seeds and rows of every group."""
    if not by:
        return [({}, fit_lines(table, x=x, y=y), table)]
    schema.require_rows(table, *by)
    groups = table.groupby(by, sort=False, dropna=False)
    return [(own[by].iloc[0].to_dict(), fit_lines(own, x=x, y=y), own) for _, own in groups]
