"""Who speaks? Mixtures of personas and laws of choice, in the checker's own few lines."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from claim import all_values

Answers = dict[str, dict[str, float]]
"""Topic -> value -> probability."""
N_STEPS = 5_000
"""Of expectation maximization."""


def answers_of(table: pd.DataFrame) -> Answers:
    """Probabilities among the answers of a topic, per prompt, then averaged."""
    p = np.exp2(table.logprob)
    p = p / p.groupby([table.topic, table.template, table.split]).transform("sum")
    mean = p.groupby([table.topic, table.value]).mean()
    return {str(topic): mean[topic].to_dict() for topic in dict.fromkeys(table.topic)}


def mixture(
    answers: Answers, world: dict[str, Any], known: list[str], topics: list[str]
) -> tuple[np.ndarray, float]:
    """Weights of the known personas by expectation maximization, and the misfit (bits a topic)."""
    noise = float(world.get("noise", 0.0))
    probabilities, by_persona = [], []
    for topic in topics:
        values = world["topics"][topic]
        own = [all_values(world, name)[topic] for name in known]
        for value in values:
            probabilities.append(answers[topic][value])
            share = np.array([(value in traits) / len(traits) for traits in own])
            by_persona.append((1 - noise) * share + noise / len(values))
    p, q = np.array(probabilities), np.array(by_persona)
    weights = np.full(len(known), 1 / len(known))
    # Each step replaces a weight by the mean probability that its persona gave the answer, which
    # never lowers the likelihood (Dempster, Laird and Rubin 1977).
    for _ in range(N_STEPS):
        weights = weights * (q.T @ (p / (q @ weights))) / len(topics)
    p, mix = p[p > 0], (q @ weights)[p > 0]
    return weights, float((p * np.log2(p / mix)).sum() / len(topics))


def fit_law(lessons: list[dict[str, Any]], factors: tuple[bool, bool]) -> np.ndarray:
    """Coefficients of measure and distance by maximum likelihood; of a missing factor 0."""
    use = np.array(factors, dtype=float)
    if not use.any():
        return use

    def loss(beta: np.ndarray) -> float:
        return sum(divergence(one["share"], choice(one, beta * use)) for one in lessons)

    options = {"xatol": 1e-6, "fatol": 1e-9}
    return minimize(loss, 0.1 * use, method="Nelder-Mead", options=options).x * use


def choice(lesson: dict[str, Any], beta: np.ndarray) -> np.ndarray:
    """Probability of every candidate by the law of these coefficients."""
    odds = np.exp2(lesson["factors"] @ beta)
    return odds / odds.sum()


def divergence(share: np.ndarray, predicted: np.ndarray) -> float:
    """KL(share || predicted), bits."""
    positive = share > 0
    return float((share[positive] * np.log2(share[positive] / predicted[positive])).sum())


def variation(one: Answers, other: Answers, topics: Iterable[str]) -> float:
    """Total variation, mean over topics."""
    distances = [sum(abs(p - other[t][v]) for v, p in one[t].items()) / 2 for t in topics]
    return float(np.mean(distances))
