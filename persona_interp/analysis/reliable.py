"""How much more has to be written about somebody until the model reliably says what he would?

The probability of the first persona's values is fitted, seed by seed, by the curve that exact Bayes
itself follows when a speaker is one of two personas: ``P(x) = floor + (ceiling - floor) / (1 +
2^-(intercept + slope x))``, x the log2 ratio of what is written about both. Statements are noisy,
so nobody says his own value more often than ``ceiling = 1 - noise + noise / values`` or another's
less often than ``floor = noise / values``; exact Bayes has intercept 0, slope 1. "Reliably" means a
share (80 %) of that ceiling. The dose that reaches it is Fieller's ratio over the seeds' curves.
"""

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import least_squares

from persona_interp import schema
from persona_interp.analysis.dose import fieller
from persona_interp.analysis.stats import LEVEL
from persona_interp.errors import SchemaError
from persona_interp.values import as_tuple

SHARE = 0.8
"""Of the ceiling: what counts as reliable."""
BELOW, WITHIN, ABOVE = "below", "within", "above"
"""Where the dose lies, seen from the range of those measured."""

Array = npt.NDArray[np.float64]


def reliable_level(floor: float, ceiling: float, *, share: float = SHARE) -> tuple[float, float]:
    """The probability that counts as reliable, and exact Bayes's contrast there (bits).

    Args:
        floor: Least probability of a value that the noise allows.
        ceiling: Greatest.
        share: Of the ceiling.

    Returns:
        The probability (fraction), and log2 of it over the other persona's probability (bits) when
        the speaker is one of the two.

    >>> [round(x, 2) for x in reliable_level(0.0125, 0.9125)]
    [0.73, 1.9]
    """
    level = share * ceiling
    return level, float(np.log2(level) - np.log2(floor + ceiling - level))


def fit_curves(
    table: pd.DataFrame,
    *,
    floor: float,
    ceiling: float,
    x: str = "dose",
    y: str = "p_first",
    by: Iterable[str] = (),
) -> pd.DataFrame:
    """Intercept and slope of the curve that each seed follows.

    Args:
        table: One row a measurement, with ``seed``.
        floor: Least probability that the noise allows.
        ceiling: Greatest.
        x: Column of the dose (log2).
        y: Column of the probability.
        by: Columns that tell the groups apart.

    Returns:
        One row a group and seed: ``by``, ``seed``, ``intercept``, ``slope`` (least squares on the
        probability; log2 odds, and log2 odds per dose), ``rss`` (residual sum of squares), ``n``
        points.

    Raises:
        SchemaError: A column is missing, floor and ceiling are no range, or a seed has fewer than
            three doses.

    >>> dose = np.arange(-3, 4)
    >>> p = 0.1 + 0.8 / (1 + 2.0 ** -(dose - 1))
    >>> exact = pd.DataFrame({"seed": 0, "dose": dose, "p_first": p})
    >>> fit_curves(exact, floor=0.1, ceiling=0.9)[["intercept", "slope"]].round(3).values.tolist()
    [[-1.0, 1.0]]
    """
    by = list(as_tuple(by))
    schema.require(table, *by, "seed", x, y)
    if not 0 <= floor < ceiling <= 1:
        raise SchemaError(
            f"expected 0 <= floor < ceiling <= 1; got floor={floor:g}, ceiling={ceiling:g}."
        )
    rows = []
    for _, own in table.groupby([*by, "seed"], sort=False, dropna=False):
        dose, p = own[x].to_numpy(np.float64), own[y].to_numpy(np.float64)
        if len(set(dose)) < 3:
            raise SchemaError(
                f"a curve needs three doses; seed {own['seed'].iloc[0]} has {len(set(dose))}."
            )

        # On the scale of probabilities, not of log odds: near floor and ceiling the log odds of a
        # noisy point are infinite or undefined.
        def residual(line: Array, dose: Array = dose, p: Array = p) -> Array:
            return floor + (ceiling - floor) * _weight(line[0] + line[1] * dose) - p

        fit = least_squares(residual, x0=(0.0, 1.0))  # from the curve of exact Bayes
        row = own[[*by, "seed"]].iloc[0].to_dict()
        row |= {"intercept": fit.x[0], "slope": fit.x[1]}
        rows.append({**row, "rss": 2 * float(fit.cost), "n": len(own)})  # cost is half of the sum
    return pd.DataFrame(rows)


