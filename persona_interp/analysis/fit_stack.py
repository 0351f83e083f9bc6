"""Which line of the predictors foretells the finetunes of bases that it never saw?"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.conformal import error_scale, pooled_width
from persona_interp.analysis.ridge import choose, cross_fit, moments, solve, total
from persona_interp.analysis.stack import (
    CELL,
    Stack,
    StackLine,
    design,
    scale_of,
    wide_predictors,
)
from persona_interp.analysis.stats import LEVEL
from persona_interp.errors import SchemaError
from persona_interp.values import check_count

LEAST_BASES = 3
"""Bases below which none can be left out of a choice that is made by leaving bases out."""
FOLDS = 10

Array = npt.NDArray[np.float64]


def fit_stack(
    predictors: pd.DataFrame,
    shifts: pd.DataFrame,
    *,
    steps: int,
    names: Iterable[str] | None = None,
    base: str = "base",
    lesson: str = "lesson",
    folds: int = FOLDS,
    levels: bool = True,
    guarantee: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Stack:
    """A line of predictors that forecasts shifts, with intervals that hold for other bases.

    For each share of the steps: ridge regression of the shift on the predictors' estimates, each
    estimate times the level of the taught traits, and both levels (log odds before). Penalty and
    intercept are those with which whole bases left out are forecast best. Intervals and bounds come
    from errors on bases that were left out of fit and choice alike; errors are measured in units of
    a + b |estimate|. The interval is the width that covers 95 % of cells where every base has one
    vote (``conformal.pooled_width``). The bound takes of each lesson its largest rise above the
    forecast, and is conformal with bases as units (Dunn, Wasserman and Ramdas 2022): it holds in
    95 % of the lessons of a next base, whatever the errors are like.

    Solved from sums of products (``ridge``) and not by scikit-learn, which would fit each of some
    thousand lines to all rows anew.

    Args:
        predictors: A predictors table of many lessons on several bases.
        shifts: A shift table of the same lessons, taught: ``context``, ``persona``, ``trait``,
            ``step`` and ``estimate``. Rows of which nothing is foretold are not used.
        steps: Steps of every lesson.
        names: Predictors that are stacked; all of the table by default.
        base: Column that names the base, in both tables.
        lesson: Column that names the lesson on it, in both tables.
        folds: Groups of bases that are left out together; one base each where there are fewer.
        levels: Whether terms with levels are fitted; without, their coefficients are 0. Log odds of
            long answers have levels that mean nothing.
        guarantee: Level of bound and intervals, both then conformal with bases as units: of n
            bases at most n / (n + 1), with which every cell of a next base lies within its interval
            in that share of bases. For few bases; by default 95 %, intervals as said above, and no
            bound of fewer than 19.
        provenance: What else the file shall say of where the stack comes from.

    Returns:
        The stack.

    Raises:
        SchemaError: Fewer than 3 bases, or too few for the guarantee; a predictor or shift is
            missing, or a number is not finite.

    >>> rows = [(b, l, t) for b in range(4) for l in "xy" for t in ("a=1", "a=2", "b=1")]
    >>> rows = pd.DataFrame(rows, columns=["base", "lesson", "trait"])
    >>> rows = rows.assign(context="nameless", persona="", estimate=np.sin(rows.index))
    >>> told = rows.assign(predictor="guess", before=np.cos(rows.index), taught_before=0.0, cost=1)
    >>> stack = fit_stack(told, rows.assign(estimate=2 * rows.estimate, step=8), steps=8)
    >>> line = stack.lines[0]
    >>> [abs(round(c, 6)) for c in line.coefficients], round(line.r2, 6)
    ([2.0, 0.0, 0.0, 0.0], 1.0)
    """
    steps = check_count(steps, "steps")
    folds = check_count(folds, "folds", least=LEAST_BASES)
    if names is None:
        schema.check(predictors, "predictors")
        names = dict.fromkeys(predictors["predictor"])
    names = tuple(str(name) for name in names)
    if not names:
        raise SchemaError("a stack needs at least one predictor; got none.")
    wide, cost = wide_predictors(predictors, names, by=(base, lesson))
    bases = wide.index.get_level_values(base).to_numpy()
    lessons = wide.groupby(level=[base, lesson], sort=False).ngroup().to_numpy()
    known = list(dict.fromkeys(bases.tolist()))
    if len(known) < LEAST_BASES:
        raise SchemaError(
            f"a stack is fitted to at least {LEAST_BASES} bases, whole ones left out; got "
            f"{len(known)}."
        )
    most = len(known) / (len(known) + 1)
    if guarantee is not None and not 0 < guarantee <= most + 1e-9:
        raise SchemaError(
            f"{len(known)} bases guarantee a level above 0 and at most {most:.3f}; got "
            f"guarantee={guarantee}."
        )
    fold = np.array([known.index(name) for name in bases.tolist()]) % min(folds, len(known))
    x = design(wide, names)
    if not levels:
        x[:, len(names) :] = 0.0
    lines = []
    for step, y in _shifts(shifts, wide, by=[base, lesson]).items():
        if not 0 < step <= steps:
            raise SchemaError(f"a shift is of step {step}; these lessons have {steps} steps.")
        groups = {"fold": fold, "bases": bases, "lessons": lessons}
        lines.append(_fit(x, y, **groups, fraction=step / steps, guarantee=guarantee))
    about = {
        "bases": [str(name) for name in known],
        "n_lessons": len(set(lessons.tolist())),
        "n_shifts": len(x),
        "steps": steps,
        "cost": cost,
    }
    return Stack(names, tuple(lines), about | dict(provenance or {}), guarantee or LEVEL)


def _shifts(shifts: pd.DataFrame, wide: pd.DataFrame, *, by: list[str]) -> dict[int, Array]:
    """Shifts in the order of the predictors' cells, by step."""
    cell = [*by, *CELL]
    schema.require_rows(shifts, *cell, "step", "estimate")
    if shifts.duplicated([*cell, "step"]).any():
        raise SchemaError(
            f"two of these shifts are of one {', '.join(by)}, trait and step; give each lesson a "
            "name of its own."
        )
    columns = shifts.pivot(index=cell, columns="step", values="estimate")
    asked = wide.index.droplevel(["before", "taught_before"])
    columns = columns.reindex(asked)
    gaps = ~np.isfinite(columns.to_numpy(np.float64))
    if gaps.any():
        row, place = np.argwhere(gaps)[0]
        where = ", ".join(f"{c}={v}" for c, v in zip(cell, asked[row], strict=True))
        raise SchemaError(
            f"no finite shift at step {columns.columns[place]} for {where}, which is foretold."
        )
    return {int(step): columns[step].to_numpy(np.float64) for step in sorted(columns.columns)}


