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
from planted.curves import (
    BELIEF,
    CEILING,
    FLOOR,
    INTERCEPT,
    LESSONS,
    LOG_K,
    POPULATION,
    RATE,
    SLOPE,
    dose_table,
    evidence_table,
    lesson_table,
)
from trial import Reach, Trial, progress

PLACE = 2
REACH = Reach.SIMULATED
SIMULATIONS = 500
N_SEEDS = (3, 5, 10)
WEAK = "ED50, slope hardly there"
WEAK_SLOPE = 0.3
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