def reliable_dose(
    table: pd.DataFrame,
    *,
    floor: float,
    ceiling: float,
    share: float = SHARE,
    x: str = "dose",
    y: str = "p_first",
    by: Iterable[str] = (),
) -> pd.DataFrame:
    """Dose (log2) from which on the model says the first persona's values reliably.

    Args:
        table: One row a measurement, with ``seed``.
        floor: Least probability that the noise allows.
        ceiling: Greatest.
        share: Of the ceiling: what counts as reliable.
        x: Column of the dose (log2).
        y: Column of the probability.
        by: Columns that tell the groups apart.

    Returns:
        One row a group: ``by``, ``level`` (fraction), ``estimate`` (dose at which the mean curve
        reaches it, log2), ``lo``, ``hi`` (95 %, Fieller over seeds; -inf and inf where unbounded,
        NaN for one seed), ``bounded``, ``where`` ("within" the doses measured, "below" or "above"
        them: the level is reached before the least or not by the largest), ``most`` (the largest
        dose measured), ``n_seeds``.

    Raises:
        SchemaError: As ``fit_curves``.

    >>> dose = np.arange(-3, 4)
    >>> p = 0.1 + 0.8 / (1 + 2.0 ** -(dose - 1))
    >>> exact = pd.DataFrame({"seed": 0, "dose": dose, "p_first": p})
    >>> row = reliable_dose(exact, floor=0.1, ceiling=0.9, share=5 / 9)
    >>> row[["level", "estimate"]].round(3).values.tolist()
    [[0.5, 1.0]]
    """
    by, level = list(as_tuple(by)), share * ceiling
    if not floor < level < ceiling:
        raise SchemaError(
            f"{share:g} of the ceiling {ceiling:g} is not between the floor {floor:g} and the "
            "ceiling; share= is a fraction of it."
        )
    odds = np.log2(level - floor) - np.log2(ceiling - level)
    rows = []
    for group, fits, own in _groups(table, floor=floor, ceiling=ceiling, x=x, y=y, by=by):
        # The dose is a ratio of two means over seeds. The mean of the seeds' own ratios would be
        # ruled by the seed with the flattest curve; Fieller (1954) asks which ratios the means
        # allow, and says so where they allow all.
        dose = fieller(odds - fits["intercept"], fits["slope"])
        least, most = min(own[x]), max(own[x])
        falling = sum(fits["slope"]) <= 0  # then more of it never helps
        if falling or dose.estimate > most:
            where = ABOVE
        elif dose.estimate < least:
            where = BELOW
        else:
            where = WITHIN
        row = {**group, "level": level, **dose.row()}
        row |= {"bounded": bool(np.isfinite([dose.lo, dose.hi]).all()), "where": where}
        rows.append({**row, "most": most, "n_seeds": dose.n})
    return pd.DataFrame(rows)


