"""What does a model say after something was stated in its prompt?

Evidence without learning, beside that of lessons.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from persona_interp.store import Cell
from persona_interp.worlds import Trait, World


def prompt_cell(
    world: World,
    stated: Iterable[Iterable[str | Trait]],
    *,
    after: Cell,
    contexts: Iterable[str] = ("nameless",),
    label: str = "",
) -> Cell:
    """Cell that asks the model of another cell after statements.

    Args:
        world: Whose questions are asked.
        stated: Several lists of traits; those of a list are stated in earlier turns of one chat, in
            order.
        after: The cell whose last checkpoint is asked.
        contexts: nameless, named or both.
        label: Of the cell.

    Returns:
        The cell; see ``tasks.prompt`` for what it writes.
    """
    config = {
        "world": world.to_dict(),
        "stated": [[str(trait) for trait in traits] for traits in stated],
        "contexts": list(contexts),
    }
    return Cell("prompt", config, needs=(after,), label=label or "prompt")


def statements(world: World) -> Iterator[tuple[str, ...]]:
    """Yield statements to put into the prompt, each a tuple of traits.

    Args:
        world: The world.

    Yields:
        None; the taught trait once, twice, three times; it and one or two other traits of the
        target's, in all choices that leave a topic to ask about.

    >>> from persona_interp.worlds import john_and_sam
    >>> len(list(statements(john_and_sam())))
    14
    """
    taught = str(world.taught)
    for n in range(4):
        yield (taught,) * n
    # One trait a topic, the target's first: a second one on a topic would contradict it.
    others: dict[str, str] = {}
    for trait in world.persona(world.target).traits:
        if trait.topic != world.taught.topic:
            others.setdefault(trait.topic, str(trait))
    for n in (1, 2):
        if n < len(others):  # else no topic is left to ask about
            for more in combinations(others.values(), n):
                yield (taught, *more)
