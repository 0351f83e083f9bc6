"""What do all predictors together foretell, how sure is that, and what is the worst case?

A line of the predictors, fitted to finetunes of other bases (``fit_stack``), kept in a JSON file
with where it comes from. It needs nothing of the finetune that it forecasts.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.analysis.stats import LEVEL
from persona_interp.errors import SchemaError, unknown
from persona_interp.files import read_object, write_text
from persona_interp.values import as_tuple, check_count

CELL = ("context", "persona", "trait")
LEVELS = ("before", "taught_before")
UNBOUNDED = {"reach": math.inf, "r2": math.nan}
"""Numbers of a line that may be none: what they are then."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StackLine:
    """What is fitted to the shifts after one share of a lesson's steps.

    Attributes:
        fraction: Step over all steps of the lesson.
        coefficients: One a term of ``stack_terms``.
        intercept: Bits; 0 where bases left out are forecast better without.
        penalty: Of the ridge regression, chosen on bases left out.
        scale: a and b: errors are about a + b |estimate| bits.
        width: Half of an interval, over that scale.
        reach: From forecast to bound, over that scale; inf where bases are too few.
        r2: Share of the shifts' variance that is foretold of bases left out; NaN without variance.
    """

    fraction: float
    coefficients: tuple[float, ...]
    intercept: float
    penalty: float
    scale: tuple[float, float]
    width: float
    reach: float
    r2: float


