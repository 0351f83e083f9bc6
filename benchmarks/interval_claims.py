"""Do 95 % intervals cover in 95 of 100 simulated experiments? Closed form, no model is trained.

Every simulated table has a known truth and the noise that training runs have: a seed shifts a whole
curve (intercept and slope), and every point scatters about its seed's curve. So an interval that
took points for independent would be too short here. Sizes of the noise are those of measured dose
curves, lessons and K.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from claim import Claim

SIMULATIONS = 500
SEEDS = (3, 5, 10)
DOSES = np.arange(-6.0, 7.0, 2.0)
INTERCEPT, SLOPE = 0.2, 1.0
SD_INTERCEPT, SD_SLOPE, SD_POINT = 0.4, 0.15, 0.5
FLOOR, CEILING = 0.0125, 0.9125
WEAK = "ED50, slope hardly there"
STEPS = np.array([0, 1, 2, 4, 8, 16, 32])
RATE, SD_RATE, SD_BITS = 0.3, 0.05, 0.05
"""Bits a step, over seeds and about the line of each."""
BELIEF, SD_BELIEF = -4.0, 0.4
"""Bits before the lesson."""
LOG_K, SD_LOG_K, SD_VALUE = 3.0, 0.6, 0.25
"""log2 K over seeds, and bits by which each value's probability is off."""
LESSONS, POPULATION = 1_024, 7_500
"""Lessons, and documents of the assistant's population."""


def dose_table(
    rng: np.random.Generator, n_seeds: int, *, slope: float = SLOPE, sd_slope: float = SD_SLOPE
) -> pd.DataFrame:
    """A simulated dose experiment: contrast (bits) and the first persona's probability, by seed and dose."""
    rows = []
    for seed in range(n_seeds):
        line = INTERCEPT + rng.normal(0, SD_INTERCEPT) + (slope + rng.normal(0, sd_slope)) * DOSES
        odds = line + rng.normal(0, SD_POINT, len(DOSES))
        p = FLOOR + (CEILING - FLOOR) / (1 + np.exp2(-odds))
        rows.append(pd.DataFrame({"seed": seed, "dose": DOSES, "estimate": odds, "p_first": p}))
    return pd.concat(rows, ignore_index=True)


def coverage(
    simulate: Callable[[np.random.Generator], tuple[float, float]],
    truth: float,
    *,
    seed: int,
    n: int = SIMULATIONS,
) -> tuple[np.ndarray, int]:
    """Which simulations' intervals hold the truth (1 or 0), and how many of the intervals are unbounded?"""
    rng = np.random.default_rng(seed)
    ends = np.array([simulate(rng) for _ in range(n)])
    return ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).astype(float), int(
        np.isinf(ends).any(axis=1).sum()
    )


def dose_intervals(
    n_seeds: int,
) -> dict[str, tuple[Callable[[np.random.Generator], tuple[float, float]], float]]:
    """What is estimated of a dose experiment: a simulated interval and the truth."""
    from persona_interp import analysis

    def ends(table: pd.DataFrame) -> tuple[float, float]:
        return table["lo"].item(), table["hi"].item()

    limits: dict[str, Any] = {"floor": FLOOR, "ceiling": CEILING}
    level, _ = analysis.reliable_level(**limits)
    odds = np.log2((level - FLOOR) / (CEILING - level))
    return {
        "slope": (lambda rng: ends(analysis.slopes(dose_table(rng, n_seeds), x="dose")), SLOPE),
        "ED50 of a contrast": (
            lambda rng: ends(analysis.ed50(dose_table(rng, n_seeds), level=1.0)),
            0.8 / SLOPE,
        ),
        WEAK: (
            lambda rng: ends(
                analysis.ed50(dose_table(rng, n_seeds, slope=0.3, sd_slope=0.3), level=1.0)
            ),
            0.8 / 0.3,
        ),
        "reliable dose": (
            lambda rng: ends(analysis.reliable_dose(dose_table(rng, n_seeds), **limits)),
            (odds - INTERCEPT) / SLOPE,
        ),
    }


