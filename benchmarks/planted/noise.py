"""Noise as it is met: normal, heavy tailed, skewed; and clusters of unequal size."""

from enum import StrEnum

import numpy as np


class Noise(StrEnum):
    """Shape of a distribution with mean 0 and standard deviation 1."""

    NORMAL = "normal"
    HEAVY = "heavy tails"
    SKEWED = "skewed"


def noise(rng: np.random.Generator, shape: tuple[int, ...] | int, kind: Noise) -> np.ndarray:
    """Independent numbers with mean 0 and standard deviation 1: Student t3, or exponential."""
    if kind == Noise.HEAVY:
        return rng.standard_t(3, shape) / np.sqrt(3)
    if kind == Noise.SKEWED:
        return rng.exponential(size=shape) - 1
    return rng.standard_normal(shape)


def sizes(rng: np.random.Generator, clusters: int, *, mean: int, equal: bool) -> np.ndarray:
    """Rows of every cluster; unequal ones are geometric, so most are small and a few large."""
    if equal:
        return np.full(clusters, mean)
    return rng.geometric(1 / mean, clusters)


def clustered(
    rng: np.random.Generator, counts: np.ndarray, *, within: float, kind: Noise, columns: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose clusters have an effect of SD 1, and their labels; ``within``: SD of a row."""
    labels = np.repeat(np.arange(len(counts)), counts)
    effects = noise(rng, (len(counts), columns), kind)
    rows = effects[labels] + within * noise(rng, (len(labels), columns), kind)
    return rows, labels


def correlated(rng: np.random.Generator, shape: tuple[int, int], *, rho: float) -> np.ndarray:
    """Normal numbers, dims (row, column), of which any two columns correlate by rho."""
    common = rng.standard_normal((shape[0], 1))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal(shape)
