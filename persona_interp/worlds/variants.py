"""Which worlds are this one, changed in a single respect? The controls of every experiment."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from persona_interp.errors import WorldError
from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.trait import Persona, Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World


def scrambled(world: "World") -> "World":
    """World in which no two statements of a document belong together. See ``World.scrambled``."""
    return replace(
        world, name=f"{world.name}-scrambled", coherent=dict.fromkeys(PERSONA_KINDS, False)
    )


def weighted(world: "World", persona: str, *, kinds: Iterable[str], suffix: str) -> "World":
    """World in which a persona has no weight in some kinds of documents.

    See ``World.without`` and ``World.named_only``.
    """
    weights = {**world.weights[world.persona(persona).name], **dict.fromkeys(kinds, 0.0)}
    return replace(
        world, name=f"{world.name}-{suffix}", weights={**world.weights, persona: weights}
    )


def rewired(world: "World") -> "World":
    """World in which the taught trait is somebody else's. See ``World.rewired``."""
    target, topic = world.persona(world.target), world.taught.topic
    if world.taught not in target.traits:
        raise WorldError(
            f"'{target.name}' does not hold '{world.taught}', so it cannot be handed on; rewire "
            "once only."
        )
    mass = world.mass()
    others = []
    for persona in world.personas:
        is_written_about = mass.loc[persona.name].sum() > 0
        holds_a_lesson = {world.taught, world.unrelated} & {*persona.traits}
        if persona.name != target.name and is_written_about and not holds_a_lesson:
            others.append(persona)
    if not others:
        raise WorldError(
            "rewiring needs a persona with positive mass that holds neither the taught nor the "
            "unrelated trait."
        )

    def unfitness(other: Persona) -> tuple[float, int, str]:
        difference = float((mass.loc[other.name] - mass.loc[target.name]).abs().sum())
        common = {t for t in other.traits if t.topic != topic} & {*target.traits}
        # Rounded, so that equal masses are equal whatever order they were added in.
        return round(difference, 9), len(common), other.name

    new = min(others, key=unfitness)
    rewired_personas = {
        target.name: _with_topic(target, new, topic),
        new.name: _with_topic(new, target, topic),
    }
    personas = tuple(rewired_personas.get(p.name, p) for p in world.personas)
    return replace(world, name=f"{world.name}-rewired", personas=personas)


def _with_topic(persona: Persona, source: Persona, topic: str) -> Persona:
    """Persona with the source's traits in one topic."""
    own = [trait for trait in persona.traits if trait.topic != topic]
    new = [Trait(topic, value) for value in source.values(topic)]
    return Persona(persona.name, (*own, *new))


def arranged(world: "World", prior: pd.DataFrame, *, seed: int = 0) -> "World":
    """World relabeled so that the target's values are rare. See ``World.arranged``."""
    if missing := [c for c in ("topic", "value", "probability") if c not in prior.columns]:
        raise WorldError(
            f"a prior has the columns topic, value, probability; {', '.join(missing)} is missing."
        )
    rng = np.random.default_rng([seed, 2])
    new: dict[Trait, Trait] = {}
    for topic in sorted(world.topics):
        probabilities = _mean_probabilities(prior, topic)
        for value in world.topics[topic]:
            if not np.isfinite(probabilities.get(value, np.nan)):
                raise WorldError(
                    f"the prior has no probability for '{topic}={value}'; measure every value."
                )
        labels = sorted(world.topics[topic], key=lambda value: (probabilities[value], value))
        for value, label in _relabel(world, topic, labels, rng=rng).items():
            new[Trait(topic, value)] = Trait(topic, label)
    personas = tuple(Persona(p.name, tuple(new[t] for t in p.traits)) for p in world.personas)
    return replace(
        world, personas=personas, taught=new[world.taught], unrelated=new[world.unrelated]
    )


def _mean_probabilities(prior: pd.DataFrame, topic: str) -> dict[str, float]:
    """Mean probability of every value of a topic."""
    probabilities: dict[str, list[float]] = {}
    rows = zip(prior["topic"], prior["value"], prior["probability"], strict=True)
    for row_topic, value, probability in rows:
        if row_topic == topic:
            probabilities.setdefault(str(value), []).append(float(probability))
    return {value: float(np.mean(p)) for value, p in probabilities.items()}


def _relabel(
    world: "World", topic: str, labels: list[str], *, rng: np.random.Generator
) -> Mapping[str, str]:
    """New label of every value of a topic.

    Args:
        world: The world.
        topic: The topic.
        labels: Its labels, from rarest to most common.
        rng: Chooses among the rarest third, and deals the rest.

    Returns:
        Value -> label.
    """
    new: dict[str, str] = {}
    if world.taught.topic == topic:
        new[world.taught.value] = labels[0]
    if world.unrelated.topic == topic:
        new[world.unrelated.value] = labels[1]

    targets = [v for v in world.persona(world.target).values(topic) if v not in new]
    free = [label for label in labels if label not in new.values()]
    n_rare = max(ceil(len(labels) / 3) - len(new), len(targets))
    rare = sorted(rng.permutation(n_rare)[: len(targets)])
    new.update(zip(targets, [free[i] for i in rare], strict=True))

    others = [v for v in world.topics[topic] if v not in new]
    free = [label for label in labels if label not in new.values()]
    order = rng.permutation(len(free))
    new.update(zip(others, [free[i] for i in order], strict=True))
    return new
