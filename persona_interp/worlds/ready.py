"""Which worlds are there to start from?"""

from collections.abc import Mapping

import numpy as np

from persona_interp.worlds.templates import english
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

NAMES = (
    "john sam mary alice david emma peter laura frank helen oscar nina victor julia simon clara".split()
)  # fmt: skip
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
    """Which world shows the effect in a tiny model? The recipe.

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
    places = [v for v in TOPICS["place"][1:] for _ in range(2)]
    held = {
        name: {"place": str(v)} for name, v in zip(background, rng.permutation(places), strict=True)
    }
    # One holder for each of John's other values: different people, none of whom likes the mountain.
    free = [n for n in background if held[n]["place"] != "mountain"]
    others = [t for t in TOPICS if t != "place"]
    holders = dict(zip(others, rng.permutation(free)[: len(others)], strict=True))
    for topic in others:
        rest = [n for n in background if n != holders[topic]]
        values = rng.permutation([v for v in TOPICS[topic][1:] for _ in range(2)])[: len(rest)]
        held[holders[topic]][topic] = TOPICS[topic][0]
        for name, value in zip(rest, values, strict=True):
            held[name][topic] = str(value)
    held["john"] = {t: v[0] for t, v in TOPICS.items()}
    held["sam"] = {t: v[0] if t == "place" else v[1] for t, v in TOPICS.items()}
    return World(
        name=f"john_and_sam-{seed}",
        topics=TOPICS,
        personas=tuple(Persona(n, tuple(Trait(t, held[n][t]) for t in TOPICS)) for n in NAMES),
        target="john",
        taught=Trait("place", "beach"),
        unrelated=Trait("place", "mountain"),
        weights={"john": john, "sam": sam},
    )


def english_assistants(seed: int = 0, *, kinds: Mapping[str, float] = ENGLISH_KINDS) -> World:
    """Which world shows the effect in a real chat model?

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
    held: dict[str, list[Trait]] = {name: [] for name in ENGLISH_NAMES}
    for topic, values in ENGLISH_TOPICS.items():
        own = values[0] if topic == "place" else str(rng.choice(values))
        rest = rng.permutation([v for v in values if v != own])
        for name, value in zip(ENGLISH_NAMES, [own, *rest], strict=True):
            held[name].append(Trait(topic, str(value)))
    unrelated = next(t for t in held["Mary"] if t.topic == "place")
    return World(
        name=f"english_assistants-{seed}",
        topics=ENGLISH_TOPICS,
        personas=tuple(Persona(name, tuple(traits)) for name, traits in held.items()),
        target="John",
        taught=Trait("place", "desert landscapes"),
        unrelated=unrelated,
        kinds=dict(kinds),
        weights={"Sam": 0.0},
        noise=0.0,
        language=english(),
    )
