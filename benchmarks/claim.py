"""What is a claim, and what is the checker's own arithmetic?

Nothing here comes from the package that is checked: log odds, what exact Bayes expects and
intervals are recomputed.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Claim:
    """One line: what is claimed, the measured values (one per seed), and the threshold they have to meet."""

    name: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    absolute: bool = False
    unit: str = "nats"
    reported: bool = False  # a number without a threshold
    every: bool = False  # every seed has to meet the threshold, not their mean
    ends: tuple[float, float] | None = None  # interval of a number that is no mean over seeds

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def holds(self) -> bool:
        """Does the mean meet the threshold?"""
        if self.reported:
            return True
        return all(map(self._meets, self.values if self.every else (self.mean,)))

    def _meets(self, value: float) -> bool:
        number = abs(value) if self.absolute else value
        if not math.isfinite(number):
            return False
        above = self.at_least is None or number >= self.at_least
        return above and (self.at_most is None or number <= self.at_most)

    def line(self) -> str:
        """The claim as one printed line."""
        n = len(self.values)
        half = (
            stats.t.ppf(0.975, n - 1) * np.std(self.values, ddof=1) / math.sqrt(n)
            if n > 1
            else math.nan
        )
        lo, hi = self.ends or (self.mean - half, self.mean + half)
        number = f"{self.mean:+.3f} [{lo:+.3f}, {hi:+.3f}] {self.unit}"
        if self.unit == "nats":
            number += f" ({self.mean / NATS_PER_BIT:+.2f} bits)"
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        threshold = ("|.| " if self.absolute else "") + " and ".join(bounds)
        if self.every:
            threshold += f", each (least {min(self.values):+.3f})"
        verdict = "----" if self.reported else "PASS" if self.holds else "FAIL"
        return f"{verdict}  {self.name:<66} {number:<52} {threshold:<18} n={n}"


def log_odds(
    behavior: pd.DataFrame, context: str, persona: str, held: dict[str, str]
) -> dict[str, float]:
    """Log odds (nats) of the held value of every topic, probabilities renormalized per prompt, then averaged."""
    rows = behavior.loc[(behavior.context == context) & (behavior.persona == persona)]
    odds = {}
    for topic, value in held.items():
        asked = rows.loc[rows.topic == topic]
        table = asked.pivot_table(index="template", columns="value", values="logprob").to_numpy(
            dtype=np.float64
        )
        names = sorted(asked.value.unique())
        probability = np.exp2(table - table.max(axis=1, keepdims=True))
        probability = (probability / probability.sum(axis=1, keepdims=True)).mean(axis=0)
        p = probability[names.index(value)]
        rest = np.delete(probability, names.index(value)).sum()
        odds[topic] = float(np.log(p) - np.log(rest))
    return odds


def all_held(world: dict[str, Any], persona: str) -> dict[str, list[str]]:
    """The values a persona holds in every topic, from the world file's own words."""
    traits = world["personas"][persona]["traits"]
    return {
        topic: [value] if isinstance(value, str) else list(value) for topic, value in traits.items()
    }


def held_by(world: dict[str, Any], persona: str) -> dict[str, str]:
    """The first of them."""
    return {topic: values[0] for topic, values in all_held(world, persona).items()}


def expected(
    world: dict[str, Any], taught: tuple[str, str] | None, persona: str
) -> dict[str, float]:
    """Log odds (nats) of a persona's values as exact Bayes says them, given that the speaker holds `taught`.

    The population is the hidden dialogues; with nobody to hold the trait there is no prediction
    (NaN).
    """
    weight = {}
    for name, entry in world["personas"].items():
        w = entry.get("weight", 1)
        weight[name] = float(w.get("hidden", 0) if isinstance(w, dict) else w)
        if taught is not None:
            values = all_held(world, name)[taught[0]]
            weight[name] *= (taught[1] in values) / len(values)
    total = sum(weight.values())
    noise = float(world.get("noise", 0.0))
    odds = {}
    for topic, value in held_by(world, persona).items():
        if not total:
            odds[topic] = math.nan
            continue
        held = {name: all_held(world, name)[topic] for name in weight}
        share = (
            sum(w * (value in held[name]) / len(held[name]) for name, w in weight.items()) / total
        )
        p = (1 - noise) * share + noise / len(world["topics"][topic])
        odds[topic] = math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
    return odds


def spread(odds: dict[str, float], taught_topic: str) -> float:
    """Mean over the untaught topics."""
    return float(np.mean([v for topic, v in odds.items() if topic != taught_topic]))


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
