"""Bases with lessons on them: predictors and shifts whose relation is planted."""

from typing import NamedTuple

import numpy as np
import pandas as pd

TRAITS = [f"{topic}={value}" for topic in "abcd" for value in "xyz"]
NAMES = ("good", "poor")
STEPS = 40


class Planted(NamedTuple):
    """Tables of a planted world."""

    predictors: pd.DataFrame
    shifts: pd.DataFrame

    def of(self, bases: range) -> "Planted":
        """Only these bases."""
        return Planted(*(table.loc[table["base"].isin(bases)] for table in self))


def planted(
    n_bases: int,
    *,
    seed: int,
    noise: float = 0.0,
    spread: float = 0.0,
    effect: float = 1.0,
    n_lessons: int = 4,
) -> Planted:
    """Shift = effect x share of steps x (2 good + good x taught level - before) + noise of a base.

    Args:
        n_bases: Bases.
        seed: Draws everything.
        noise: SD of errors (bits).
        spread: SD over bases of the log of that.
        effect: 0: lessons move nothing.
        n_lessons: Lessons a base.
    """
    rng = np.random.default_rng(seed)
    cells = [(b, f"l{i}", t) for b in range(n_bases) for i in range(n_lessons) for t in TRAITS]
    rows = pd.DataFrame(cells, columns=["base", "lesson", "trait"])
    rows = rows.assign(context="nameless", persona="")
    n = len(rows)
    good, poor, before = rng.standard_normal((3, n))
    taught = rng.standard_normal(n_bases * n_lessons).repeat(len(TRAITS))
    size = noise * np.exp(spread * rng.standard_normal(n_bases)).repeat(n_lessons * len(TRAITS))
    told = rows.assign(before=before, taught_before=taught)
    predictors = pd.concat(
        [
            told.assign(predictor="good", estimate=good, cost=1.0),
            told.assign(predictor="poor", estimate=poor, cost=0.5),
        ]
    )
    whole = effect * (2 * good + good * taught - before)
    shifts = [
        rows.assign(step=step, estimate=whole * step / STEPS + size * rng.standard_normal(n))
        for step in (8, STEPS)
    ]
    return Planted(predictors, pd.concat(shifts))
