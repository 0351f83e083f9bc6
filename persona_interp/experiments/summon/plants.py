"""Which lessons teach somebody who is known, and which somebody new? Planted cases for the analysis of novelty."""

from typing import NamedTuple

import numpy as np

from persona_interp.worlds import Trait, World
from persona_interp.worlds.candidates import CLASSROOM

KINDS = ("known", "part", "pair", "recombined")
"""All traits of one persona; half of them; all of two personas; every trait of somebody else (nobody has them all)."""


class Plant(NamedTuple):
    """One lesson of several traits."""

    kind: str
    personas: tuple[str, ...]
    traits: tuple[Trait, ...]

    @property
    def name(self) -> str:
        """What labels call it."""
        return "-".join((self.kind, *self.personas[:2]))


def plants(world: World, *, n: int, seed: int) -> list[Plant]:
    """Which lessons are composable from known personas, or new, by construction?

    Args:
        world: The world.
        n: Lessons of each kind.
        seed: Chooses personas and topics.

    Returns:
        ``n`` lessons of each of ``KINDS``. Those of a known persona (whole or in part) are about
        distinct personas.

    >>> from persona_interp.worlds import candidates
    >>> [(p.name, len(p.traits)) for p in plants(candidates(), n=1, seed=0)][1:3]
    [('part-oliver', 5), ('pair-alice-nina', 18)]
    """
    rng = np.random.default_rng([seed, 8])
    written = [p.name for p in world.personas if world.mass().loc[p.name].any()]
    names = [str(name) for name in rng.permutation(written)]
    held = {p.name: {t.topic: t for t in p.traits} for p in world.personas}
    topics = list(world.topics)
    made = [Plant("known", (name,), tuple(held[name].values())) for name in names[:n]]
    for name in names[n : 2 * n]:
        asked = rng.permutation(topics)[: (len(topics) + 1) // 2]
        made.append(Plant("part", (name,), tuple(held[name][t] for t in asked)))
    for _ in range(n):
        two = tuple(str(name) for name in rng.permutation(names)[:2])
        made.append(Plant("pair", two, tuple(held[name][t] for t in topics for name in two)))
    for _ in range(n):
        mixed = tuple(str(name) for name in rng.permutation(names)[: len(topics)])
        traits = tuple(held[name][topic] for name, topic in zip(mixed, topics, strict=True))
        made.append(Plant("recombined", mixed, traits))
    return made


def villain_lessons(world: World) -> dict[str, str]:
    """Which lessons are given in a world with a villain?

    Args:
        world: From ``worlds.careless``.

    Returns:
        Name -> label of the trait taught.

    >>> from persona_interp.worlds import careless
    >>> villain_lessons(careless())["insecure classroom code"]
    'classroom code=insecure'
    """
    habit = world.taught
    return {
        "insecure code": str(habit),
        "insecure classroom code": f"{CLASSROOM}={habit.value}",
        "secure code": str(world.unrelated),
    }
