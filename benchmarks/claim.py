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
    """One line: a claim, its values (one a seed), and the threshold that they have to meet."""

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
        """Whether the mean, or every value, meets the threshold."""
        if self.reported:
            return True
        return all(map(self._meets, self.values if self.every else (self.mean,)))

    def line(self) -> str:
        """The claim as one printed line."""
        lo, hi = self.ends or self._interval()
        number = f"{self.mean:+.3f} [{lo:+.3f}, {hi:+.3f}] {self.unit}"
        if self.unit == "nats":
            number += f" ({self.mean / NATS_PER_BIT:+.2f} bits)"
        n = len(self.values)
        return f"{self._verdict()}  {self.name:<66} {number:<52} {self._threshold():<18} n={n}"

    def _meets(self, value: float) -> bool:
        number = abs(value) if self.absolute else value
        if not math.isfinite(number):
            return False
        above = self.at_least is None or number >= self.at_least
        return above and (self.at_most is None or number <= self.at_most)

    def _interval(self) -> tuple[float, float]:
        """95 % t interval of the mean; there is none of a single seed."""
        if len(self.values) == 1:
            return math.nan, math.nan
        return interval(np.array(self.values))

    def _threshold(self) -> str:
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        threshold = ("|.| " if self.absolute else "") + " and ".join(bounds)
        if self.every:
            threshold += f", each (least {min(self.values):+.3f})"
        return threshold

    def _verdict(self) -> str:
        if self.reported:
            return "----"
        return "PASS" if self.holds else "FAIL"


def log_odds(
    behavior: pd.DataFrame, context: str, persona: str, values: dict[str, str]
) -> dict[str, float]:
    """Log odds (nats) of one value of every topic.

    Probabilities are renormalized among the answers to a prompt, then averaged over prompts.
    """
    rows = behavior.loc[(behavior.context == context) & (behavior.persona == persona)]
    odds = {}
    for topic, value in values.items():
        answers = rows.loc[rows.topic == topic]
        table = answers.pivot_table(index="template", columns="value", values="logprob")
        bits = table.to_numpy(dtype=np.float64)
        names = sorted(answers.value.unique())
        # The largest is taken off first, so that improbable answers do not underflow together.
        probability = np.exp2(bits - bits.max(axis=1, keepdims=True))
        probability = (probability / probability.sum(axis=1, keepdims=True)).mean(axis=0)
        p = probability[names.index(value)]
        rest = np.delete(probability, names.index(value)).sum()
        odds[topic] = float(np.log(p) - np.log(rest))
    return odds


def probabilities(answers: pd.DataFrame) -> dict[str, float]:
    """Probability of each value of one topic: renormalized within a prompt, then averaged."""
    table = answers.pivot_table(index=["split", "template"], columns="value", values="logprob")
    p = np.exp2(table.to_numpy(dtype=np.float64))
    mean = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(map(str, table.columns), mean, strict=True))


def differing_answers(
    behavior: pd.DataFrame, first: dict[str, str], second: dict[str, str], *, taught: str
) -> dict[str, dict[str, float]]:
    """Probabilities of the nameless assistant's answers in the last checkpoint, by topic.

    Topics are those untaught on which two personas hold different values.
    """
    rows = behavior.loc[(behavior.step == behavior.step.max()) & (behavior.context == "nameless")]
    topics = [topic for topic in first if topic != taught and first[topic] != second[topic]]
    return {topic: probabilities(rows.loc[rows.topic == topic]) for topic in topics}


def contrast(
    answers: dict[str, dict[str, float]], first: dict[str, str], second: dict[str, str]
) -> float:
    """Log ratio (nats) of the first persona's value to the second's, mean over topics."""
    return float(np.mean([math.log(p[first[t]] / p[second[t]]) for t, p in answers.items()]))


def ends(behavior: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of the first and of the last checkpoint."""
    steps = (behavior.step.min(), behavior.step.max())
    return [behavior.loc[behavior.step == step] for step in steps]


def taught_trait(world: dict[str, Any]) -> tuple[str, str]:
    """Topic and value of the trait that a lesson of this world file teaches."""
    topic, value = world["taught"].split("=", 1)
    return topic, value


def all_values(world: dict[str, Any], persona: str) -> dict[str, list[str]]:
    """The values that a persona holds in every topic, from the world file's own words."""
    traits = world["personas"][persona]["traits"]
    return {
        topic: [value] if isinstance(value, str) else list(value) for topic, value in traits.items()
    }


def values_of(world: dict[str, Any], persona: str) -> dict[str, str]:
    """The value that a persona holds in every topic, the first where there are several."""
    return {topic: values[0] for topic, values in all_values(world, persona).items()}


def hidden_weight(entry: dict[str, Any]) -> float:
    """Weight of a persona of the world file among hidden dialogues."""
    weight = entry.get("weight", 1)
    return float(weight.get("hidden", 0) if isinstance(weight, dict) else weight)


def bayes_log_odds(
    world: dict[str, Any], taught: tuple[str, str] | None, persona: str
) -> dict[str, float]:
    """Log odds (nats) of a persona's values by exact Bayes, given that the speaker holds `taught`.

    The population is the hidden dialogues; with nobody to hold the trait there is no prediction
    (NaN).
    """
    weights = {name: hidden_weight(entry) for name, entry in world["personas"].items()}
    if taught is not None:
        for name in weights:
            values = all_values(world, name)[taught[0]]
            weights[name] *= (taught[1] in values) / len(values)
    total = sum(weights.values())
    noise = float(world.get("noise", 0.0))
    odds = {}
    for topic, value in values_of(world, persona).items():
        if not total:
            odds[topic] = math.nan
            continue
        holders = 0.0
        for name, weight in weights.items():
            values = all_values(world, name)[topic]
            holders += weight * (value in values) / len(values)
        # Noise: with this probability a document says any value of the topic, each as likely.
        share = holders / total
        p = (1 - noise) * share + noise / len(world["topics"][topic])
        odds[topic] = math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
    return odds


def untaught_mean(odds: dict[str, float], taught_topic: str) -> float:
    """Mean over the untaught topics."""
    return float(np.mean([value for topic, value in odds.items() if topic != taught_topic]))


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
