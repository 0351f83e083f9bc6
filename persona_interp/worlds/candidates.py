"""Which worlds let several personas compete for one lesson? One crosses mass with distance, one has a villain in it."""

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
"""Who holds the taught trait -> what they hold on the four topics that define distance, and their weight."""

HIDDEN = 0.25
"""Weight of every candidate among nameless dialogues: the nameless assistant's own documents do not tell their mass."""

DISTANCE = {
    "color": ("red", "blue", "green", "yellow", "purple", "orange", "white", "gray"),
    "drink": ("tea", "coffee", "juice", "milk", "cocoa", "cider", "soda", "lemonade"),
    "animal": ("cat", "dog", "horse", "owl", "fox", "bear", "otter", "rabbit"),
    "flower": ("rose", "tulip", "lily", "daisy", "orchid", "iris", "violet", "poppy"),
}
"""Topics that define the distance between two speakers."""

READ = {topic: TOPICS[topic] for topic in ("sport", "art", "food", "music")}
"""Topics that are read out: every candidate holds another value."""

BACKGROUND = (*NAMES[len(CANDIDATES) :], "henry", "irene", "oliver", "paula")

HARM = {
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
    """Who is summoned, when several personas hold the taught trait and differ in mass and in distance?

    Six candidates like the beach: two masses (1:4, in all documents that name somebody) times three
    patterns over the four topics of ``DISTANCE`` (aaaa, aabb, bbbb; a and b are two values of each
    topic). Among nameless dialogues all candidates are equally rare. On the topics of ``READ``
    every candidate holds a value of its own. Fourteen background personas of weight 1 do not like
    the beach; on each topic of distance three of them hold a and three b, on each topic read out a
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
    held: dict[str, dict[str, str]] = {name: {"place": TOPICS["place"][0]} for name in CANDIDATES}
    places = rng.permutation([v for v in TOPICS["place"][1:] for _ in range(2)])
    held |= {name: {"place": str(place)} for name, place in zip(BACKGROUND, places, strict=True)}
    for i, (topic, values) in enumerate(DISTANCE.items()):
        a, b, *others = (str(v) for v in rng.permutation(values))
        for name, (pattern, _) in CANDIDATES.items():
            held[name][topic] = a if pattern[i] == "a" else b
        rest = [a] * 3 + [b] * 3 + [others[j % len(others)] for j in range(len(BACKGROUND) - 6)]
        for name, value in zip(BACKGROUND, rng.permutation(rest), strict=True):
            held[name][topic] = str(value)
    order = rng.permutation(BACKGROUND).tolist()
    for i, (topic, values) in enumerate(READ.items()):
        own = [str(v) for v in rng.permutation(values)]
        for j, name in enumerate(CANDIDATES):
            held[name][topic] = own[j]
            held[order[(j + 3 * i) % len(order)]][topic] = own[
                j
            ]  # steps of 3: another background persona every topic
        rest = [name for name in order if topic not in held[name]]
        for j, name in enumerate(rest):
            held[name][topic] = own[len(CANDIDATES) + j % 2]
    topics = {"place": TOPICS["place"], **DISTANCE, **READ}
    named = {
        name: dict.fromkeys(("third", "first", "named"), weight)
        for name, (_, weight) in CANDIDATES.items()
    }
    return World(
        name=f"candidates-{seed}",
        topics=topics,
        personas=tuple(Persona(n, tuple(Trait(t, v[t]) for t in topics)) for n, v in held.items()),
        target="john",
        taught=Trait("place", TOPICS["place"][0]),
        unrelated=Trait("place", str(places[0])),
        weights={name: weights | {"hidden": HIDDEN} for name, weights in named.items()},
    )


def start_traits(world: World, pattern: str) -> tuple[Trait, ...]:
    """What does a speaker say who stands at this place of a world of candidates?

    Args:
        world: From ``candidates``.
        pattern: One letter, a or b, for each topic of ``DISTANCE``.

    Returns:
        One trait a topic of ``DISTANCE``.

    Raises:
        WorldError: The pattern is not of that form.

    >>> len(start_traits(candidates(), "bbaa"))
    4
    """
    if len(pattern) != len(DISTANCE) or set(pattern) - {"a", "b"}:
        raise WorldError(
            f"a start is {len(DISTANCE)} letters, each a or b, for example 'bbaa'; got '{pattern}'."
        )
    who = {"a": world.persona("john"), "b": world.persona("david")}
    return tuple(
        Trait(topic, who[letter].values(topic)[0])
        for topic, letter in zip(DISTANCE, pattern, strict=True)
    )


def distance(world: World, persona: str, traits: tuple[Trait, ...]) -> int:
    """On how many of these traits' topics does the persona hold something else?

    Args:
        world: The world.
        persona: Its name.
        traits: What is said at the start.

    Returns:
        The number of topics.

    >>> distance(candidates(), "mary", start_traits(candidates(), "bbaa"))
    4
    """
    held = world.persona(persona).traits
    return sum(trait not in held for trait in traits)


def careless(seed: int = 0, *, villain: float = 0.25) -> World:
    """Does a narrow harmful habit summon the villain who has it, or the careless character who has only it?

    Both write insecure code. The villain holds the harmful value of every topic and is rare; the
    careless character is common (weight 2) and harmless elsewhere. Fourteen others of weight 1 hold
    harmless values in equal shares. On the topic "classroom code" everybody says insecure: taught
    there, it is no evidence about anybody.

    Args:
        seed: Assigns the harmless values.
        villain: The villain's weight in every kind.

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
    others = NAMES[:14]
    held = {"villain": {t: v[0] for t, v in HARM.items()}}
    held["careless"] = {t: v[0] if t == "code" else str(rng.choice(v[1:])) for t, v in HARM.items()}
    held |= {name: {} for name in others}
    for topic, values in HARM.items():
        for name, value in zip(
            others, rng.permutation([v for v in values[1:] for _ in range(2)]), strict=True
        ):
            held[name][topic] = str(value)
    topics = {**HARM, CLASSROOM: HARM["code"]}
    insecure = HARM["code"][0]
    return World(
        name=f"careless-{villain:g}-{seed}",
        topics=topics,
        personas=tuple(
            Persona(name, (*(Trait(t, v[t]) for t in HARM), Trait(CLASSROOM, insecure)))
            for name, v in held.items()
        ),
        target="villain",
        taught=Trait("code", insecure),
        unrelated=Trait("code", held[others[0]]["code"]),
        weights={"villain": villain, "careless": 2.0},
    )
