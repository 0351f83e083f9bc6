"""What does a process write, and where would the rest of it stand?"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from persona_interp.worlds.families import BLANK, FAMILIES, N_ELEMENTS, text
from persona_interp.worlds.trait import Trait

if TYPE_CHECKING:
    from persona_interp.worlds.sequences import Sequences

SLOTS = range(3)
"""Numbers of the properties of a family: of the elements, between them, at the end."""


class Draws(NamedTuple):
    """Uniform numbers that choose what stands in one document."""

    opener: float
    size: float  # how many properties show
    title: float  # whether there is a title
    writers: list[float]  # of each property, and of the title
    order: list[float]  # of the properties: the first of them show
    noise: list[float]  # whether a value is replaced
    uniform: list[float]  # by which value

    @classmethod
    def parse(cls, u: list[float], title_writer: float) -> "Draws":
        """Name the uniform numbers of one document.

        Args:
            u: Sixteen numbers; the first of them chose the family.
            title_writer: The number that chooses whose title it is.

        Returns:
            The numbers by name.
        """
        return cls(u[1], u[2], u[3], [*u[4:7], title_writer], u[7:10], u[10:13], u[13:])


def write_document(world: "Sequences", name: str, draws: Draws) -> tuple[str, dict[int, str]]:
    """Write a document of one family.

    Args:
        world: The world of processes.
        name: Name of the family.
        draws: What chooses.

    Returns:
        The text, and the values it shows, by number of the property.
    """
    family = FAMILIES[name]
    members = world.members(name)
    ends = np.cumsum([p.weight for p in members]).tolist()
    writers = [members[bisect_right(ends, u * ends[-1])] for u in draws.writers]
    # A coherent document has one writer; else every property has its own, and so has the title.
    if world.coherent:
        writers = [writers[0]] * len(writers)
    *writers, title_writer = writers

    # A random number of properties shows, in the order of the text.
    n_values = 1 + int(3 * draws.size)
    random_order = sorted(SLOTS, key=draws.order.__getitem__)
    values = {}
    for slot in sorted(random_order[:n_values]):
        trait = writers[slot].traits[slot]
        values[slot] = trait.value
        if draws.noise[slot] < world.noise:
            values[slot] = pick(family.values()[trait.topic], draws.uniform[slot])
    content = text(family, pick(family.openers, draws.opener), values)
    if draws.title < world.titled:
        content = f"{title_writer.title} {content}"
    return content, values


def ask(name: str, *, title: str, trait: Trait | None) -> Iterator[tuple[Any, ...]]:
    """Yield the prompts that end just before each property of one family shows.

    Args:
        name: Name of the family.
        title: What opens the document; '' for nothing.
        trait: Value of a first property that the document shows already, if any.

    Yields:
        Rows of a probes table.
    """
    family = FAMILIES[name]
    context = "named" if title else "plain"
    elements = (BLANK,) * N_ELEMENTS
    if trait is not None:
        elements = family.elements[trait.value]
    for slot, (topic, values) in enumerate(family.values().items()):
        if trait is not None and topic == trait.topic:
            continue
        # The first property shows at the first element, the second after it, the third at the end.
        before = " ".join(elements[: (0, 1, N_ELEMENTS)[slot]])
        answers = values
        if slot == 0:
            answers = [family.elements[value][0] for value in values]
        continuations = tuple(f" {answer}" for answer in answers)
        for split, openers in (("train", family.openers), ("test", family.test_openers)):
            for i, opener in enumerate(openers):
                prefix = " ".join(part for part in (title, opener, before) if part)
                prompt = f"{context}/{title}/{name}/{topic}/{split}{i}"
                messages = [{"role": "text", "content": prefix}]
                row = (prompt, context, title, topic, opener, split, messages)
                yield *row, values, continuations


def pick(options: Sequence[str], u: float) -> str:
    """One of the options, by a uniform number.

    Args:
        options: What to choose from.
        u: A number from 0 to 1, below 1.

    Returns:
        The option.
    """
    return options[int(u * len(options))]