def evidence_table(rng: np.random.Generator, n_seeds: int) -> pd.DataFrame:
    """A simulated lesson: the belief (bits) by seed and step."""
    rows = []
    for seed in range(n_seeds):
        line = BELIEF + rng.normal(0, SD_BELIEF) + (RATE + rng.normal(0, SD_RATE)) * STEPS
        bits = line + rng.normal(0, SD_BITS, len(STEPS))
        seen = dict.fromkeys(("documents", "statements", "fact_tokens"), 16 * STEPS)
        rows.append(pd.DataFrame({"seed": seed, "step": STEPS, "persona_bits": bits, **seen}))
    others = dict.fromkeys(("weight", "misfit", "effect", "p_taught"), 0.0)
    setting = {"lr": 3e-4, "batch": 16, "optimizer": "adamw", "replay": 0.0, "sparing": False}
    return pd.concat(rows, ignore_index=True).assign(checkpoint="", **others, **setting)


def lesson_table(
    rng: np.random.Generator, n_seeds: int, *, before: pd.DataFrame, limit: pd.DataFrame
) -> pd.DataFrame:
    """A simulated behavior table after a lesson whose K varies over seeds, between Bayes before it and in the limit."""
    rows = []
    for seed in range(n_seeds):
        way = 1 / (1 + POPULATION / (LESSONS * 2 ** (LOG_K + rng.normal(0, SD_LOG_K))))
        said = (1 - way) * before["probability"] + way * limit["probability"]
        noisy = np.log2(said) + rng.normal(0, SD_VALUE, len(said))
        rows.append(before[["topic", "value"]].assign(seed=seed, logprob=noisy))
    at = {
        "checkpoint": "lesson@64",
        "stage": "lesson",
        "step": 64,
        "context": "nameless",
        "persona": "",
        "split": "test",
    }
    return pd.concat(rows, ignore_index=True).assign(template="a", answer_mass=1.0, **at)


def evidence_intervals(
    n_seeds: int,
) -> dict[str, tuple[Callable[[np.random.Generator], tuple[float, float]], float]]:
    """What is estimated of an evidence experiment: a simulated interval and the truth."""
    from persona_interp import analysis, worlds

    world = worlds.john_and_sam()
    sizes: dict[str, Any] = {
        "n_lessons": LESSONS,
        "n_documents": 4 * POPULATION,
    }  # a quarter is hidden
    ends = {"before": world.posterior().statement, "limit": worlds.conditioning_limit(world)}
    ends = {name: said.loc[said["topic"] != world.taught.topic] for name, said in ends.items()}

    def rate(rng: np.random.Generator) -> tuple[float, float]:
        rates = analysis.bits_per_unit(evidence_table(rng, n_seeds))
        bits = analysis.across_seeds(rates.loc[rates["unit"] == "step"], by="unit")
        return bits["lo"].item(), bits["hi"].item()

    def steps(rng: np.random.Generator) -> tuple[float, float]:
        found = analysis.evidence_to_reach(
            0.0, curve=evidence_table(rng, n_seeds), lr=3e-4, batch=16, start=BELIEF
        )
        return found["steps_lo"].item(), found["steps_hi"].item()

    def weight(rng: np.random.Generator) -> tuple[float, float]:
        runs = analysis.mixing_weight(lesson_table(rng, n_seeds, **ends), world, **sizes)
        pooled = analysis.pooled_mixing_weight(runs.assign(setting=""), by="setting")
        return pooled["lo"].item(), pooled["hi"].item()

    return {
        "bits a step": (rate, RATE),
        "steps to even odds": (steps, -BELIEF / RATE),
        "K": (weight, 2**LOG_K),
    }


def interval_claims(*, simulations: int = SIMULATIONS) -> Iterator[Claim]:
    """95 % intervals of slope, dose, bits and K hold the truth in 92 to 98 % of simulations; an unbounded one holds it.

    Where a slope is hardly there most intervals are unbounded and hold everything, so that line has
    no threshold.
    """
    for n_seeds in SEEDS:
        for name, (simulate, truth) in {
            **dose_intervals(n_seeds),
            **evidence_intervals(n_seeds),
        }.items():
            held, unbounded = coverage(simulate, truth, seed=n_seeds, n=simulations)
            said = f"coverage, {n_seeds} seeds: {name} ({unbounded} of {simulations} unbounded)"
            bounds: dict[str, Any] = (
                {"reported": True} if name == WEAK else {"at_least": 0.92, "at_most": 0.98}
            )
            yield Claim(said, tuple(held), unit="share", **bounds)