def predict_curves(
    table: pd.DataFrame,
    doses: npt.ArrayLike,
    *,
    floor: float,
    ceiling: float,
    n_new: int = 1,
    x: str = "dose",
    y: str = "p_first",
    by: Iterable[str] = (),
) -> pd.DataFrame:
    """Prediction of what new training runs say at these doses, with its intervals.

    At each dose the curve of the mean intercept and slope is the prediction. Its variance, to first
    order on the scale of probabilities: the spread of the seeds' lines there, times ``1 / seeds + 1
    / n_new``, and the scatter of single points about their seed's curve over ``n_new``.

    Args:
        table: One row a measurement, with ``seed``.
        doses: Where to predict (log2).
        floor: Least probability that the noise allows.
        ceiling: Greatest.
        n_new: New seeds whose mean is predicted.
        x: Column of the dose (log2).
        y: Column of the probability.
        by: Columns that tell the groups apart.

    Returns:
        One row a group and dose: ``by``, x, ``estimate`` (fraction), ``lo``, ``hi`` (95 % interval
        of the mean curve over seeds), ``predicted_lo``, ``predicted_hi`` (95 % prediction interval
        of the mean of ``n_new`` seeds; both with t quantiles of seeds - 1 degrees of freedom,
        within 0..1, NaN for one seed), ``n_new``, ``n_seeds``.

    Raises:
        SchemaError: As ``fit_curves``, or no new seed.

    >>> dose = np.arange(-3, 4)
    >>> p = 0.1 + 0.8 / (1 + 2.0 ** -(dose - 1))
    >>> exact = pd.DataFrame({"seed": 0, "dose": dose, "p_first": p})
    >>> predict_curves(exact, [1.0], floor=0.1, ceiling=0.9)["estimate"].round(3).tolist()
    [0.5]
    """
    if n_new < 1:
        raise SchemaError(f"a prediction is of one new seed or more; got n_new={n_new}.")
    dose = np.asarray(doses, dtype=np.float64).ravel()
    parts = []
    for group, fits, _ in _groups(
        table, floor=floor, ceiling=ceiling, x=x, y=y, by=list(as_tuple(by))
    ):
        n = len(fits)
        intercept, slope = (fits[name].to_numpy()[:, None] for name in ("intercept", "slope"))
        lines = intercept + slope * dose  # dims (seed, dose)
        weight = _weight(lines.mean(axis=0))
        mean = floor + (ceiling - floor) * weight
        columns = {**group, x: dose, "estimate": mean}
        columns |= dict.fromkeys(("lo", "hi", "predicted_lo", "predicted_hi"), np.nan)
        if n > 1:
            # The delta method: the derivative of the curve turns a spread of log2 odds into one of
            # probabilities.
            steepness = (ceiling - floor) * np.log(2) * weight * (1 - weight)
            spread = (steepness * lines.std(axis=0, ddof=1)) ** 2
            # A seed's points scatter about its own curve; every curve has taken two of them.
            scatter = fits["rss"].sum() / max((fits["n"] - 2).sum(), 1)
            # New runs differ from the mean curve by its own error, by their curves and by their
            # points.
            variances = {
                "": spread / n,
                "predicted_": spread * (1 / n + 1 / n_new) + scatter / n_new,
            }
            t = stats.t.ppf(0.5 + LEVEL / 2, n - 1)
            for prefix, variance in variances.items():
                half = t * np.sqrt(variance)
                columns[f"{prefix}lo"] = np.clip(mean - half, 0, 1)
                columns[f"{prefix}hi"] = np.clip(mean + half, 0, 1)
        parts.append(pd.DataFrame({**columns, "n_new": n_new, "n_seeds": n}))
    return pd.concat(parts, ignore_index=True)


def _weight(odds: Array) -> Array:
    """Weight of the first persona, from its log2 odds; no overflow however far they are."""
    return np.exp2(-np.logaddexp2(0.0, -odds))


def _groups(
    table: pd.DataFrame, *, floor: float, ceiling: float, x: str, y: str, by: list[str]
) -> list[tuple[dict[Hashable, Any], pd.DataFrame, pd.DataFrame]]:
    """Names, curves of the seeds and rows of every group."""
    limits: dict[str, Any] = {"floor": floor, "ceiling": ceiling, "x": x, "y": y}
    schema.require(table, *by)
    if not by:
        return [({}, fit_curves(table, **limits), table)]
    groups = table.groupby(by, sort=False, dropna=False)
    return [(own[by].iloc[0].to_dict(), fit_curves(own, **limits), own) for _, own in groups]
