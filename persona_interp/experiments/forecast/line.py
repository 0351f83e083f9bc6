"""What will a shift be at the end of a stage, by what it is at its first steps? One line for all.

The line is fitted on bases other than those it is asked about. It may be replaced by anything that
has ``shares`` and ``predict``, such as a stack of predictors.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import SchemaError, excerpt
from persona_interp.files import read_object, write_text

FILE = Path(__file__).with_name("alarm.json")
"""The line that is shipped."""
CELL = ["context", "persona", "trait"]
"""Columns that name what moves."""


class Foresight(Protocol):
    """Whatever turns early shifts into shifts at the end of the stage.

    Attributes:
        shares: Shares of the stage's steps at which it reads the shift, rising.
    """

    shares: tuple[float, ...]

    def predict(self, early: pd.DataFrame) -> np.ndarray:
        """Shift at the end (bits), one a row; a column of ``early`` a share, in their order."""
        ...


@dataclass(frozen=True)
class Line:
    """A linear forecast of the shift at the end from the shifts at some early steps.

    Attributes:
        shares: Shares of the stage's steps at which the shift is read, rising.
        intercept: Forecast where nothing has moved yet (bits).
        weights: Bits at the end a bit at that share, one a share.
        fitted_on: Where the numbers come from.
    """

    shares: tuple[float, ...]
    intercept: float
    weights: tuple[float, ...]
    fitted_on: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(self.shares))
        object.__setattr__(self, "weights", tuple(self.weights))
        rising = all(a < b for a, b in zip((0, *self.shares), (*self.shares, 1), strict=True))
        if not self.shares or not rising or len(self.shares) != len(self.weights):
            raise SchemaError(
                "a line reads shifts at rising shares of a stage, between 0 and 1, with a weight "
                f"each; got {excerpt(self.shares)} and {len(self.weights)} weights."
            )

    def predict(self, early: pd.DataFrame) -> np.ndarray:
        """Shift at the end of the stage.

        Args:
            early: Shifts at the shares, a column each in their order (bits).

        Returns:
            The forecasts (bits), one a row.

        >>> line = Line(shares=(0.05, 0.1), intercept=0.0, weights=(-2.0, 3.0))
        >>> line.predict(pd.DataFrame({2: [0.5], 4: [1.5]})).tolist()
        [3.5]
        """
        return self.intercept + early.to_numpy() @ np.array(self.weights)

    def save(self, path: Path | str = FILE) -> Path:
        """Write the line that ``open`` reads.

        Args:
            path: A JSON file.

        Returns:
            The file.
        """
        return write_text(json.dumps(asdict(self), indent=1) + "\n", path)

    @classmethod
    def open(cls, path: Path | str = FILE) -> "Line":
        """Read a line.

        Args:
            path: A file that ``save`` wrote; by default the one that is shipped.

        Returns:
            The line.

        Raises:
            SchemaError: The file holds none.
        """
        content = read_object(path)
        try:
            return cls(**content)
        except TypeError as error:
            raise SchemaError(f"{path} holds no line: {error}. Fit one with fit_line.") from error


def fit_line(
    shifts: pd.DataFrame, *, steps: Iterable[int], end: int, run: Iterable[str], fitted_on: str = ""
) -> Line:
    """Line through the shifts of finished lessons, by least squares.

    Args:
        shifts: A shift table of untaught traits, at these steps and at the end.
        steps: Early steps.
        end: Last step of the stage.
        run: Columns that tell the lessons apart.
        fitted_on: What they are, for whoever reads the line.

    Returns:
        The line.

    Raises:
        SchemaError: A column or a step is missing.
    """
    steps, run = list(steps), list(run)
    schema.require(shifts, *run, *CELL, "step", "estimate")
    wide = shifts.pivot_table(index=[*run, *CELL], columns="step", values="estimate")
    missing = sorted({*steps, end} - set(wide))
    if missing:
        raise SchemaError(
            f"shifts have no step {excerpt(missing)}; they have {excerpt(list(wide))}."
        )
    wide = wide.dropna(subset=[*steps, end])
    design = np.column_stack([np.ones(len(wide)), wide[steps].to_numpy()])
    intercept, *weights = np.linalg.lstsq(design, wide[end].to_numpy(), rcond=None)[0]
    shares = tuple(step / end for step in steps)
    return Line(shares, float(intercept), tuple(map(float, weights)), fitted_on)
