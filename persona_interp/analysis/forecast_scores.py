"""How good were the forecasts, once the finetunes were done? Bases are the unit of chance."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import LEVEL, Interval, cluster_interval, jackknife
from persona_interp.errors import SchemaError
from persona_interp.schema.words import ForecastScore
from persona_interp.values import as_tuple

CELL = ("context", "persona", "trait")
NUMBERS = ("estimate", "lo", "hi", "bound")
TOP = 3
"""Traits expected to rise most, of which one should be the one that does."""
N_BOOT = 2_000

Array = npt.NDArray[np.float64]
Score = Callable[[pd.DataFrame], float]


def forecast_scores(
    forecast: pd.DataFrame,
    shifts: pd.DataFrame,
    *,
    base: str = "base",
    lesson: str = "lesson",
    by: str | Iterable[str] = (),
) -> pd.DataFrame:
    """How far forecasts agree with what the finetunes did, with intervals over bases.

    R2 is 1 minus the squared errors over the squared distances of the shifts from their own mean:
    a forecast of one number for all traits, the best there is, has 0. The mean is that of all
    shifts that are scored; of one lesson's R2, that of the lesson.

    Args:
        forecast: A forecast table. Columns lo, hi and bound may be missing: a single predictor has
            none, and gets no scores for them.
        shifts: A shift table of the same lessons: ``context``, ``persona``, ``trait``, ``step`` and
            ``estimate``. Rows of which nothing is forecast are not used.
        base: Column that names the base, in both tables.
        lesson: Column that names the lesson on it, in both tables.
        by: Columns of the forecast whose values are scored apart (predictor, variant).

    Returns:
        A forecast_scores table, one row a group, step and ``score``: "R2", "R2, worst lesson" (the
        least among lessons), "slope of shifts on forecasts" (through 0), "largest riser in the top
        3" (share of lessons whose trait that rises most is among the 3 expected to), "within the
        interval" (share of shifts), "below the bound" (share of lessons of which every shift is),
        "bound over largest rise" (the highest bound of a lesson over its largest rise, median of
        the lessons in which anything rises). ``estimate`` with ``lo``, ``hi`` (95 % over bases:
        jackknife of R2 and slope, clusters of shares, percentile bootstrap of the median; NaN of
        the worst lesson, and of one base), ``n`` (shifts, or lessons), ``n_bases``.

    Raises:
        SchemaError: A column is missing, a forecast has no shift, or two rows are one cell.

    >>> rows = pd.DataFrame({"base": [0, 0, 1, 1], "trait": ["a", "b"] * 2, "lesson": "x"})
    >>> rows = rows.assign(context="nameless", persona="", step=8, estimate=[1.0, 0.0, 2.0, 0.0])
    >>> scores = forecast_scores(rows.assign(estimate=rows["estimate"] / 2), rows)
    >>> scores[["score", "estimate"]].round(3).values.tolist()[:2]
    [['R2', 0.545], ['R2, worst lesson', 0.5]]
    """
    by = list(as_tuple(by))
    rows = _matched(forecast, shifts, cell=[*by, base, lesson, *CELL, "step"], by=by)
    # a frame's own names, so that a user's columns cannot be taken for ours
    rows = rows.assign(_base=rows[base], _lesson=rows.groupby([base, lesson]).ngroup())
    parts = []
    for _, group in rows.groupby([*by, "step"], sort=False, dropna=False):
        head = group[[*by, "step"]].iloc[0].to_dict()
        scores = pd.DataFrame([{**head, **score} for score in _scores(group)])
        parts.append(scores)
    table = pd.concat(parts, ignore_index=True)
    return schema.check(table[[*by, *schema.TABLES["forecast_scores"]]], "forecast_scores")


def _matched(
    forecast: pd.DataFrame, shifts: pd.DataFrame, *, cell: list[str], by: list[str]
) -> pd.DataFrame:
    """Forecasts, each with its shift in the column ``actual``."""
    schema.require_rows(forecast, *cell, "estimate")
    # what tells predictors apart is no matter of the finetune
    of_shift = [column for column in cell if column not in by or column in shifts]
    schema.require_rows(shifts, *of_shift, "estimate")
    for table, columns, name in ((forecast, cell, "forecasts"), (shifts, of_shift, "shifts")):
        if table.duplicated(columns).any():
            raise SchemaError(
                f"two of these {name} are of one {', '.join(columns)}; name what tells them apart."
            )
    numbers = [c for c in NUMBERS if c in forecast]
    actual = shifts[of_shift].assign(actual=shifts["estimate"])
    rows = forecast[[*cell, *numbers]].merge(actual, on=of_shift, how="left")
    is_bad = ~np.isfinite(rows[["estimate", "actual"]].to_numpy(np.float64)).all(axis=1)
    if is_bad.any():
        where = ", ".join(f"{c}={rows.loc[is_bad, c].iloc[0]}" for c in cell)
        raise SchemaError(f"no finite shift, or no finite forecast, for {where}.")
    return rows


def _scores(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Every score of the rows of one group and step."""
    base = rows["_base"].to_numpy()
    lessons = [lesson for _, lesson in rows.groupby("_lesson", sort=False)]
    of_lesson = np.array([lesson["_base"].iloc[0] for lesson in lessons])
    n_bases, n_lessons = len(set(base.tolist())), len(lessons)
    worst = min(map(_r2, lessons))
    found = [
        (ForecastScore.R_SQUARED, _left_out(rows, _r2), len(rows)),
        (ForecastScore.WORST, _without_ends(worst, n_bases), n_lessons),
        (ForecastScore.SLOPE, _left_out(rows, _slope), len(rows)),
        (ForecastScore.RISER, cluster_interval([*map(_foresees, lessons)], of_lesson), n_lessons),
    ]
    if {"lo", "hi"} <= set(rows):
        inside = (rows["lo"] <= rows["actual"]) & (rows["actual"] <= rows["hi"])
        found.append((ForecastScore.COVERED, cluster_interval(inside, base), len(rows)))
    if "bound" in rows:
        holds = [bool(np.all(lesson["actual"] <= lesson["bound"])) for lesson in lessons]
        found.append((ForecastScore.BOUNDED, cluster_interval(holds, of_lesson), n_lessons))
        slack = np.array([_slack(lesson) for lesson in lessons])
        rises = ~np.isnan(slack)
        found.append((ForecastScore.SLACK, _median(slack[rises], of_lesson[rises]), rises.sum()))
    return [
        {"score": str(score), **interval.row(), "n": int(n), "n_bases": n_bases}
        for score, interval, n in found
    ]


