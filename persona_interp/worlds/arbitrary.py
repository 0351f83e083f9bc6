"""Which world has nothing chosen? One drawn by lot, for laws that must hold in any world."""

import numpy as np

from persona_interp.worlds.ready import NAMES, TOPICS
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

LEAST_PERSONAS, LEAST_TOPICS, LEAST_VALUES = 6, 4, 4
"""The fewest of each."""


def arbitrary(seed: int = 0) -> World:
    """World drawn by lot: who is in it, what each holds, how much is written about each.

    Six to sixteen personas, four or five topics with four to eight values. Values differ in how
    many hold them, personas copy one another's values now and then, so that traits co-occur, and
    the masses of personas are lognormal (SD 1 in log2). The target is a persona drawn by lot, the
    taught trait one of its own, the unrelated one another's on the same topic.

    Args:
        seed: Draws all of it.

    Returns:
        The world.

    >>> world = arbitrary(3)
    >>> world == arbitrary(3), world.taught in world.persona(world.target).traits
    (True, True)
    """
    rng = np.random.default_rng([seed, 19])
    names = NAMES[: rng.integers(LEAST_PERSONAS, len(NAMES) + 1)]
    topics = _topics(rng)
    copies = rng.uniform(0.0, 0.6)
    held: list[dict[str, str]] = []
    shares = {topic: rng.dirichlet(np.ones(len(values))) for topic, values in topics.items()}
    for _ in names:
        own = {topic: str(rng.choice(values, p=shares[topic])) for topic, values in topics.items()}
        if held:
            near = held[rng.integers(len(held))]
            own |= {topic: near[topic] for topic in topics if rng.random() < copies}
        held.append(own)
    # somebody must disagree on the taught topic, or nothing is unrelated
    target = int(rng.integers(len(names)))
    taught = str(rng.choice(list(topics)))
    if len({own[taught] for own in held}) == 1:
        others = [value for value in topics[taught] if value != held[target][taught]]
        held[target - 1][taught] = str(rng.choice(others))
    unlike = [own for own in held if own[taught] != held[target][taught]]
    personas = [
        Persona(name, tuple(Trait(topic, own[topic]) for topic in topics))
        for name, own in zip(names, held, strict=True)
    ]
    masses = 2.0 ** rng.standard_normal(len(names))
    return World(
        name=f"arbitrary-{seed}",
        topics=topics,
        personas=tuple(personas),
        target=names[target],
        taught=Trait(taught, held[target][taught]),
        unrelated=Trait(taught, unlike[rng.integers(len(unlike))][taught]),
        weights={name: float(mass) for name, mass in zip(names, masses, strict=True)},
    )


def _topics(rng: np.random.Generator) -> dict[str, tuple[str, ...]]:
    """Some of the topics, each with some of its values."""
    n = rng.integers(LEAST_TOPICS, len(TOPICS) + 1)
    chosen = sorted(map(str, rng.choice(list(TOPICS), size=n, replace=False)))
    counts = rng.integers(LEAST_VALUES, [len(TOPICS[topic]) + 1 for topic in chosen])
    return {
        topic: tuple(sorted(map(str, rng.choice(TOPICS[topic], size=count, replace=False))))
        for topic, count in zip(chosen, counts, strict=True)
    }
