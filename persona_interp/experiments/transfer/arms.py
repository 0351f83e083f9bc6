"""Which lesson is taught to which base: the arms of the transfer experiment."""

from persona_interp.errors import WorldError, unknown
from persona_interp.schema.words import Arm
from persona_interp.worlds import World

CLAIM = ("full", "taught")
ARMS: dict[str, tuple[str, str]] = {
    Arm.LESSON: CLAIM,
    Arm.UNRELATED: ("full", "unrelated"),
    Arm.SECOND: ("full", "second unrelated"),
    Arm.THIRD: ("full", "third unrelated"),
    Arm.FILLER: ("full", "filler"),
    Arm.SCRAMBLED: ("scrambled", "taught"),
    Arm.REWIRED: ("rewired", "taught"),
    Arm.ABSENT: ("absent", "taught"),
}
"""Arm -> variant of the world, and what the lesson teaches; all but the first are controls.

The full world's lessons share a base model, so what they do inside it can be compared feature by
feature; it takes three controls to say how far one more would move.
"""

FURTHER = ("second unrelated", "third unrelated")
"""Lessons on traits of others beside the world's own unrelated one."""


def variant_of(world: World, name: str) -> World:
    """World in which the documents of an arm are written.

    Args:
        world: The layout's world.
        name: full, scrambled, rewired or absent (nothing is written about the target).

    Returns:
        The world or its control.

    >>> from persona_interp.worlds import john_and_sam
    >>> variant_of(john_and_sam(), "absent").holders("place=beach")
    ()
    """
    variants = {
        "full": lambda: world,
        "scrambled": world.scrambled,
        "rewired": world.rewired,
        "absent": lambda: world.without(world.target),
    }
    if name not in variants:
        raise WorldError(unknown("variant", name, variants))
    return variants[name]()


def lesson_of(world: World, name: str) -> str:
    """Label of what a lesson teaches.

    Args:
        world: The world.
        name: taught, unrelated, second unrelated, third unrelated or filler.

    Returns:
        A trait's label, or "filler".

    Raises:
        WorldError: An unknown name, or a world without so many traits of others.

    >>> from persona_interp.worlds import john_and_sam
    >>> lesson_of(john_and_sam(), "taught"), lesson_of(john_and_sam(), "second unrelated")
    ('place=beach', 'place=forest')
    """
    lessons = {"taught": str(world.taught), "unrelated": str(world.unrelated), "filler": "filler"}
    names = (*lessons, *FURTHER)
    if name not in names:
        raise WorldError(unknown("lesson", name, names))
    if name in lessons:
        return lessons[name]
    traits = _of_others(world)
    place = FURTHER.index(name)
    if place >= len(traits):
        raise WorldError(
            f"world {world.name} has no trait of others for the {name} lesson; leave that arm out."
        )
    return traits[place]


def _of_others(world: World) -> list[str]:
    """Traits that the target does not hold but others do, those of the taught topic first."""
    not_theirs = {world.taught, world.unrelated, *world.persona(world.target).traits}
    traits = [trait for trait in world.traits if trait not in not_theirs and world.holders(trait)]
    return [str(trait) for trait in sorted(traits, key=lambda t: t.topic != world.taught.topic)]