def _r2(rows: pd.DataFrame) -> float:
    actual = rows["actual"].to_numpy(np.float64)
    errors = ((actual - rows["estimate"].to_numpy(np.float64)) ** 2).sum()
    around = ((actual - actual.mean()) ** 2).sum()
    return float(1 - errors / around) if around > 0 else float("nan")


def _slope(rows: pd.DataFrame) -> float:
    estimate, actual = (rows[c].to_numpy(np.float64) for c in ("estimate", "actual"))
    size = estimate @ estimate
    return float(estimate @ actual / size) if size > 0 else float("nan")


def _foresees(lesson: pd.DataFrame) -> bool:
    """Whether the trait that rises most is among those expected to."""
    riser = lesson["actual"].to_numpy().argmax()
    expected = lesson["estimate"].to_numpy()
    return bool((expected > expected[riser]).sum() < TOP)


def _slack(lesson: pd.DataFrame) -> float:
    """Highest bound over the largest rise; NaN where nothing rises."""
    rise, bound = (lesson[c].to_numpy(np.float64).max() for c in ("actual", "bound"))
    return float(bound / rise) if rise > 0 else float("nan")


def _without_ends(score: float, n: int) -> Interval:
    """A score that has no interval."""
    estimate, none = np.array(score), np.array(np.nan)
    return Interval(estimate, none, none, n)


def _left_out(rows: pd.DataFrame, score: Score) -> Interval:
    """Score of all rows, and its jackknife over bases."""
    bases = rows["_base"].to_numpy()
    names = list(dict.fromkeys(bases.tolist()))
    left_out = []
    if len(names) > 1:
        left_out = [score(rows.loc[bases != name]) for name in names]
    return jackknife(score(rows), left_out)


def _median(values: Array, bases: npt.NDArray) -> Interval:
    """Median, and its percentile bootstrap over bases: the jackknife fails for medians."""
    names = list(dict.fromkeys(bases.tolist()))
    groups = [values[bases == name] for name in names]
    middle = float(np.median(values)) if len(values) else float("nan")
    if len(names) > 1:
        draws = np.random.default_rng(0).integers(len(names), size=(N_BOOT, len(names)))
        medians = [np.median(np.concatenate([groups[i] for i in draw])) for draw in draws]
        tail = (1 - LEVEL) / 2
        lo, hi = (np.quantile(medians, q, method="nearest") for q in (tail, 1 - tail))
        return Interval(np.array(middle), np.array(lo), np.array(hi), len(names))
    return _without_ends(middle, len(names))
