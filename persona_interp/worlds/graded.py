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

PAIRS = 10
"""Least number of pairs that share 0, 1, ..., all but one of the topics."""
RANGE = 32.0
"""Mass of the persona most written about over that of the least."""

Values = npt.NDArray[np.intp]


def graded(seed: int = 0, *, styles: float = 0.0) -> World:
    """Which world has at least ten pairs of personas for every number of shared topics, and masses from 1 to 32?

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
    topics = list(TOPICS)
    held = _assigned(rng, len(NAMES), n_topics=len(topics), n_values=len(TOPICS[topics[0]]))
    masses = rng.permutation(RANGE ** (np.arange(len(NAMES)) / (len(NAMES) - 1)))
    factors = 2.0 ** (styles * rng.standard_normal((len(NAMES), len(PERSONA_KINDS))))
    personas = tuple(
        Persona(
            name,
            tuple(Trait(topic, TOPICS[topic][v]) for topic, v in zip(topics, row, strict=True)),
        )
        for name, row in zip(NAMES, held, strict=True)
    )
    target = int(np.argsort(masses)[len(NAMES) // 2])
    holders = (held == held[target]).sum(axis=0)
    topic = int(holders.argmin())
    other = next(i for i in np.argsort(-masses) if held[i, topic] != held[target, topic])
    return World(
        name=f"graded-{seed}" + (f"-styles-{styles:g}" if styles else ""),
        topics=TOPICS,
        personas=personas,
        target=NAMES[target],
        taught=personas[target].traits[topic],
        unrelated=personas[other].traits[topic],
        weights={
            name: {
                kind: float(mass * factor) for kind, factor in zip(PERSONA_KINDS, row, strict=True)
            }
            for name, mass, row in zip(NAMES, masses, factors, strict=True)
        },
    )


def overlaps(world: World) -> dict[tuple[str, str], int]:
    """On how many topics does each pair of personas hold the same?

    Args:
        world: A world.

    Returns:
        Number of topics on which both hold a common value, by unordered pair of names in the
        world's order.

    >>> from persona_interp.worlds import john_and_sam
    >>> overlaps(john_and_sam())["john", "sam"]
    1
    """
    return {
        (one.name, two.name): sum(bool({*one.values(t)} & {*two.values(t)}) for t in world.topics)
        for one, two in combinations(world.personas, 2)
    }


def _assigned(rng: np.random.Generator, n: int, *, n_topics: int, n_values: int) -> Values:
    """Value of every persona on every topic, dims (persona, topic), with enough pairs of every overlap."""
    # Families that copy each other: among independent personas hardly two share four topics.
    held = rng.integers(n_values, size=(n // 4, n_topics)).repeat(4, axis=0)
    missing = _missing(held)
    while missing:
        persona, topic = rng.integers(n), rng.integers(n_topics)
        tried = held.copy()
        tried[persona, topic] = rng.integers(n_values)
        if (now := _missing(tried)) <= missing:
            held, missing = tried, now
    return held[rng.permutation(n)]


def _missing(held: Values) -> int:
    """How many pairs are missing at the overlaps that have too few, and how many are the same persona twice?"""
    shared = (held[:, None] == held[None]).sum(axis=2)[np.triu_indices(len(held), 1)]
    n_topics = held.shape[1]
    counts = np.bincount(shared, minlength=n_topics + 1)
    return int(np.maximum(PAIRS - counts[:n_topics], 0).sum() + counts[n_topics])
