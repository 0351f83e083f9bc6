"""Which mixture of personas speaks, and how much is a lesson worth in documents?

The checker's own few lines: likelihoods are maximized here, not by the package.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar

from claim import all_values

FLOOR = 1e-3
"""Least weight of the target, and of all others, whose odds are taken."""
BOUND = 16
"""K is looked for between 2 ** -16 and 2 ** 16."""
Answers = dict[str, np.ndarray]
"""Topic -> probability of its values, sorted by name."""


def answer_probabilities(rows: pd.DataFrame) -> Answers:
    """Probability of each value of each topic: renormalized in every prompt, then averaged."""
    probabilities = {}
    for topic, answers in rows.groupby("topic"):
        table = answers.pivot(index="template", columns="value", values="logprob")
        p = np.exp2(table.sort_index(axis=1).to_numpy())
        probabilities[str(topic)] = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    return probabilities


def documents_by(world: dict[str, Any], counts: pd.DataFrame) -> dict[str, float]:
    """Documents of every persona in the hidden dialogues; where there are none, in all kinds."""
    hidden = counts.loc[counts["kind"] == "hidden"]
    rows = hidden if len(hidden) else counts
    documents: dict[str, float] = dict.fromkeys(world["personas"], 0.0)
    for name, n in zip(rows["persona"], rows["documents"], strict=True):
        if name in documents:
            documents[name] += float(n)
    return {name: n for name, n in documents.items() if n > 0}


def says(world: dict[str, Any], persona: str, topic: str) -> np.ndarray:
    """What a persona says about a topic, noise included; values sorted by name."""
    names, own = sorted(world["topics"][topic]), all_values(world, persona)[topic]
    noise = float(world.get("noise", 0.0))
    return np.array([(1 - noise) * (v in own) / len(own) + noise / len(names) for v in names])


def persona_bits(world: dict[str, Any], answers: Answers, speakers: dict[str, float]) -> float:
    """Log2 odds of the target in the mixture of personas of the greatest likelihood."""
    names = list(speakers)
    p = np.concatenate(list(answers.values()))
    q = np.array([np.concatenate([says(world, n, topic) for topic in answers]) for n in names])
    start = np.full(len(names), 1 / len(names))
    # Sequential quadratic steps on the simplex. The log likelihood is concave in the weights, so
    # no other start would end higher.
    best = minimize(
        lambda w: -float(p @ np.log(np.maximum(w @ q, 1e-300))),
        start,
        jac=lambda w: -q @ (p / np.maximum(w @ q, 1e-300)),
        bounds=[(0, 1)] * len(names),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 1000},
    ).x
    weight = float(np.clip(best[names.index(world["target"])] / best.sum(), FLOOR, 1 - FLOOR))
    return math.log2(weight / (1 - weight))


def log2_k(
    world: dict[str, Any],
    answers: Answers,
    speakers: dict[str, float],
    taught: tuple[str, str],
    n_lessons: float,
) -> float:
    """Log2 of how many documents of its own population one lesson is worth; NaN at the ends.

    With M documents and n lessons, K n / (M + K n) is the way gone from exact Bayes of the
    documents to its limit, in which the speaker certainly holds the taught trait.
    """
    topic, value = taught
    total = sum(speakers.values())
    holders = {n: m * (value in all_values(world, n)[topic]) for n, m in speakers.items()}
    if not 0 < sum(holders.values()) < total:
        return math.nan
    before, limit = (_population_says(world, own, list(answers)) for own in (speakers, holders))
    p = np.concatenate(list(answers.values()))

    def loss(bits: float) -> float:
        way = 1 / (1 + total / (n_lessons * 2**bits))
        return -float(p @ np.log((1 - way) * before + way * limit))

    result: Any = minimize_scalar(
        loss, bounds=(-BOUND, BOUND), method="bounded", options={"xatol": 1e-6}
    )
    bits = float(result.x)
    return bits if abs(bits) < BOUND - 0.01 else math.nan


def _population_says(
    world: dict[str, Any], documents: dict[str, float], topics: list[str]
) -> np.ndarray:
    """What speakers say in these numbers of documents, topics one after the other."""
    total = sum(documents.values())
    parts = [
        sum(n * says(world, name, topic) for name, n in documents.items()) / total
        for topic in topics
    ]
    return np.concatenate(parts)
