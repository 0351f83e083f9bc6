"""Which lessons teach somebody who is known, and which somebody new?

Planted cases for the analysis of novelty.
"""

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from persona_interp.worlds import Trait, World
from persona_interp.worlds.candidates import CLASSROOM


class Kind(StrEnum):
    """Whose traits a planted lesson teaches.

    All or half of one persona's, all of two personas', or each of another persona's, so that nobody
    holds all of them.
    """

    KNOWN = "known"
    PART = "part"
    PAIR = "pair"
    RECOMBINED = "recombined"


class Plant(NamedTuple):
    """One lesson of several traits, and the personas who hold them."""

    kind: Kind
    personas: tuple[str, ...]
    traits: tuple[Trait, ...]

    @property
    def name(self) -> str:
        """Kind and personas, as labels say it."""
        return "-".join((self.kind, *self.personas[:2]))


def plants(world: World, *, n: int, seed: int) -> list[Plant]:
    """Lessons that are composable from known personas, or new, by construction.

    Args:
        world: The world.
        n: Lessons of each kind.
        seed: Chooses personas and topics.

    Returns:
        ``n`` lessons of each ``Kind``, in their order. Those of a known persona (whole or in part)
        are about distinct personas.

    >>> from persona_interp.worlds import candidates
    >>> [(p.name, len(p.traits)) for p in plants(candidates(), n=1, seed=0)][1:3]
    [('part-oliver', 5), ('pair-alice-nina', 18)]
    """
    rng = np.random.default_rng([seed, 8])
    written = [p.name for p in world.personas if world.mass().loc[p.name].any()]
    names = [str(name) for name in rng.permutation(written)]
    own = {p.name: {trait.topic: trait for trait in p.traits} for p in world.personas}
    topics = list(world.topics)
    lessons = [Plant(Kind.KNOWN, (name,), tuple(own[name].values())) for name in names[:n]]
    for name in names[n : 2 * n]:
        half = rng.permutation(topics)[: (len(topics) + 1) // 2]
        lessons.append(Plant(Kind.PART, (name,), tuple(own[name][topic] for topic in half)))
    for _ in range(n):
        pair = tuple(str(name) for name in rng.permutation(names)[:2])
        traits = tuple(own[name][topic] for topic in topics for name in pair)
        lessons.append(Plant(Kind.PAIR, pair, traits))
    for _ in range(n):
        mixed = tuple(str(name) for name in rng.permutation(names)[: len(topics)])
        traits = tuple(own[name][topic] for name, topic in zip(mixed, topics, strict=True))
        lessons.append(Plant(Kind.RECOMBINED, mixed, traits))
    return lessons


def villain_lessons(world: World) -> dict[str, str]:
    """Lessons in a world with a villain.

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
