"""What is a claim, and what is the checker's own arithmetic?

Nothing here comes from the package that is checked, but for the words: log odds are recomputed
from probabilities of answers. They are in bits.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from decision import MOST, Interval, Region, needed, t_interval, t_interval_at, wilson
from persona_interp.schema.words import Ruling

BITS_PER_NAT = 1 / math.log(2)
"""Thresholds that were measured in nats are written as such and converted."""


@dataclass(frozen=True)
class Claim:
    """One line: a claim, its values, and the threshold that they have to meet.

    A claim is decided by the 95 % t interval of the mean over its values: it holds where the whole
    interval meets the threshold, fails where the whole interval is on the wrong side, and is
    undecided otherwise. Four kinds of numbers have another rule: ``exact``, ``share``, ``every``
    and ``reported``. Values that are all alike have no spread to make an interval of; they are
    decided as ``every`` is.
    """

    name: str
    values: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None  # strictly: "> 0"
    absolute: bool = False
    unit: str = "bits"
    over: str = "seeds"  # what there is one value of
    reported: bool = False  # a number without a threshold
    exact: bool = False  # an identity, or a number whose bounds hold its error already
    share: bool = False  # values are 0 or 1; decided by the Wilson interval of their share
    every: bool = False  # each value has to meet the threshold, and there are ``least`` of them
    least: int = 3
    ends: Interval | None = None  # of a reported number that is no mean over its values

    @property
    def mean(self) -> float:
        """Mean over the values; NaN of none."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def ruling(self) -> Ruling:
        """Whether the claim holds, fails, is undecided, or only reports a number."""
        if self.reported:
            return Ruling.REPORTED
        met = [self.region.holds(value) for value in self.values]
        if self.exact:
            return Ruling.HOLDS if met and all(met) else Ruling.FAILS
        if self.every and not all(met):
            return Ruling.FAILS
        if self.every or self._alike:
            if len(self.values) < self.least:
                return Ruling.UNDECIDED
            return Ruling.HOLDS if all(met) else Ruling.FAILS
        lo, hi = self.interval
        if not (math.isfinite(lo) and math.isfinite(hi)):
            return Ruling.UNDECIDED
        return self.region.rule((lo, hi))

    @property
    def region(self) -> Region:
        """Where the number has to be."""
        if self.absolute and self.at_most is not None:
            return Region(-self.at_most, self.at_most)
        lo = self.at_least if self.above is None else self.above
        return Region(
            lo=-math.inf if lo is None else lo,
            hi=math.inf if self.at_most is None else self.at_most,
            beyond=self.above is not None,
        )

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean, or of the share; NaN where there is none."""
        if self.ends is not None:
            return self.ends
        if not self.values:
            return math.nan, math.nan
        if self.share:
            return wilson(self.mean, len(self.values))
        with np.errstate(invalid="ignore"):
            return t_interval(np.array(self.values))

    @property
    def takes(self) -> int | None:
        """Values at which the claim would be decided, by its own spread; None: too many to count.

        Of a single value, whose spread nobody knows, two are the least.
        """
        n = len(self.values)
        if self.every or self._alike:
            return self.least
        if n == 1 and not self.share:
            return 2
        mean = self.mean
        if math.isnan(mean):
            return None
        if self.share:
            return needed(self.region, lambda n: wilson(mean, n), start=1)
        sd = float(np.std(self.values, ddof=1))
        if not math.isfinite(sd):
            return None
        return needed(self.region, lambda n: t_interval_at(mean, sd, n), start=2)

    def line(self) -> str:
        """One printed line: verdict, name, number, threshold, and how many values it takes."""
        return (
            f"{self.ruling:<9}  {self.name:<66} {self._number():<40} {self._threshold():<20} "
            f"{self._counted()}"
        ).rstrip()

    def row(self) -> dict[str, object]:
        """The line as a row of a table; the interval is empty where the rule is another."""
        alone = self.exact or self.every
        lo, hi = (math.nan, math.nan) if alone else self.interval
        return {
            "ruling": str(self.ruling),
            "claim": self.name,
            "estimate": self.mean,
            "lo": lo,
            "hi": hi,
            "unit": self.unit,
            "threshold": self._threshold(),
            "n": len(self.values),
            "over": self.over,
            "values": " ".join(f"{value:.6g}" for value in self.values),
        }

    @property
    def _alike(self) -> bool:
        return not self.share and len(self.values) > 1 and len(set(self.values)) == 1

    def _number(self) -> str:
        """The mean with its interval; of values that stand alone, the least and the largest."""
        if len(self.values) == 1 and not self.share and self.ends is None:
            return f"{self.mean:+.4g} {self.unit}"
        if self.exact or self.every:
            return (
                f"{self.mean:+.4g} ({min(self.values):+.4g} to {max(self.values):+.4g}) {self.unit}"
            )
        lo, hi = self.interval
        return f"{self.mean:+.3f} [{lo:+.3f}, {hi:+.3f}] {self.unit}"

    def _threshold(self) -> str:
        if self.reported:
            return ""
        bounds = [f"> {self.above:.4g}"] if self.above is not None else []
        bounds += [f">= {self.at_least:.4g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:.4g}"] if self.at_most is not None else []
        each = ", each" if self.every else ""
        return ("|.| " if self.absolute else "") + " and ".join(bounds) + each

    def _counted(self) -> str:
        """How many values there are, how many it takes, and what keeps a claim undecided."""
        n = len(self.values)
        counted = f"{n} {self.over.removesuffix('s') if n == 1 else self.over}"
        if self.reported:
            return counted
        if self.exact:
            return f"{counted}, exact"
        missing = sum(not math.isfinite(value) for value in self.values)
        if missing or n == 0:
            return f"{counted}, no number in {missing}" if n else counted
        takes = self.takes
        counted += f", takes {takes}" if takes else f", takes more than {MOST:,}"
        if n == 1 and not (self.share or self.every):
            counted += " or more: no interval"
        if self.ruling == Ruling.UNDECIDED and not self.region.holds(self.mean):
            counted += "; on the wrong side"
        return counted


def log_odds(
    behavior: pd.DataFrame, context: str, persona: str, values: dict[str, str]
) -> dict[str, float]:
    """Log odds (bits) of one value of every topic.

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
        odds[topic] = float(np.log2(p) - np.log2(rest))
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
    """Log ratio (bits) of the first persona's value to the second's, mean over topics."""
    return float(np.mean([math.log2(p[first[t]] / p[second[t]]) for t, p in answers.items()]))


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


def untaught_mean(odds: dict[str, float], taught_topic: str) -> float:
    """Mean over the untaught topics."""
    return float(np.mean([value for topic, value in odds.items() if topic != taught_topic]))
