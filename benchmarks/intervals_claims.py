"""Do 95 % intervals cover in 95 of 100 simulated experiments? No model is trained.

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
from persona_interp.analysis.mixing import pooled_mixing_weight
from persona_interp.analysis.reliable import reliable_level
from trial import Reach, Trial, progress

PLACE = 2
REACH = Reach.SIMULATED
SIMULATIONS = 500
N_SEEDS = (3, 5, 10)
DOSES = np.arange(-6.0, 7.0, 2.0)
INTERCEPT, SLOPE = 0.2, 1.0
SD_INTERCEPT, SD_SLOPE, SD_POINT = 0.4, 0.15, 0.5
FLOOR, CEILING = 0.0125, 0.9125
WEAK = "ED50, slope hardly there"
WEAK_SLOPE = 0.3
STEPS = np.array([0, 1, 2, 4, 8, 16, 32])
RATE, SD_RATE, SD_BITS = 0.3, 0.05, 0.05
"""Bits a step, over seeds and about the line of each."""
BELIEF, SD_BELIEF = -4.0, 0.4
"""Bits before the lesson."""
LOG_K, SD_LOG_K, SD_VALUE = 3.0, 0.6, 0.25
"""log2 K over seeds, and bits by which each value's probability is off."""
LESSONS, POPULATION = 1_024, 7_500
"""Lessons, and documents of the assistant's population."""

Ends = tuple[float, float]
Simulation = tuple[Callable[[np.random.Generator], Ends], float]
"""What draws one experiment and gives its interval, and the truth."""


def claims(trial: Trial) -> Iterator[Claim]:
    """Intervals of slope, dose, bits and K hold the truth in 92 to 98 % of simulations.

    An unbounded one holds it. Where a slope is hardly there most intervals are unbounded and hold
    everything, so that line has no threshold.
    """
    for n_seeds in N_SEEDS:
        simulations = {**dose_simulations(n_seeds), **evidence_simulations(n_seeds)}
        for what, simulation in simulations.items():
            hits, unbounded = coverage(simulation, what, seed=[n_seeds, *trial.seeds])
            name = f"coverage, {n_seeds} seeds: {what} ({unbounded} of {len(hits)} unbounded)"
            yield Claim(
                name,
                tuple(hits),
                at_least=0.92,
                at_most=0.98,
                unit="share",
                over="simulations",
                share=True,
                reported=what == WEAK,
            )


def coverage(simulation: Simulation, what: str, *, seed: list[int]) -> tuple[np.ndarray, int]:
    """Whether each simulated interval holds the truth (1 or 0), and how many are unbounded."""
    simulate, truth = simulation
    rng = np.random.default_rng(seed)
    intervals = np.array([simulate(rng) for _ in progress(range(SIMULATIONS), what)])
    hits = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    return hits.astype(float), int(np.isinf(intervals).any(axis=1).sum())


def dose_table(
    rng: np.random.Generator, n_seeds: int, *, slope: float = SLOPE, sd_slope: float = SD_SLOPE
) -> pd.DataFrame:
    """A simulated dose experiment: contrast (bits) and the first's probability, by dose."""
    rows = []
    for seed in range(n_seeds):
        line = INTERCEPT + rng.normal(0, SD_INTERCEPT) + (slope + rng.normal(0, sd_slope)) * DOSES
        odds = line + rng.normal(0, SD_POINT, len(DOSES))
        p = FLOOR + (CEILING - FLOOR) / (1 + np.exp2(-odds))
        rows.append(pd.DataFrame({"seed": seed, "dose": DOSES, "estimate": odds, "p_first": p}))
    return pd.concat(rows, ignore_index=True)


