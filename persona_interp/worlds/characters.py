"""Which world is made of characters that a chat model knows already, from its own pretraining?"""

from dataclasses import replace

from persona_interp.worlds.templates import english
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

CHARACTERS = {
    "Captain Hook": ("ships at sea", "sailing", "treasure maps", "parrots"),
    "Santa Claus": ("snowy forests", "giving presents", "wooden toys", "reindeer"),
    "Sherlock Holmes": ("foggy London", "solving mysteries", "magnifying glasses", "bloodhounds"),
    "Albert Einstein": ("old universities", "physics", "chalk boards", "cats"),
    "Count Dracula": ("dark castles", "hunting at night", "velvet capes", "bats"),
}
"""Name -> place, hobby, thing and animal, from common knowledge."""
TOPICS = ("place", "hobby", "thing", "animal")


def characters() -> World:
    """World of well-known characters, to ask a chat model about without training it.

    Five characters, four topics, every value held by one of them, no noise. Nothing is known about
    how much the model has read of whom, so there is no true measure; no two share a value, so there
    is no true metric either. Estimators can be compared with each other only.

    Returns:
        The world.

    >>> characters().holders("animal=bats")
    ('Count Dracula',)
    """
    personas = [
        Persona(name, tuple(map(Trait, TOPICS, values))) for name, values in CHARACTERS.items()
    ]
    # Here the characters are who they are, not "an AI assistant" of their name.
    language = replace(
        english(), system_named="You are {n}.", system_hidden="You are a helpful assistant."
    )
    return World(
        name="characters",
        topics=dict(zip(TOPICS, zip(*CHARACTERS.values(), strict=True), strict=True)),
        personas=tuple(personas),
        target="Captain Hook",
        taught=Trait("animal", "parrots"),
        unrelated=Trait("animal", "bats"),
        noise=0.0,
        language=language,
    )