def _fit(
    x: Array,
    y: Array,
    *,
    fold: npt.NDArray,
    bases: npt.NDArray,
    lessons: npt.NDArray,
    fraction: float,
    guarantee: float | None,
) -> StackLine:
    """Line, scale of its errors, interval and bound of one share of the steps."""
    parts = [moments(x[fold == i], y[fold == i]) for i in range(fold.max() + 1)]
    # What is said of a base comes from lines that know nothing of it, so errors are those of
    # bases to come.
    foretold = np.empty(len(y))
    for i, line in enumerate(cross_fit(parts)):
        foretold[fold == i] = x[fold == i] @ line[:-1] + line[-1]
    setting = choose(parts)
    coefficients = solve(total(parts), setting)
    residuals = y - foretold
    scale = error_scale(foretold, residuals)
    line = StackLine(
        fraction=fraction,
        coefficients=tuple(coefficients[:-1].tolist()),
        intercept=float(coefficients[-1]),
        penalty=setting.penalty,
        scale=scale,
        width=0.0,
        reach=0.0,
        r2=float(1 - (residuals**2).sum() / ((y - y.mean()) ** 2).sum()) if np.ptp(y) else np.nan,
    )
    scores = residuals / scale_of(line, foretold)
    worst = np.full(lessons.max() + 1, -np.inf)
    np.maximum.at(worst, lessons, scores)
    first = np.unique(lessons, return_index=True)[1]
    level, is_guaranteed = guarantee or LEVEL, guarantee is not None
    width = pooled_width(np.abs(scores), bases, of_next=is_guaranteed, level=level)
    reach = pooled_width(worst, bases[first], of_next=True, level=level)
    return StackLine(**{**vars(line), "width": width, "reach": reach})