def dose_simulations(n_seeds: int) -> dict[str, Simulation]:
    """What is estimated of a dose experiment."""
    from persona_interp import analysis

    limits: dict[str, Any] = {"floor": FLOOR, "ceiling": CEILING}
    level, _ = reliable_level(**limits)
    odds = np.log2((level - FLOOR) / (CEILING - level))

    def slope(rng: np.random.Generator) -> Ends:
        return _ends(analysis.slopes(dose_table(rng, n_seeds), x="dose"))

    def ed50(rng: np.random.Generator) -> Ends:
        return _ends(analysis.ed50(dose_table(rng, n_seeds), level=1.0))

    def weak_ed50(rng: np.random.Generator) -> Ends:
        table = dose_table(rng, n_seeds, slope=WEAK_SLOPE, sd_slope=WEAK_SLOPE)
        return _ends(analysis.ed50(table, level=1.0))

    def reliable(rng: np.random.Generator) -> Ends:
        return _ends(analysis.reliable_dose(dose_table(rng, n_seeds), **limits))

    # A line reaches a level at (level - intercept) / slope, which is what a dose estimates.
    return {
        "slope": (slope, SLOPE),
        "ED50 of a contrast": (ed50, 0.8 / SLOPE),
        WEAK: (weak_ed50, 0.8 / WEAK_SLOPE),
        "reliable dose": (reliable, (odds - INTERCEPT) / SLOPE),
    }


def evidence_table(rng: np.random.Generator, n_seeds: int) -> pd.DataFrame:
    """A simulated lesson: the belief (bits) by seed and step."""
    rows = []
    for seed in range(n_seeds):
        line = BELIEF + rng.normal(0, SD_BELIEF) + (RATE + rng.normal(0, SD_RATE)) * STEPS
        bits = line + rng.normal(0, SD_BITS, len(STEPS))
        units = dict.fromkeys(("documents", "statements", "fact_tokens"), 16 * STEPS)
        rows.append(pd.DataFrame({"seed": seed, "step": STEPS, "persona_bits": bits, **units}))
    others = dict.fromkeys(("weight", "misfit", "effect", "p_taught"), 0.0)
    setting = {"lr": 3e-4, "batch": 16, "optimizer": "adamw", "replay": 0.0, "sparing": False}
    return pd.concat(rows, ignore_index=True).assign(checkpoint="", **others, **setting)


def lesson_table(
    rng: np.random.Generator, n_seeds: int, *, before: pd.DataFrame, limit: pd.DataFrame
) -> pd.DataFrame:
    """Simulated behavior after a lesson, between Bayes before it and in the limit.

    How far on that way varies over seeds, with K.
    """
    rows = []
    for seed in range(n_seeds):
        way = 1 / (1 + POPULATION / (LESSONS * 2 ** (LOG_K + rng.normal(0, SD_LOG_K))))
        p = (1 - way) * before["probability"] + way * limit["probability"]
        bits = np.log2(p) + rng.normal(0, SD_VALUE, len(p))
        rows.append(before[["topic", "value"]].assign(seed=seed, logprob=bits))
    constants: dict[str, Any] = {
        "template": "a",
        "answer_mass": 1.0,
        "checkpoint": "lesson@64",
        "stage": "lesson",
        "step": 64,
        "context": "nameless",
        "persona": "",
        "split": "test",
    }
    return pd.concat(rows, ignore_index=True).assign(**constants)


def evidence_simulations(n_seeds: int) -> dict[str, Simulation]:
    """What is estimated of an evidence experiment."""
    from persona_interp import analysis, worlds

    world = worlds.john_and_sam()
    before, limit = (
        table.loc[table["topic"] != world.taught.topic]
        for table in (world.posterior().statement, worlds.conditioning_limit(world))
    )
    sizes: dict[str, Any] = {"n_lessons": LESSONS, "n_documents": 4 * POPULATION}  # 1/4 is hidden

    def rate(rng: np.random.Generator) -> Ends:
        rates = analysis.bits_per_unit(evidence_table(rng, n_seeds))
        return _ends(analysis.across_seeds(rates.loc[rates["unit"] == "step"], by="unit"))

    def steps(rng: np.random.Generator) -> Ends:
        curve = evidence_table(rng, n_seeds)
        table = analysis.evidence_to_reach(0.0, curve=curve, lr=3e-4, batch=16, start=BELIEF)
        return table["steps_lo"].item(), table["steps_hi"].item()

    def weight(rng: np.random.Generator) -> Ends:
        lessons = lesson_table(rng, n_seeds, before=before, limit=limit)
        runs = analysis.mixing_weight(lessons, world, **sizes)
        return _ends(pooled_mixing_weight(runs.assign(setting=""), by="setting"))

    return {
        "bits a step": (rate, RATE),
        "steps to even odds": (steps, -BELIEF / RATE),
        "K": (weight, 2**LOG_K),
    }


def _ends(table: pd.DataFrame) -> Ends:
    """The interval of a table of one row."""
    return table["lo"].item(), table["hi"].item()
