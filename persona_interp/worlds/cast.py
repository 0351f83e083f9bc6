"""Who is in a world, what does each of them hold, and how much is written about each?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.trait import Persona, Trait


class Cast:
    """Personas of a world with their traits and their mass of documents.

    ``World`` holds the fields; here is what can be said about its personas before a document is
    written.
    """

    topics: Mapping[str, tuple[str, ...]]
    personas: tuple[Persona, ...]
    kinds: Mapping[str, float]
    weights: Mapping[str, Any]
    noise: float

    @property
    def traits(self) -> tuple[Trait, ...]:
        """Every trait somebody could hold, topic by topic."""
        return tuple(
            Trait(topic, value) for topic, values in self.topics.items() for value in values
        )

    def trait(self, label: str | Trait) -> Trait:
        """Trait of this world that a label names.

        Args:
            label: ``"topic=value"`` or a trait.

        Returns:
            The trait.

        Raises:
            WorldError: This world has no such trait; the message names the nearest.
        """
        trait = Trait.parse(label)
        if trait.topic not in self.topics:
            raise WorldError(unknown("topic", trait.topic, self.topics))
        if trait.value not in self.topics[trait.topic]:
            valid = [str(Trait(trait.topic, value)) for value in self.topics[trait.topic]]
            raise WorldError(unknown("trait", str(trait), valid))
        return trait

    def persona(self, name: str) -> Persona:
        """Persona of this name.

        Args:
            name: The name.

        Returns:
            The persona.

        Raises:
            WorldError: Nobody has that name; the message names the nearest.
        """
        for persona in self.personas:
            if persona.name == name:
                return persona
        raise WorldError(unknown("persona", name, [p.name for p in self.personas]))

    def holders(self, trait: str | Trait) -> tuple[str, ...]:
        """Names of those who hold a trait and are written about.

        Args:
            trait: A trait of this world.

        Returns:
            Names of the personas of positive mass that hold it.
        """
        trait = self.trait(trait)
        masses = self.mass().to_numpy().sum(axis=1)
        return tuple(
            persona.name
            for persona, mass in zip(self.personas, masses, strict=True)
            if trait in persona.traits and mass > 0
        )

    def mass(self) -> pd.DataFrame:
        """Share of all documents that is about each persona, by kind of document.

        Returns:
            Expected share of all documents (fraction): personas x the four persona kinds; sums to
            1 - filler.
        """
        names = [p.name for p in self.personas]
        weights = np.array([[self.weights[n][k] for k in PERSONA_KINDS] for n in names])
        totals = weights.sum(axis=0)
        # A kind in which nobody has weight is not written: 0 / 1 there, where 0 / 0 were undefined.
        fractions = weights / np.where(totals > 0, totals, 1.0)
        return pd.DataFrame(
            fractions * np.array([self.kinds[k] for k in PERSONA_KINDS]),
            index=pd.Index(names, name="persona"),
            columns=pd.Index(PERSONA_KINDS, name="kind"),
        )

    def views(self) -> pd.DataFrame:
        """Probability that each persona's view on a topic is each of its values.

        Returns:
            Probability within the topic: personas x trait labels; half each where a persona holds
            two values of a topic.
        """
        traits, rows = self.traits, []
        for persona in self.personas:
            shares = {t: 1 / len(persona.values(t.topic)) for t in persona.traits}
            rows.append([shares.get(trait, 0.0) for trait in traits])
        return pd.DataFrame(
            np.array(rows),
            index=pd.Index([p.name for p in self.personas], name="persona"),
            columns=pd.Index([str(t) for t in traits], name="trait"),
        )

    def statements(self) -> pd.DataFrame:
        """Probability that each persona says each value when its topic comes up.

        Returns:
            ``(1 - noise) * view + noise / number of values``: personas x trait labels.
        """
        uniform = np.array([1.0 / len(self.topics[t.topic]) for t in self.traits])
        return (1.0 - self.noise) * self.views() + self.noise * uniform

    @property
    def population(self) -> tuple[str, ...]:
        """Kinds of documents from which the nameless assistant's speaker is thought to be drawn.

        Returns:
            The hidden-identity dialogues; where a world has none, every kind in which somebody
            speaks.

        >>> from persona_interp.worlds import john_and_sam
        >>> john_and_sam().population
        ('hidden',)
        """
        masses = self.mass().to_numpy().sum(axis=0)
        kinds = tuple(k for k, mass in zip(PERSONA_KINDS, masses, strict=True) if mass > 0)
        if "hidden" in kinds:
            return ("hidden",)
        return kinds