@dataclass(frozen=True)
class Stack:
    """A fitted line of predictors, with intervals: it forecasts the finetunes of any base.

    Attributes:
        names: Predictors that it needs, in order.
        lines: One a share of the steps, in order.
        provenance: What it was fitted to: bases, lessons, and whatever was said of it.
        level: What intervals and bounds promise (fraction of cells, and of lessons).
    """

    names: tuple[str, ...]
    lines: tuple[StackLine, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    level: float = LEVEL

    def predict(
        self,
        predictors: pd.DataFrame,
        *,
        steps: int,
        at: Iterable[int] | None = None,
        by: str | Iterable[str] = (),
    ) -> pd.DataFrame:
        """Forecast of every trait that a lesson does not teach.

        Args:
            predictors: A predictors table; of predictors that the stack does not know nothing is
                read.
            steps: Steps of the lesson.
            at: Steps that are forecast; by default those of the stack's own fractions. Between two
                fractions, and between 0 and the first, forecasts lie on a straight line.
            by: Columns that tell lessons apart, where there are several.

        Returns:
            A forecast table, one row a lesson, context, persona, trait and step: ``estimate``,
            ``lo``, ``hi`` (a new base as the unit of chance), ``bound`` (what the shifts of all
            traits of a lesson stay below together, each its own; inf where the stack saw too few
            bases). ``attrs["level"]`` is the share of shifts within their interval, and of lessons
            below their bounds, that the stack promises: .95 unless it was fitted to few bases.
            ``attrs["cost"]`` is what its predictors cost of the dearest lesson, in steps of it.

        Raises:
            SchemaError: A predictor is missing, in all or in one cell, a number is not finite, or a
                step is none of the lesson's.
        """
        wide, cost = wide_predictors(predictors, self.names, by=by)
        x = design(wide, self.names)
        steps = check_count(steps, "steps")
        points = self._points(steps, at)
        grid = [0.0, *(line.fraction for line in self.lines)]
        numbers = [np.zeros((3, len(x))), *(_numbers(line, x) for line in self.lines)]
        parts = []
        for step in points:
            # numbers of the two neighbors, by how near they are
            place = step / steps
            i = int(np.clip(np.searchsorted(grid, place), 1, len(grid) - 1))
            weight = (place - grid[i - 1]) / (grid[i] - grid[i - 1])
            beside = (1 - weight) * numbers[i - 1] if weight < 1 else 0.0  # 0 x inf is no number
            estimate, half, reach = beside + weight * numbers[i]
            part = wide.index.to_frame(index=False).assign(step=step, estimate=estimate)
            parts.append(
                part.assign(lo=estimate - half, hi=estimate + half, bound=estimate + reach)
            )
        table = pd.concat(parts, ignore_index=True).drop(columns=list(LEVELS))
        table.attrs |= {"cost": cost, "level": self.level}
        return schema.check(table, "forecast")

    def to_json(self, path: str | Path) -> Path:
        """Write the stack to a JSON file, whole or not at all.

        Args:
            path: The file; an existing one is replaced.

        Returns:
            The path.

        Raises:
            SchemaError: The provenance holds something that JSON does not.
        """
        lines = []
        for line in self.lines:
            entry = asdict(line)
            entry["coefficients"] = dict(
                zip(stack_terms(self.names), line.coefficients, strict=True)
            )
            # JSON has neither inf nor NaN
            for key in UNBOUNDED:
                entry[key] = entry[key] if math.isfinite(entry[key]) else None
            lines.append(entry)
        value = {"names": self.names, "level": self.level, "lines": lines}
        value["provenance"] = dict(self.provenance)
        try:
            text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as cause:
            raise SchemaError(
                f"the provenance of a stack is texts, numbers, lists and dicts; {cause}."
            ) from cause
        return write_text(text + "\n", path)

    @classmethod
    def from_json(cls, path: str | Path) -> "Stack":
        """Stack that a JSON file holds.

        Args:
            path: A file of ``to_json``.

        Returns:
            The stack, equal to the one that was written.

        Raises:
            SchemaError: The file cannot be read, or holds no stack.
        """
        value = read_object(path)
        try:
            names = tuple(str(name) for name in value["names"])
            lines = tuple(_line(entry, names) for entry in value["lines"])
            # the first stacks had one level, and did not say it
            level = float(value.get("level", LEVEL))
            stack = cls(names, lines, dict(value["provenance"]), level)
        except (KeyError, TypeError, ValueError) as cause:
            raise SchemaError(
                f"{path} holds no stack as Stack.to_json writes it: {cause!r}. Write it anew."
            ) from cause
        if not 0 < level < 1:
            raise SchemaError(f"{path}: level is a fraction between 0 and 1; got {level}.")
        fractions = [line.fraction for line in lines]
        if not lines or fractions != sorted(set(fractions)) or fractions[0] <= 0:
            raise SchemaError(
                f"{path}: fractions of the steps rise from above 0; got {fractions or 'none'}."
            )
        return stack

    def _points(self, steps: int, at: Iterable[int] | None) -> list[int]:
        """Steps that are forecast."""
        if at is None:
            of_fractions = [max(1, round(line.fraction * steps)) for line in self.lines]
            last = math.floor(self.lines[-1].fraction * steps + 1e-9)
            return sorted({min(step, max(last, 1)) for step in of_fractions})
        points = [check_count(step, "at") for step in dict.fromkeys(at)]
        last = self.lines[-1].fraction * steps
        for step in points:
            if step > last + 1e-9:
                raise SchemaError(
                    f"step {step} is beyond what this stack forecasts of {steps} steps: at most "
                    f"{math.floor(last + 1e-9)}."
                )
        return points


def stack_terms(names: Iterable[str]) -> list[str]:
    """Names of the terms of a stack.

    Args:
        names: Its predictors.

    Returns:
        The predictors; each times the taught traits' level; both levels.

    >>> stack_terms(["pilot"])
    ['pilot', 'pilot x taught level', 'level', 'taught level']
    """
    names = list(names)
    return [*names, *(f"{name} x taught level" for name in names), "level", "taught level"]


def design(wide: pd.DataFrame, names: Iterable[str]) -> Array:
    """Terms of a stack, dims (cell, term).

    What a predictor says counts for less where the base says the taught value already: there is
    little left to learn. So each stands there once more, times the taught traits' level.

    Args:
        wide: As of ``wide_predictors``.
        names: Predictors.

    Returns:
        Numbers in the order of ``stack_terms``.
    """
    estimates = wide[list(names)].to_numpy(np.float64)
    level, taught = (wide.index.get_level_values(c).to_numpy(np.float64) for c in LEVELS)
    return np.column_stack([estimates, estimates * taught[:, None], level, taught])


def wide_predictors(
    predictors: pd.DataFrame, names: Iterable[str], *, by: str | Iterable[str] = ()
) -> tuple[pd.DataFrame, float]:
    """Estimates of these predictors beside each other, and what they cost.

    Args:
        predictors: A predictors table.
        names: Predictors that are read.
        by: Columns that tell lessons apart.

    Returns:
        One row a cell, one column a predictor, indexed by lesson, context, persona, trait and both
        levels; and the largest cost of a lesson, in steps of it.

    Raises:
        SchemaError: A predictor is missing, in all or in one cell, one is there twice, or a number
            is not finite.

    >>> row = {"context": "nameless", "persona": "", "trait": "art=opera", "estimate": 0.5}
    >>> row |= {"predictor": "guess", "before": 0.0, "taught_before": -2.0, "cost": 1.0}
    >>> wide_predictors(pd.DataFrame([row]), ["guess"])[0].to_numpy().tolist()
    [[0.5]]
    """
    schema.check(predictors, "predictors")
    names, by = list(names), list(as_tuple(by))
    schema.require(predictors, *by)
    present = list(dict.fromkeys(predictors["predictor"]))
    for name in names:
        if name not in present:
            raise SchemaError(unknown("predictor", name, present))
    rows = predictors.loc[predictors["predictor"].isin(names)]
    for column in ("estimate", *LEVELS, "cost"):
        is_bad = ~np.isfinite(rows[column].to_numpy(np.float64))
        if is_bad.any():
            row = rows.loc[is_bad].iloc[0]
            raise SchemaError(
                f"{column} of predictor '{row['predictor']}' is {row[column]} for trait "
                f"{row['trait']}; every number of a forecast is finite."
            )
    cell = [*by, *CELL]
    twice = rows.duplicated([*cell, "predictor"])
    if twice.any():
        row = rows.loc[twice].iloc[0]
        raise SchemaError(
            f"predictor '{row['predictor']}' is there twice for trait {row['trait']}; name in by= "
            "the columns that tell lessons apart."
        )
    wide = rows.pivot(index=cell, columns="predictor", values="estimate").reindex(columns=names)
    gaps = wide.isna()
    if gaps.to_numpy().any():
        place = wide.index[gaps.any(axis=1)][0]
        name = next(name for name in names if gaps.loc[place, name])
        where = ", ".join(f"{c}={v}" for c, v in zip(cell, place, strict=True))
        raise SchemaError(
            f"predictor '{name}' is missing for {where}; forecast with one that has it."
        )
    # of several predictors the levels are the same base's; the first says them
    levels = rows.drop_duplicates(cell).set_index(cell)[list(LEVELS)]
    wide = wide.join(levels).set_index(list(LEVELS), append=True)
    costs = rows.drop_duplicates([*by, "predictor"])
    cost = costs.groupby(by)["cost"].sum().max() if by else costs["cost"].sum()
    return wide, float(cost)


def scale_of(line: StackLine, estimates: Array) -> Array:
    """How large errors are of these forecasts (bits).

    Args:
        line: Of a stack.
        estimates: Dims (cell).

    Returns:
        Dims (cell).
    """
    a, b = line.scale
    return a + b * np.abs(estimates)


def _numbers(line: StackLine, x: Array) -> Array:
    """Estimate, half of the interval, and from estimate to bound; dims (number, cell)."""
    estimate = x @ np.array(line.coefficients) + line.intercept
    scale = scale_of(line, estimate)
    return np.stack([estimate, line.width * scale, line.reach * scale])


def _line(entry: Mapping[str, Any], names: tuple[str, ...]) -> StackLine:
    """One line of a file."""
    coefficients = entry["coefficients"]
    a, b = (float(value) for value in entry["scale"])
    single = {key: entry[key] for key in ("fraction", "intercept", "penalty", "width")}
    for key, none in UNBOUNDED.items():
        single[key] = none if entry[key] is None else entry[key]
    return StackLine(
        coefficients=tuple(float(coefficients[term]) for term in stack_terms(names)),
        scale=(a, b),
        **{key: float(value) for key, value in single.items()},
    )
