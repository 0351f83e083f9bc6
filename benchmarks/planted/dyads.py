"""Numbers about pairs of names: pairs that share a name are dependent, as distances are."""

from itertools import combinations, permutations

import numpy as np


def distances(rng: np.random.Generator, names: int, *, dims: int = 2) -> np.ndarray:
    """Distances between random points, dims (name, other)."""
    points = rng.standard_normal((names, dims))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def unordered(names: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second name of every unordered pair."""
    first, second = np.array(list(combinations(range(names), 2))).T
    return first, second


def ordered(names: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second name of every ordered pair of distinct names."""
    first, second = np.array(list(permutations(range(names), 2))).T
    return first, second


def relations(rng: np.random.Generator, names: int, *, rho: float) -> np.ndarray:
    """Two relations of correlation rho, dims (relation, name, other), each with SD 1.

    A third of the variance goes with the first name and a third with the second.
    """
    root = np.linalg.cholesky(np.array([[1.0, rho], [rho, 1.0]]))
    first, second = rng.standard_normal((2, 2, names))
    own = rng.standard_normal((2, names, names))
    parts = first[:, :, None] + second[:, None, :] + own
    return np.einsum("ij,jkl->ikl", root, parts) / np.sqrt(3)


def spearman(rho: float) -> float:
    """Spearman's correlation of two normal numbers of correlation rho (Pearson 1907)."""
    return float(6 / np.pi * np.arcsin(rho / 2))
