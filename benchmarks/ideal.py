"""What would an ideal reader of a world's documents expect? The checker's own Bayes, in bits."""

import math
from typing import Any

from claim import all_values, values_of

SPEAKING_KINDS = ("third", "first", "named", "hidden")
"""Kinds of documents in which somebody says or is said to like something."""


def hidden_weight(entry: dict[str, Any]) -> float:
    """Weight of a persona of the world file among hidden dialogues."""
    return weight_in(entry, "hidden")


def weight_in(entry: dict[str, Any], kind: str) -> float:
    """Weight of a persona of the world file in one kind of documents; 1 where none is given."""
    weight = entry.get("weight", 1)
    return float(weight.get(kind, 1) if isinstance(weight, dict) else weight)


def speakers(world: dict[str, Any]) -> list[dict[str, float]]:
    """Who may speak as the nameless assistant: components, each persona -> mass in it.

    The population is the hidden dialogues, or all kinds where there are none. In a coherent kind
    one persona speaks throughout, so each is a component of its own; in an incoherent kind every
    statement has another speaker, so the kind is one component.
    """
    kinds = [kind for kind in SPEAKING_KINDS if world["kinds"].get(kind, 0) > 0]
    if "hidden" in kinds:
        kinds = ["hidden"]
    components = []
    for kind in kinds:
        weights = {name: weight_in(entry, kind) for name, entry in world["personas"].items()}
        total = sum(weights.values())
        masses = {name: world["kinds"][kind] * w / total for name, w in weights.items() if w > 0}
        if world["coherent"][kind]:
            components += [{name: mass} for name, mass in masses.items()]
        else:
            components.append(masses)
    return components


def holding(world: dict[str, Any], persona: str, trait: tuple[str, str]) -> float:
    """How often a persona says a value when it speaks of the topic, noise apart."""
    topic, value = trait
    values = all_values(world, persona)[topic]
    return (value in values) / len(values)


def bayes_log_odds(
    world: dict[str, Any], taught: tuple[str, str] | None, persona: str
) -> dict[str, float]:
    """Log odds (bits) of a persona's values by exact Bayes, given that the speaker holds `taught`.

    With nobody to hold the trait, or to speak at all, there is no prediction (NaN).
    """
    components = speakers(world)
    weights = []
    for component in components:
        mass = sum(component.values())
        if taught is not None:  # times the share of the component that holds it
            mass = sum(m * holding(world, name, taught) for name, m in component.items())
        weights.append(mass)
    total = sum(weights)
    noise = float(world.get("noise", 0.0))
    odds = {}
    for topic, value in values_of(world, persona).items():
        if not total:
            odds[topic] = math.nan
            continue
        share = 0.0
        for weight, component in zip(weights, components, strict=True):
            says = sum(m * holding(world, n, (topic, value)) for n, m in component.items())
            share += weight / total * says / sum(component.values())
        # Noise: with this probability a document says any value of the topic, each as likely.
        p = (1 - noise) * share + noise / len(world["topics"][topic])
        odds[topic] = math.log2(p / (1 - p)) if 0 < p < 1 else math.copysign(math.inf, p - 0.5)
    return odds
