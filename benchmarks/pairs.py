"""How much faster is one piece of work than another, in one process and on one thread?

Absolute times mean nothing on a machine that does other things as well: what is reported are ratios
of CPU seconds of two runs, one right after the other, as min/median/max of several such pairs.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Ratios(NamedTuple):
    """Seconds of the reference over those of a contender: 1 is as fast, more is faster."""

    least: float
    median: float
    most: float

    def __str__(self) -> str:
        return f"{self.least:8.2f} /{self.median:8.2f} /{self.most:8.2f}"


def compare(reference: Callable[[], Any], contender: Callable[[], Any], *, pairs: int) -> Ratios:
    """Ratios of interleaved pairs; each runs once before, uncounted.

    Args:
        reference: What the contender is measured against.
        contender: What is measured.
        pairs: How many pairs.

    Returns:
        How many times as fast the contender is.
    """
    reference()
    contender()
    return spread([seconds(reference) / seconds(contender) for _ in range(pairs)])


def spread(ratios: list[float]) -> Ratios:
    """Least, middle and largest of some ratios."""
    return Ratios(min(ratios), statistics.median(ratios), max(ratios))


def seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of a run."""
    began = time.process_time()
    run()
    return time.process_time() - began
