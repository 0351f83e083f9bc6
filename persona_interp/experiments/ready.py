"""Which worlds does an experiment know by name?

They are made anew for every seed; any other world is handed over.
"""

from functools import partial

from persona_interp.errors import WorldError, unknown
from persona_interp.worlds import World, english_assistants, john_and_sam

READY = {
    "john_and_sam": john_and_sam,
    "english_assistants": english_assistants,
    "english_assistants_unhidden": partial(english_assistants, kinds={"third": 0.6, "named": 0.4}),
}


def ready(world: str | World, seed: int = 0) -> World:
    """World of this seed.

    Args:
        world: A ready world's name, or a world that is the same for every seed.
        seed: Makes a ready world.

    Returns:
        The world.

    Raises:
        WorldError: There is no such ready world; the message names the nearest.

    >>> ready("john_and_sam", 3).name
    'john_and_sam-3'
    """
    if isinstance(world, World):
        return world
    if world not in READY:
        raise WorldError(unknown("ready world", world, READY))
    return READY[world](seed)
