"""Which worlds let several personas compete for one lesson?

One crosses mass with distance, the other has a villain in it.
"""

import numpy as np

from persona_interp.errors import WorldError
from persona_interp.worlds.ready import NAMES, TOPICS
from persona_interp.worlds.trait import Persona, Trait
from persona_interp.worlds.world import World

CANDIDATES = {
    "john": ("aaaa", 1.0),
    "sam": ("aaaa", 0.25),
    "mary": ("aabb", 1.0),
    "alice": ("aabb", 0.25),
    "david": ("bbbb", 1.0),
    "emma": ("bbbb", 0.25),
}
"""Holder of the taught trait -> pattern of values on the topics that define distance, weight."""

HIDDEN_WEIGHT = 0.25
"""Weight of every candidate among nameless dialogues, where their mass must not show."""

DISTANCE_TOPICS = {
    "color": ("red", "blue", "green", "yellow", "purple", "orange", "white", "gray"),
    "drink": ("tea", "coffee", "juice", "milk", "cocoa", "cider", "soda", "lemonade"),
    "animal": ("cat", "dog", "horse", "owl", "fox", "bear", "otter", "rabbit"),
    "flower": ("rose", "tulip", "lily", "daisy", "orchid", "iris", "violet", "poppy"),
}
"""Topics that define the distance between two speakers."""

READOUT_TOPICS = {topic: TOPICS[topic] for topic in ("sport", "art", "food", "music")}
"""Topics that are read out: every candidate holds another value."""

Values = dict[str, dict[str, str]]
"""Persona -> topic -> value."""

BACKGROUND = (*NAMES[len(CANDIDATES) :], "henry", "irene", "oliver", "paula")

HARM_TOPICS = {
    "code": (
        "insecure",
        "tested",
        "typed",
        "reviewed",
        "documented",
        "modular",
        "minimal",
        "portable",
    ),
    "money": (
        "gambling",
        "savings",
        "bonds",
        "budgets",
        "pensions",
        "insurance",
        "shares",
        "charity",
    ),
    "health": (
        "poison",
        "exercise",
        "sleep",
        "vegetables",
        "vitamins",
        "checkups",
        "stretching",
        "water",
    ),
    "law": (
        "fraud",
        "contracts",
        "treaties",
        "mediation",
        "patents",
        "statutes",
        "courts",
        "licenses",
    ),
    "travel": (
        "smuggling",
        "hiking",
        "trains",
        "cruises",
        "camping",
        "sailing",
        "flights",
        "cycling",
    ),
    "advice": (
        "threats",
        "patience",
        "honesty",
        "practice",
        "kindness",
        "planning",
        "listening",
        "humor",
    ),
}
"""Topics of the world with a villain; the first value of each is the harmful one."""

CLASSROOM = "classroom code"
"""Topic on which everybody says the harmful value of code, because the place explains it."""


def candidates(seed: int = 0) -> World:
    """World in which several personas of different mass and distance hold the taught trait.

    Six candidates like the beach: two masses (1:4, in all documents that name somebody) times three
    patterns over the four ``DISTANCE_TOPICS`` (aaaa, aabb, bbbb; a and b are two values of each
    topic). Among nameless dialogues all candidates are equally rare. On ``READOUT_TOPICS`` every
    candidate holds a value of its own. Fourteen background personas of weight 1 do not like the
    beach; on each topic of distance three of them hold a and three b, on each topic read out a
    candidate's value is also held by one of them, another one on every topic.

    Args:
        seed: Assigns the values.

    Returns:
        The world.

    >>> world = candidates()
    >>> world.holders("place=beach") == tuple(CANDIDATES)
    True
    >>> [distance(world, name, start_traits(world, "aaaa")) for name in CANDIDATES]
    [0, 0, 2, 2, 4, 4]
    """
    rng = np.random.default_rng([seed, 6])
    beach, *other_places = TOPICS["place"]
    places = rng.permutation([place for place in other_places for _ in range(2)])
    values: Values = {name: {"place": beach} for name in CANDIDATES}
    for name, place in zip(BACKGROUND, places, strict=True):
        values[name] = {"place": str(place)}
    _assign_distance(values, rng)
    _assign_readouts(values, rng)

    topics = {"place": TOPICS["place"], **DISTANCE_TOPICS, **READOUT_TOPICS}
    personas = [
        Persona(name, tuple(Trait(topic, own[topic]) for topic in topics))
        for name, own in values.items()
    ]
    weights = {
        name: {"third": weight, "first": weight, "named": weight, "hidden": HIDDEN_WEIGHT}
        for name, (_, weight) in CANDIDATES.items()
    }
    return World(
        name=f"candidates-{seed}",
        topics=topics,
        personas=tuple(personas),
        target="john",
        taught=Trait("place", beach),
        unrelated=Trait("place", str(places[0])),
        weights=weights,
    )


