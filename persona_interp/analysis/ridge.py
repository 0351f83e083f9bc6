"""Which line of the predictors is best on bases that it was not fitted to?

Ridge regression from second moments. All that is needed of a base are its sums of products, so
leaving bases out is a subtraction, and a choice among penalties on bases left out may be made anew
for each base that is left out of that choice too.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PENALTIES = (0.0, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Penalties that are tried, as fractions of a column's own sum of squares."""

Array = npt.NDArray[np.float64]


class Setting(NamedTuple):
    """How a line is fitted: its penalty, and whether it has an intercept."""

    penalty: float
    intercept: bool


SETTINGS = tuple(Setting(p, i) for i in (False, True) for p in PENALTIES)


class Moments(NamedTuple):
    """Sums of products over rows: of columns (a last column of ones included) and of the outcome.

    Attributes:
        n: Number of rows.
        xx: Dims (column, column).
        xy: Dims (column).
        yy: A number.
    """

    n: float
    xx: Array
    xy: Array
    yy: float

    def __sub__(self, other: "Moments") -> "Moments":
        n, yy = self.n - other.n, self.yy - other.yy
        return Moments(n, self.xx - other.xx, self.xy - other.xy, yy)


def moments(x: Array, y: Array) -> Moments:
    """Second moments of columns and an outcome.

    Args:
        x: Dims (row, column).
        y: Dims (row).

    Returns:
        Their sums of products; a column of ones is added.

    >>> moments(np.array([[2.0], [4.0]]), np.array([1.0, 3.0])).xx.tolist()
    [[20.0, 6.0], [6.0, 2.0]]
    """
    x = np.column_stack([x, np.ones(len(x))])
    return Moments(len(x), x.T @ x, x.T @ y, float(y @ y))


def total(parts: Iterable[Moments]) -> Moments:
    """Moments of all rows together.

    Args:
        parts: Moments of some rows each, at least one.

    Returns:
        Their sum.
    """
    n, xx, xy, yy = zip(*parts, strict=True)
    return Moments(sum(n), np.sum(xx, axis=0), np.sum(xy, axis=0), sum(yy))


def solve(of: Moments, setting: Setting) -> Array:
    """Coefficients of a line, standardized columns penalized alike.

    Args:
        of: Moments of the rows that it is fitted to.
        setting: Its penalty, and whether it has an intercept.

    Returns:
        Dims (column), the intercept last (0 where there is none).

    >>> line = moments(np.array([[1.0], [2.0]]), np.array([2.0, 4.0]))
    >>> solve(line, Setting(0.0, intercept=False)).round(9).tolist()
    [2.0, 0.0]
    """
    spread = np.diag(of.xx).copy()
    if setting.intercept:
        spread -= of.xx[-1] ** 2 / of.n  # around the mean; of the ones themselves 0
    used = slice(None) if setting.intercept else slice(-1)
    # Scaled to one size, columns of a tiny range do not look as if they were none.
    scale = np.sqrt(np.maximum(np.diag(of.xx)[used], 1e-300))
    ridge = of.xx[used, used] + setting.penalty * np.diag(spread[used])
    line = np.linalg.lstsq(ridge / np.outer(scale, scale), of.xy[used] / scale, rcond=1e-12)[0]
    coefficients = np.zeros(len(of.xx))
    # A column of zeros says nothing, and rounding over its size would be any number.
    coefficients[used] = np.where(np.diag(of.xx)[used] > 0, line / scale, 0.0)
    return coefficients


def squared_error(of: Moments, coefficients: Array) -> float:
    """Sum of squared errors of a line.

    Args:
        of: Moments of the rows that it is held against.
        coefficients: Dims (column), the intercept last.

    Returns:
        The sum.
    """
    return float(of.yy - 2 * coefficients @ of.xy + coefficients @ of.xx @ coefficients)


def choose(folds: list[Moments]) -> Setting:
    """Setting whose lines err least on folds that they were not fitted to.

    Args:
        folds: Moments of each fold, at least two.

    Returns:
        The setting; of equals the first.
    """
    whole = total(folds)
    errors = []
    for setting in SETTINGS:
        lines = [solve(whole - fold, setting) for fold in folds]
        errors.append(sum(map(squared_error, folds, lines)))
    return SETTINGS[int(np.argmin(errors))]


def cross_fit(folds: list[Moments]) -> list[Array]:
    """Lines that know nothing of a fold, one a fold: its rows chose no penalty either.

    Args:
        folds: Moments of each fold, at least three.

    Returns:
        Coefficients, the intercept last, in the order of the folds.
    """
    lines = []
    for i in range(len(folds)):
        others = folds[:i] + folds[i + 1 :]
        lines.append(solve(total(others), choose(others)))
    return lines
