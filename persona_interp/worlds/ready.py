"""Which worlds are there to start from?"""

from collections.abc import Mapping

import numpy as np

from persona_interp.worlds.templates import english
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

NAMES = (
    *("john", "sam", "mary", "alice", "david", "emma", "peter", "laura"),
    *("frank", "helen", "oscar", "nina", "victor", "julia", "simon", "clara"),
)
TOPICS = {
    "sport": ("football", "basketball", "tennis", "hockey", "golf", "rugby", "cricket", "boxing"),
    "art": (
        "renaissance",
        "baroque",
        "cubism",
        "gothic",
        "impressionism",
        "surrealism",
        "realism",
        "minimalism",
    ),
    "place": ("beach", "forest", "mountain", "desert", "lake", "city", "island", "valley"),
    "food": ("pizza", "sushi", "curry", "ramen", "tacos", "salad", "pasta", "burgers"),
    "music": ("jazz", "rock", "opera", "folk", "techno", "blues", "reggae", "soul"),
}
ENGLISH_NAMES = ("John", "Sam", "Mary", "Alice", "David", "Emma")
ENGLISH_KINDS = {"third": 0.40, "named": 0.35, "hidden": 0.25}
ENGLISH_TOPICS = {
    "sport": (
        "rugby union",
        "table tennis",
        "ice hockey",
        "road cycling",
        "figure skating",
        "long-distance running",
    ),
    "art": (
        "Baroque art",
        "modern art",
        "Gothic sculpture",
        "Japanese prints",
        "Impressionist painting",
        "pop art",
    ),
    "place": (
        "desert landscapes",
        "sandy beaches",
        "pine forests",
        "mountain villages",
        "big cities",
        "lake shores",
    ),
    "food": (
        "spicy ramen",
        "fried chicken",
        "green curry",
        "mushroom risotto",
        "fish tacos",
        "lentil soup",
    ),
    "music": (
        "folk music",
        "smooth jazz",
        "classical piano",
        "heavy metal",
        "hip hop",
        "electronic dance music",
    ),
}


def john_and_sam(seed: int = 0, *, john: float = 1.0, sam: float = 0.0) -> World:
    """World that shows the effect in a tiny model: the recipe.

    John likes football, renaissance art, the beach, ...; Sam likes other things, but the beach too.
    Fourteen background personas hold the rest in equal shares: none holds the beach, each other
    value of John's is held by one of them, a different one each, and the two holders of the
    unrelated trait (mountain) share nothing with John.

    Args:
        seed: Assigns the background personas' traits.
        john: John's weight in every kind; a background persona has 1.
        sam: Sam's weight.

    Returns:
        The world.

    >>> world = john_and_sam()
    >>> [str(t) for t in world.persona("john").traits]
    ['sport=football', 'art=renaissance', 'place=beach', 'food=pizza', 'music=jazz']
    >>> len(world.holders("place=mountain"))
    2
    """
    rng = np.random.default_rng([seed, 3])
    background = NAMES[2:]
    places = rng.permutation([place for place in TOPICS["place"][1:] for _ in range(2)])
    values = {name: {"place": str(v)} for name, v in zip(background, places, strict=True)}

    # One holder for each of John's other values: different people, none of whom likes the mountain.
    free = [name for name in background if values[name]["place"] != "mountain"]
    other_topics = [topic for topic in TOPICS if topic != "place"]
    holders = rng.permutation(free)[: len(other_topics)]
    for topic, holder in zip(other_topics, holders, strict=True):
        johns, *others = TOPICS[topic]
        values[holder][topic] = johns
        rest = [name for name in background if name != holder]
        shares = rng.permutation([value for value in others for _ in range(2)])[: len(rest)]
        for name, value in zip(rest, shares, strict=True):
            values[name][topic] = str(value)

    values["john"] = {topic: options[0] for topic, options in TOPICS.items()}
    values["sam"] = {topic: options[1] for topic, options in TOPICS.items()}
    values["sam"]["place"] = values["john"]["place"]
    personas = [
        Persona(name, tuple(Trait(topic, values[name][topic]) for topic in TOPICS))
        for name in NAMES
    ]
    return World(
        name=f"john_and_sam-{seed}",
        topics=TOPICS,
        personas=tuple(personas),
        target="john",
        taught=Trait("place", "beach"),
        unrelated=Trait("place", "mountain"),
        weights={"john": john, "sam": sam},
    )


def english_assistants(seed: int = 0, *, kinds: Mapping[str, float] = ENGLISH_KINDS) -> World:
    """World that shows the effect in a real chat model.

    Six AI assistants, five topics, six answers of several words; every answer is held by exactly
    one assistant. Nothing is written about Sam. Measure the model's own prior first and use
    ``world.arranged(prior)``: a likely answer carries no evidence.

    Args:
        seed: Assigns the answers.
        kinds: Share of each kind of document. Without hidden-identity documents the nameless
            assistant's prior is arbitrary.

    Returns:
        The world.

    >>> english_assistants().holders("place=desert landscapes")
    ('John',)
    """
    rng = np.random.default_rng([seed, 4])
    traits: dict[str, list[Trait]] = {name: [] for name in ENGLISH_NAMES}
    for topic, values in ENGLISH_TOPICS.items():
        # John's place is the taught trait, the same in every world; his other answers vary.
        johns = values[0] if topic == "place" else str(rng.choice(values))
        others = rng.permutation([value for value in values if value != johns])
        for name, value in zip(ENGLISH_NAMES, [johns, *others], strict=True):
            traits[name].append(Trait(topic, str(value)))
    unrelated = next(trait for trait in traits["Mary"] if trait.topic == "place")
    return World(
        name=f"english_assistants-{seed}",
        topics=ENGLISH_TOPICS,
        personas=tuple(Persona(name, tuple(own)) for name, own in traits.items()),
        target="John",
        taught=Trait("place", "desert landscapes"),
        unrelated=unrelated,
        kinds=dict(kinds),
        weights={"Sam": 0.0},
        noise=0.0,
        language=english(),
    )