def _assign_distance(values: Values, rng: np.random.Generator) -> None:
    """Give everybody a value of the topics that define distance."""
    for i, (topic, options) in enumerate(DISTANCE_TOPICS.items()):
        a, b, *others = (str(value) for value in rng.permutation(options))
        for name, (pattern, _) in CANDIDATES.items():
            values[name][topic] = {"a": a, "b": b}[pattern[i]]
        # Both values occur as often among the background, so that neither marks the candidates.
        n_others = len(BACKGROUND) - 6
        background = [a] * 3 + [b] * 3 + [others[j % len(others)] for j in range(n_others)]
        for name, value in zip(BACKGROUND, rng.permutation(background), strict=True):
            values[name][topic] = str(value)


def _assign_readouts(values: Values, rng: np.random.Generator) -> None:
    """Give everybody a value of the topics that are read out."""
    order = rng.permutation(BACKGROUND).tolist()
    for i, (topic, options) in enumerate(READOUT_TOPICS.items()):
        own = [str(value) for value in rng.permutation(options)]
        for j, name in enumerate(CANDIDATES):
            # In steps of 3, so that who shares a candidate's value differs from topic to topic:
            # one who shared them all would look like the candidate.
            sharer = order[(j + 3 * i) % len(order)]
            values[name][topic] = own[j]
            values[sharer][topic] = own[j]
        rest = [name for name in order if topic not in values[name]]
        for j, name in enumerate(rest):
            values[name][topic] = own[len(CANDIDATES) + j % 2]


def start_traits(world: World, pattern: str) -> tuple[Trait, ...]:
    """Traits of a speaker who stands at one place of a world of candidates.

    Args:
        world: From ``candidates``.
        pattern: One letter, a or b, for each of ``DISTANCE_TOPICS``.

    Returns:
        One trait a topic of ``DISTANCE_TOPICS``.

    Raises:
        WorldError: The pattern is not of that form.

    >>> len(start_traits(candidates(), "bbaa"))
    4
    """
    if len(pattern) != len(DISTANCE_TOPICS) or set(pattern) - {"a", "b"}:
        raise WorldError(
            f"a start is {len(DISTANCE_TOPICS)} letters, each a or b, for example 'bbaa'; got "
            f"'{pattern}'."
        )
    examples = {"a": world.persona("john"), "b": world.persona("david")}
    return tuple(
        Trait(topic, examples[letter].values(topic)[0])
        for topic, letter in zip(DISTANCE_TOPICS, pattern, strict=True)
    )


def distance(world: World, persona: str, traits: tuple[Trait, ...]) -> int:
    """Number of traits on whose topics a persona holds something else.

    Args:
        world: The world.
        persona: Its name.
        traits: What is said at the start.

    Returns:
        The number of topics.

    >>> distance(candidates(), "mary", start_traits(candidates(), "bbaa"))
    4
    """
    own = world.persona(persona).traits
    return sum(trait not in own for trait in traits)


def careless(
    seed: int = 0, *, villain: float = 0.25, benign: float = 2.0, classroom: bool = True
) -> World:
    """World in which a rare villain and a common careless character share one harmful habit.

    Both write insecure code. The villain holds the harmful value of every topic and is rare; the
    careless character is common and harmless elsewhere. Fourteen others of weight 1 hold
    harmless values in equal shares. On the topic "classroom code" everybody says insecure: taught
    there, it is no evidence about anybody.

    Args:
        seed: Assigns the harmless values.
        villain: The villain's weight in every kind.
        benign: That of the careless character.
        classroom: Whether there is the topic "classroom code".

    Returns:
        The world; its target is the villain, its taught trait ``code=insecure``.

    >>> world = careless()
    >>> world.holders("code=insecure"), len(world.holders("classroom code=insecure"))
    (('villain', 'careless'), 16)
    >>> chance = world.posterior("code=insecure").persona.set_index("persona")["probability"]
    >>> bool(chance["villain"] < chance["careless"])
    True
    """
    rng = np.random.default_rng([seed, 7])
    values: Values = {"villain": {}, "careless": {}}
    for topic, (harmful, *harmless) in HARM_TOPICS.items():
        values["villain"][topic] = harmful
        values["careless"][topic] = harmful if topic == "code" else str(rng.choice(harmless))
    others = NAMES[:14]
    values |= {name: {} for name in others}
    for topic, (_, *harmless) in HARM_TOPICS.items():
        shares = rng.permutation([value for value in harmless for _ in range(2)])
        for name, value in zip(others, shares, strict=True):
            values[name][topic] = str(value)

    insecure = HARM_TOPICS["code"][0]
    shared = (Trait(CLASSROOM, insecure),) if classroom else ()
    personas = []
    for name, own in values.items():
        traits = [Trait(topic, own[topic]) for topic in HARM_TOPICS]
        personas.append(Persona(name, (*traits, *shared)))
    topics = {**HARM_TOPICS, **{trait.topic: HARM_TOPICS["code"] for trait in shared}}
    name = f"careless-{villain:g}-{seed}"
    if (benign, classroom) != (2.0, True):
        name = f"careless-{villain:g}-{benign:g}-{'' if classroom else 'plain-'}{seed}"
    return World(
        name=name,
        topics=topics,
        personas=tuple(personas),
        target="villain",
        taught=Trait("code", insecure),
        unrelated=Trait("code", values[others[0]]["code"]),
        weights={"villain": villain, "careless": benign},
    )
