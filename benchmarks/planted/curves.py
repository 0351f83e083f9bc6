"""Curves of training runs: doses, lessons, and what lies between Bayes before and after them.

A seed shifts a whole curve (intercept and slope), and every point scatters about its seed's curve.
Sizes of the noise are those of measured dose curves, lessons and K.
"""

from typing import Any

import numpy as np
import pandas as pd

DOSES = np.arange(-6.0, 7.0, 2.0)
INTERCEPT, SLOPE = 0.2, 1.0
SD_INTERCEPT, SD_SLOPE, SD_POINT = 0.4, 0.15, 0.5
FLOOR, CEILING = 0.0125, 0.9125
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
    rng: np.random.Generator,
    n_seeds: int,
    *,
    slope: float = SLOPE,
    sd_slope: float = SD_SLOPE,
    doses: np.ndarray = DOSES,
) -> pd.DataFrame:
    """A simulated dose experiment: contrast (bits) and the first's probability, by dose."""
    rows = []
    for seed in range(n_seeds):
        line = INTERCEPT + rng.normal(0, SD_INTERCEPT) + (slope + rng.normal(0, sd_slope)) * doses
        odds = line + rng.normal(0, SD_POINT, len(doses))
        p = FLOOR + (CEILING - FLOOR) / (1 + np.exp2(-odds))
        rows.append(pd.DataFrame({"seed": seed, "dose": doses, "estimate": odds, "p_first": p}))
    return pd.concat(rows, ignore_index=True)


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
    rng: np.random.Generator,
    n_seeds: int,
    *,
    before: pd.DataFrame,
    limit: pd.DataFrame,
    sd_k: float = SD_LOG_K,
) -> pd.DataFrame:
    """Simulated behavior after a lesson, between Bayes before it and in the limit.

    How far on that way varies over seeds, with K.
    """
    rows = []
    for seed in range(n_seeds):
        way = 1 / (1 + POPULATION / (LESSONS * 2 ** (LOG_K + rng.normal(0, sd_k))))
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
