"""Small worlds in which personas hold random values."""

from functools import cache

import numpy as np

from persona_interp.worlds import Persona, Trait, World


@cache
def world(personas: int = 6, *, topics: int = 5, values: int = 4, seed: int = 0) -> World:
    """Personas p0, p1, ... with random values; p1 differs from the target p0 on every topic.

    The taught trait is p0's on topic t0, the unrelated one p1's.
    """
    names = {f"t{i}": tuple(f"t{i}v{j}" for j in range(values)) for i in range(topics)}
    rng = np.random.default_rng(seed)
    drawn = rng.integers(values, size=(personas, topics))
    drawn[:2] = [[0] * topics, [1] * topics]
    cast = []
    for k, row in enumerate(drawn):
        traits = [Trait(topic, names[topic][v]) for topic, v in zip(names, row, strict=True)]
        cast.append(Persona(f"p{k}", tuple(traits)))
    return World("planted", names, tuple(cast), "p0", Trait("t0", "t0v0"), Trait("t0", "t0v1"))


def held(world: World) -> np.ndarray:
    """Number of the value that each persona holds, dims (persona, topic)."""
    return np.array(
        [
            [world.topics[trait.topic].index(trait.value) for trait in persona.traits]
            for persona in world.personas
        ]
    )


def statements(world: World) -> np.ndarray:
    """Probability that each persona says each value, dims (persona, topic, value)."""
    values = len(next(iter(world.topics.values())))
    says = np.eye(values)[held(world)]
    return (1 - world.noise) * says + world.noise / values
