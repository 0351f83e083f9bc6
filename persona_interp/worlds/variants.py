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
    """What if no two statements of a document belonged together? See ``World.scrambled``."""
    return replace(
        world, name=f"{world.name}-scrambled", coherent=dict.fromkeys(PERSONA_KINDS, False)
    )


def weighted(world: "World", persona: str, *, kinds: Iterable[str], suffix: str) -> "World":
    """What if this persona had no weight in these kinds? See ``World.without`` and ``World.named_only``."""
    zero = {**world.weights[world.persona(persona).name], **dict.fromkeys(kinds, 0.0)}
    return replace(world, name=f"{world.name}-{suffix}", weights={**world.weights, persona: zero})


def rewired(world: "World") -> "World":
    """What if the taught trait were somebody else's? See ``World.rewired``."""
    target, topic = world.persona(world.target), world.taught.topic
    if world.taught not in target.traits:
        raise WorldError(
            f"'{target.name}' does not hold '{world.taught}', so it cannot be handed on; rewire "
            "once only."
        )
    mass = world.mass()
    others = [
        p
        for p in world.personas
        if p.name != target.name
        and mass.loc[p.name].sum() > 0
        and not {world.taught, world.unrelated} & {*p.traits}
    ]
    if not others:
        raise WorldError(
            "rewiring needs a persona with positive mass that holds neither the taught nor the "
            "unrelated trait."
        )

    def unlikeness(other: Persona) -> tuple[float, int, str]:
        shared = {t for t in other.traits if t.topic != topic} & {*target.traits}
        return (
            round(float((mass.loc[other.name] - mass.loc[target.name]).abs().sum()), 9),
            len(shared),
            other.name,
        )

    new = min(others, key=unlikeness)
    swapped = {
        target.name: _with_topic(target, new, topic),
        new.name: _with_topic(new, target, topic),
    }
    personas = tuple(swapped.get(p.name, p) for p in world.personas)
    return replace(world, name=f"{world.name}-rewired", personas=personas)


def _with_topic(persona: Persona, source: Persona, topic: str) -> Persona:
    """Persona with the source's traits in one topic."""
    kept = [t for t in persona.traits if t.topic != topic]
    return Persona(persona.name, (*kept, *(Trait(topic, v) for v in source.values(topic))))


def arranged(world: "World", prior: pd.DataFrame, *, seed: int = 0) -> "World":
    """Which labels make the target's values rare? See ``World.arranged``."""
    if missing := [c for c in ("topic", "value", "probability") if c not in prior.columns]:
        raise WorldError(
            f"a prior has the columns topic, value, probability; {', '.join(missing)} is missing."
        )
    rng = np.random.default_rng([seed, 2])
    new: dict[Trait, Trait] = {}
    for topic in sorted(world.topics):
        likely = _likely(prior, topic)
        if lacking := [
            value for value in world.topics[topic] if not np.isfinite(likely.get(value, np.nan))
        ]:
            raise WorldError(
                f"the prior has no probability for '{topic}={lacking[0]}'; measure every value."
            )
        rarest = sorted(world.topics[topic], key=lambda value: (likely[value], value))
        for old, label in _placed(world, topic, rarest, rng=rng).items():
            new[Trait(topic, old)] = Trait(topic, label)
    personas = tuple(Persona(p.name, tuple(new[t] for t in p.traits)) for p in world.personas)
    return replace(
        world, personas=personas, taught=new[world.taught], unrelated=new[world.unrelated]
    )


def _likely(prior: pd.DataFrame, topic: str) -> dict[str, float]:
    """Mean probability of every value of a topic."""
    found: dict[str, list[float]] = {}
    for row_topic, value, probability in zip(
        prior["topic"], prior["value"], prior["probability"], strict=True
    ):
        if row_topic == topic:
            found.setdefault(str(value), []).append(float(probability))
    return {value: float(np.mean(p)) for value, p in found.items()}


def _placed(
    world: "World", topic: str, rarest: list[str], *, rng: np.random.Generator
) -> Mapping[str, str]:
    """New label of every value of a topic, given the labels from rarest to most common."""
    placed: dict[str, str] = {}
    if world.taught.topic == topic:
        placed[world.taught.value] = rarest[0]
    if world.unrelated.topic == topic:
        placed[world.unrelated.value] = rarest[1]
    own = [v for v in world.persona(world.target).values(topic) if v not in placed]
    free = [v for v in rarest if v not in placed.values()]
    rare = max(ceil(len(rarest) / 3) - len(placed), len(own))
    chosen = [free[i] for i in sorted(rng.permutation(rare)[: len(own)])]
    placed.update(zip(own, chosen, strict=True))
    rest = [v for v in rarest if v not in placed.values()]
    olds = [v for v in world.topics[topic] if v not in placed]
    placed.update(zip(olds, (rest[i] for i in rng.permutation(len(rest))), strict=True))
    return placed
