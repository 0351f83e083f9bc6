"""Does a world make sense? Everything is checked once, when the world is made."""

import math
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from persona_interp.errors import WorldError, excerpt, unknown
from persona_interp.worlds.language import KINDS, PERSONA_KINDS, Language
from persona_interp.worlds.trait import Persona, Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World


def full_form(world: "World") -> dict[str, Any]:
    """Fields of a world in full form.

    Args:
        world: A world whose fields are as the user gave them.

    Returns:
        Fields with labels parsed and every persona and kind spelled out.

    Raises:
        WorldError: A field is of the wrong type, or names an unknown kind or persona.
    """
    if not isinstance(world.topics, Mapping) or not world.topics:
        raise WorldError(
            "topics is a mapping of topic to its values, for example {'sport': ('football', "
            "'tennis')}."
        )
    for topic, values in world.topics.items():
        _text("topic", topic)
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise WorldError(f"topic '{topic}' needs a list of values; got {excerpt(values)}.")
        for value in values:
            _text(f"value of topic '{topic}'", value)
    _text("name of a world", world.name)
    if not isinstance(world.language, Language):
        raise WorldError(
            f"language is a Language, for example worlds.english(); got {excerpt(world.language)}."
        )
    for persona in world.personas:
        if not isinstance(persona, Persona):
            raise WorldError(
                f"personas is a tuple of Persona(name, traits); got {excerpt(persona)} in it."
            )
        _text("persona name", persona.name)
    for kind in [*world.kinds, *world.coherent]:
        if kind not in KINDS:
            raise WorldError(unknown("kind", str(kind), KINDS))
    return {
        "topics": {topic: tuple(values) for topic, values in world.topics.items()},
        "personas": tuple(world.personas),
        "taught": Trait.parse(world.taught),
        "unrelated": Trait.parse(world.unrelated),
        "kinds": {k: _number(f"share of kind {k}", world.kinds.get(k, 0.0)) for k in KINDS},
        "weights": _weights(world),
        "noise": _number("noise", world.noise),
        "coherent": {k: world.coherent.get(k, True) for k in PERSONA_KINDS},
    }


def check(world: "World") -> None:
    """Refuse a world that contradicts itself.

    Args:
        world: A world in full form.

    Raises:
        WorldError: It does; the message says what to change.

    Warns:
        UserWarning: Two answers of a topic share their first word.
    """
    _check_topics(world)
    _check_personas(world)
    _check_kinds(world)
    world.persona(world.target)
    for role in ("taught", "unrelated"):
        trait = world.trait(getattr(world, role))
        if not any(trait in p.traits for p in world.personas):
            raise WorldError(
                f"nobody holds the {role} trait '{trait}'; give it to a persona or name another "
                "trait."
            )
    if world.unrelated == world.taught:
        raise WorldError(
            f"taught and unrelated are both '{world.taught}'; the control lesson needs another "
            "trait."
        )
    if world.unrelated in world.persona(world.target).traits:
        raise WorldError(
            f"the target '{world.target}' holds the unrelated trait '{world.unrelated}'; name one "
            "that others hold."
        )


def _text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise WorldError(
            f"{what} is a text; got {excerpt(value)}. In a YAML file put it in quotes."
        )
    if not value or value != " ".join(value.split()):
        raise WorldError(f"{what} is words with single spaces between them; got {excerpt(value)}.")


def _number(what: str, value: object) -> float:
    # True is an int, and nan compares as false.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise WorldError(f"{what} is a number, zero or more; got {excerpt(value)}.")


def _weights(world: "World") -> dict[str, dict[str, float]]:
    names = [p.name for p in world.personas]
    for name in world.weights:
        if name not in names:
            raise WorldError(unknown("weights: persona", str(name), names))
    weights: dict[str, dict[str, float]] = {}
    for name in names:
        weight = world.weights.get(name, 1.0)
        if not isinstance(weight, Mapping):
            weight = dict.fromkeys(PERSONA_KINDS, weight)
        for kind in weight:
            if kind not in PERSONA_KINDS:
                raise WorldError(unknown(f"weight of '{name}': kind", str(kind), PERSONA_KINDS))
        weights[name] = {}
        for kind in PERSONA_KINDS:
            what = f"weight of '{name}' in kind {kind}"
            weights[name][kind] = _number(what, weight.get(kind, 1.0))
    return weights


def _check_topics(world: "World") -> None:
    for topic, values in world.topics.items():
        if "=" in topic:
            raise WorldError(
                f"topic '{topic}' contains '=', which separates topic and value in labels; rename "
                "it."
            )
        if len(values) < 2:
            raise WorldError(
                f"topic '{topic}' has {len(values)} values; it needs at least two to choose "
                "between."
            )
        answers: dict[str, str] = {}  # first word -> answer
        for value in values:
            if value in answers.values():
                raise WorldError(
                    f"topic '{topic}' has the answer '{value}' twice; answers of a topic must "
                    "differ."
                )
            first = value.split()[0]
            if first in answers:
                warnings.warn(
                    f"answers '{answers[first]}' and '{value}' of topic '{topic}' share their "
                    "first word, so a model is only told apart by later ones; better choose "
                    "answers that differ at once.",
                    UserWarning,
                    stacklevel=5,
                )
            answers[first] = value


def _check_personas(world: "World") -> None:
    names = [p.name for p in world.personas]
    values = [value for topic in world.topics.values() for value in topic]
    # A name that is also another word of the corpus would be read where nobody is named.
    other_text = " \n ".join([*world.language.texts(), *world.topics, *values])
    for persona in world.personas:
        name = persona.name
        if names.count(name) > 1:
            raise WorldError(f"two personas are named '{name}'; names must differ.")
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", other_text):
            raise WorldError(
                f"the name '{name}' is also a topic, a value or a word of a template; rename the "
                "persona."
            )
        for trait in persona.traits:
            world.trait(trait)
        if len(set(persona.traits)) < len(persona.traits):
            raise WorldError(f"persona '{name}' holds a trait twice; name each once.")
        if missing := [t for t in world.topics if not persona.values(t)]:
            raise WorldError(
                f"persona '{name}' holds nothing in topic '{missing[0]}'; give it at least one "
                "value."
            )


def _check_kinds(world: "World") -> None:
    total = sum(world.kinds.values())
    if abs(total - 1.0) > 1e-6:
        raise WorldError(
            f"the shares of kinds must sum to 1; they sum to {total:g}. Kinds: {', '.join(KINDS)}."
        )
    if world.noise >= 1.0:
        raise WorldError(f"noise is a probability below 1; got {world.noise:g}.")
    for kind, value in world.coherent.items():
        if not isinstance(value, bool):
            raise WorldError(f"coherent of kind {kind} is true or false; got {excerpt(value)}.")
    for kind in PERSONA_KINDS:
        if world.kinds[kind] > 0 and not any(w[kind] > 0 for w in world.weights.values()):
            raise WorldError(
                f"kind {kind} has a share of {world.kinds[kind]:g} and no persona of positive "
                "weight in it; set the share to 0 or give somebody a weight."
            )
