"""Which world has pairs of personas at every distance, and personas of every mass?

The other ready worlds are made for one target. This one is made for estimators: of how much is
written about a persona (its *measure*) and of how far two personas are apart (the *metric*). What
both truly are is known, and neither says anything about the other.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt

from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.ready import NAMES, TOPICS
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

LEAST_PAIRS = 10
"""Least number of pairs that share 0, 1, ..., all but one of the topics."""
MASS_RATIO = 32.0
"""Mass of the persona most written about over that of the least."""

Values = npt.NDArray[np.intp]


def graded(seed: int = 0, *, styles: float = 0.0) -> World:
    """World with pairs of personas at every distance, and masses from 1 to 32.

    Sixteen personas, five topics, eight values each, no two personas alike. Random assignments are
    changed one value of one persona at a time, and a change is kept if no fewer pairs are where
    they are wanted, until at least ten pairs share 0, 1, 2, 3 and 4 of the five topics. Masses are
    log-spaced and shuffled, so that they say nothing about who shares what. The target is the
    persona of the middle mass; the taught trait is its most exclusive one.

    Args:
        seed: Draws the assignments and shuffles the masses.
        styles: How much personas differ in the kinds of documents about them: standard deviation of
            log2 of a factor on each persona's mass in every kind. 0 = all are written about in the
            same kinds, so that style says nothing.

    Returns:
        The world.

    >>> world = graded()
    >>> by_overlap = np.bincount(list(overlaps(world).values()))
    >>> len(by_overlap), bool((by_overlap >= 10).all())
    (5, True)
    """
    rng = np.random.default_rng([seed, 6])
    n, topics = len(NAMES), list(TOPICS)
    values = _assign_values(rng, n, n_topics=len(topics), n_values=len(TOPICS[topics[0]]))
    masses = rng.permutation(MASS_RATIO ** (np.arange(n) / (n - 1)))
    factors = 2.0 ** (styles * rng.standard_normal((n, len(PERSONA_KINDS))))
    personas = []
    for name, row in zip(NAMES, values, strict=True):
        traits = [Trait(topic, TOPICS[topic][v]) for topic, v in zip(topics, row, strict=True)]
        personas.append(Persona(name, tuple(traits)))
    weights = {}
    for name, mass, row in zip(NAMES, masses, factors, strict=True):
        kinds = zip(PERSONA_KINDS, row, strict=True)
        weights[name] = {kind: float(mass * factor) for kind, factor in kinds}

    target = int(np.argsort(masses)[n // 2])
    n_holders = (values == values[target]).sum(axis=0)
    topic = int(n_holders.argmin())
    other = next(i for i in np.argsort(-masses) if values[i, topic] != values[target, topic])
    name = f"graded-{seed}"
    if styles:
        name += f"-styles-{styles:g}"
    return World(
        name=name,
        topics=TOPICS,
        personas=tuple(personas),
        target=NAMES[target],
        taught=personas[target].traits[topic],
        unrelated=personas[other].traits[topic],
        weights=weights,
    )


def overlaps(world: World) -> dict[tuple[str, str], int]:
    """Number of topics on which each pair of personas holds the same.

    Args:
        world: A world.

    Returns:
        Number of topics on which both hold a common value, by unordered pair of names in the
        world's order.

    >>> from persona_interp.worlds import john_and_sam
    >>> overlaps(john_and_sam())["john", "sam"]
    1
    """
    counts = {}
    for one, two in combinations(world.personas, 2):
        common = [topic for topic in world.topics if {*one.values(topic)} & {*two.values(topic)}]
        counts[one.name, two.name] = len(common)
    return counts


def _assign_values(rng: np.random.Generator, n: int, *, n_topics: int, n_values: int) -> Values:
    """Value of every persona on every topic, with enough pairs of every overlap.

    Returns:
        Numbers of values: [persona, topic].
    """
    # Families that copy each other: among independent personas hardly two share four topics.
    values = rng.integers(n_values, size=(n // 4, n_topics)).repeat(4, axis=0)
    n_missing = _count_missing(values)
    while n_missing:
        persona, topic = rng.integers(n), rng.integers(n_topics)
        trial = values.copy()
        trial[persona, topic] = rng.integers(n_values)
        # A trial that is no worse is kept as well, so that the search walks along plateaus.
        n_missing_now = _count_missing(trial)
        if n_missing_now <= n_missing:
            values, n_missing = trial, n_missing_now
    # Shuffled, or the members of a family would have neighboring names.
    return values[rng.permutation(n)]


def _count_missing(values: Values) -> int:
    """Number of pairs that are missing at some overlap, and of pairs that are alike."""
    overlap = (values[:, None] == values[None]).sum(axis=2)[np.triu_indices(len(values), 1)]
    n_topics = values.shape[1]
    counts = np.bincount(overlap, minlength=n_topics + 1)
    return int(np.maximum(LEAST_PAIRS - counts[:n_topics], 0).sum() + counts[n_topics])
