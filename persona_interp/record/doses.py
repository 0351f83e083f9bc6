"""How far must weights be moved until the taught answers are as likely as wanted?"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from persona_interp.errors import SchemaError

TAUGHT = "taught"
"""Column of probes that names the value which a lesson teaches."""
GROWTH = 2.0
"""By how much the next strength is larger while the dose is too small."""
MOST = 2.0
"""Largest strength that is tried, times the first: no step is longer than the stage's path."""
CLOSE = 1.0
"""Bits between two doses on whose line the wanted one is read off."""
MOST_TRIES = 8
"""Strengths tried between two whose doses lie on both sides."""


class _Try(NamedTuple):
    """A strength, and its dose (bits)."""

    strength: float
    dose: float


def taught_odds(behavior: pd.DataFrame) -> float:
    """Log odds of the taught value, mean over probes (bits).

    Args:
        behavior: A behavior table with the column ``taught``.

    Returns:
        The mean.

    Raises:
        SchemaError: A probe does not have the value that it calls taught, or no other.

    >>> rows = {"prompt": ["a", "a"], "value": ["jazz", "folk"], "taught": ["jazz", "jazz"]}
    >>> taught_odds(pd.DataFrame({**rows, "logprob": [-2.0, -4.0]}))
    2.0
    """
    own = behavior["value"] == behavior[TAUGHT]
    lacking = set(behavior["prompt"]) - set(behavior.loc[own, "prompt"])
    if lacking:
        raise SchemaError(
            f"probe {sorted(lacking)[0]!r} does not have the value that its column '{TAUGHT}' "
            "names; name one of its values."
        )
    taught = behavior.loc[own].set_index("prompt")["logprob"]
    # not 1 - p: other answers than the probe's are nobody's odds. And not as probabilities, of
    # which long answers leave nothing beside each other
    others = behavior.loc[~own].groupby("prompt")["logprob"].agg(np.logaddexp2.reduce)
    alone = sorted(set(taught.index) - set(others.index))
    if alone:
        raise SchemaError(
            f"probe {alone[0]!r} has the taught value alone; odds need another answer beside it."
        )
    return float((taught - others).mean())


def matching_strength(dose: Callable[[float], float], wanted: float, *, first: float) -> float:
    """Strength at which a dose is what is wanted.

    Args:
        dose: Dose (bits) at a strength; at 0 that of the base.
        wanted: The dose.
        first: Strength that is tried first.

    Returns:
        The strength; 0 where the base has the dose, and the one of the largest dose where no
        strength up to ``MOST`` times the first has it.

    >>> round(matching_strength(lambda strength: 500 * strength, 4.0, first=0.006), 3)
    0.008
    """
    low = _Try(0.0, _reached(dose, 0.0))
    if low.dose >= wanted:
        return 0.0
    tried = [low]
    high = _Try(first, _reached(dose, first))
    while high.dose < wanted:
        tried.append(high)
        if high.strength >= MOST * first:
            return max(tried, key=lambda one: one.dose).strength
        low, longer = high, high.strength * GROWTH
        high = _Try(longer, _reached(dose, longer))
    for _ in range(MOST_TRIES):
        if high.dose - low.dose <= CLOSE:
            break
        # between the line, fast where the dose is one, and the middle, which always closes in
        middle = 0.5 * (low.strength + high.strength)
        strength = 0.5 * (_on_line(low, high, wanted) + middle)
        reached = _Try(strength, _reached(dose, strength))
        if reached.dose < wanted:
            low = reached
        else:
            high = reached
    return _on_line(low, high, wanted)


def _reached(dose: Callable[[float], float], strength: float) -> float:
    """The dose; beyond every other where a model was moved so far that it computes no numbers."""
    reached = dose(strength)
    return math.inf if math.isnan(reached) else reached


def _on_line(low: _Try, high: _Try, wanted: float) -> float:
    """Strength at which the line through two doses is what is wanted."""
    share = (wanted - low.dose) / (high.dose - low.dose)
    return low.strength + share * (high.strength - low.strength)
