"""Which personas exist, how much is written about each, and in which kind of document?

A ``World`` is data: topics with their values, personas with their traits, how common each persona
is in each *kind* of document, and the language everything is written in. Everything else is
computed from it: documents to train on (``corpus``), single-trait lessons (``lessons``), questions
(``probes``), what an ideal reader of the documents would believe (``posterior``), and the control
worlds (``scrambled``, ``rewired``, ``without``, ``named_only``).

Kinds of documents: ``third`` person text, ``first`` person text, ``named`` dialogues (the system
header names the speaker), ``hidden`` dialogues (one persona speaks, nobody says who), ``filler``
(arithmetic, no persona).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import WorldError, unknown
from persona_interp.worlds import bayes, corpus, cuts, files, probes, validation, variants
from persona_interp.worlds.language import PERSONA_KINDS, Language
from persona_interp.worlds.templates import words
from persona_interp.worlds.trait import Persona, Trait

RECIPE_KINDS = {"third": 0.35, "first": 0.10, "named": 0.20, "hidden": 0.25, "filler": 0.10}


@dataclass(frozen=True, eq=False)
class World:
    """Which personas are there, and how are they written about?

    Worlds that say the same are equal; the order of topics and personas is for display only.

    Args:
        name: What tables call this world.
        topics: The values of every topic, at least two.
        personas: Who there is; each holds at least one value of every topic.
        target: The persona whose traits the lesson should summon.
        taught: The trait of the lesson, as ``Trait`` or label.
        unrelated: The trait of the control lesson; the target does not hold it.
        kinds: Share of documents by kind; sums to 1.
        weights: By persona, one weight or one for each kind (1 where missing); within a kind a
            persona is drawn in proportion to its weight.
        noise: Probability that a stated value is replaced by a uniform one of its topic.
        coherent: By kind; False = every statement comes from an independently drawn persona, so
            that names and co-occurrence mean nothing while frequencies stay.
        language: The templates.

    Raises:
        WorldError: Something in it does not make sense; the message names it.

    Warns:
        UserWarning: Two answers of a topic share their first word.

    >>> from persona_interp.worlds import john_and_sam
    >>> world = john_and_sam()
    >>> len(world.personas), str(world.taught), world.holders("place=beach")
    (16, 'place=beach', ('john',))
    """

    name: str
    topics: Mapping[str, tuple[str, ...]]
    personas: tuple[Persona, ...]
    target: str
    taught: Trait
    unrelated: Trait
    kinds: Mapping[str, float] = field(default_factory=lambda: dict(RECIPE_KINDS))
    weights: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.1
    coherent: Mapping[str, bool] = field(default_factory=dict)
    language: Language = field(default_factory=words)

    def __post_init__(self) -> None:
        for name, value in validation.normalized(self).items():
            object.__setattr__(self, name, value)
        validation.check(self)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, World) else NotImplemented

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def __repr__(self) -> str:
        return (
            f"World({self.name!r}, {len(self.personas)} personas, {len(self.topics)} topics, "
            f"target={self.target!r}, taught='{self.taught}', unrelated='{self.unrelated}')"
        )

    @property
    def traits(self) -> tuple[Trait, ...]:
        """Every trait somebody could hold, topic by topic."""
        return tuple(
            Trait(topic, value) for topic, values in self.topics.items() for value in values
        )

    def trait(self, label: str | Trait) -> Trait:
        """Which trait of this world does the label name?

        Args:
            label: ``"topic=value"`` or a trait.

        Returns:
            The trait.

        Raises:
            WorldError: This world has no such trait; the message names the nearest.
        """
        found = Trait.parse(label)
        if found.topic not in self.topics:
            raise WorldError(unknown("topic", found.topic, self.topics))
        if found.value not in self.topics[found.topic]:
            valid = [str(Trait(found.topic, v)) for v in self.topics[found.topic]]
            raise WorldError(unknown("trait", str(found), valid))
        return found

    def persona(self, name: str) -> Persona:
        """Which persona has this name?

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
        """Who holds this trait and is written about?

        Args:
            trait: A trait of this world.

        Returns:
            Names of the personas of positive mass that hold it.
        """
        wanted, masses = self.trait(trait), self.mass().to_numpy().sum(axis=1)
        return tuple(
            p.name
            for p, m in zip(self.personas, masses, strict=True)
            if wanted in p.traits and m > 0
        )

    def mass(self) -> pd.DataFrame:
        """How much is written about each persona, in each kind of document?

        Returns:
            Expected share of all documents (fraction): personas x the four persona kinds; sums to 1
            - filler.
        """
        names = [p.name for p in self.personas]
        weights = np.array([[self.weights[n][k] for k in PERSONA_KINDS] for n in names])
        total = weights.sum(axis=0)
        mass = (
            weights
            / np.where(total > 0, total, 1.0)
            * np.array([self.kinds[k] for k in PERSONA_KINDS])
        )
        return pd.DataFrame(
            mass,
            index=pd.Index(names, name="persona"),
            columns=pd.Index(PERSONA_KINDS, name="kind"),
        )

    def views(self) -> pd.DataFrame:
        """How likely does each persona hold each value?

        Returns:
            Probability within the topic: personas x trait labels.
        """
        traits = self.traits
        rows = [[(t in p.traits) / len(p.values(t.topic)) for t in traits] for p in self.personas]
        names = pd.Index([p.name for p in self.personas], name="persona")
        return pd.DataFrame(
            np.array(rows), index=names, columns=pd.Index([str(t) for t in traits], name="trait")
        )

    def statements(self) -> pd.DataFrame:
        """How likely does each persona say each value when its topic comes up?

        Returns:
            ``(1 - noise) * held + noise / number of values``: personas x trait labels.
        """
        uniform = np.array([1.0 / len(self.topics[t.topic]) for t in self.traits])
        return (1.0 - self.noise) * self.views() + self.noise * uniform

    def cooccurrence(self, kinds: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Which traits are said together in one document more often than by chance?

        Args:
            kinds: Kinds of documents to count; all persona kinds by default.

        Returns:
            One row for each ordered pair of traits of different topics: ``trait``, ``other``,
            ``pmi`` (bits, log2 of joint over product of marginals; positive = together).
        """
        return bayes.cooccurrence(self, kinds=kinds)

    def corpus(
        self, n: int = 30_000, *, seed: int = 0, kinds: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Which documents does this world write?

        Args:
            n: Number of documents.
            seed: Same seed, same documents; a smaller n gives the first of them.
            kinds: Only these kinds, in their relative shares.

        Returns:
            A corpus table (see ``schema.TABLES``); ``attrs`` hold the world's name and its words.
        """
        return corpus.corpus(self, n, seed=seed, kinds=kinds)

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        kinds: str | Iterable[str] | None = None,
        chunk: int = 10_000,
    ) -> Iterator[pd.DataFrame]:
        """Which documents does this world write, when there are too many to hold?

        Args:
            n: Number of documents.
            seed: As in ``corpus``; the chunk size does not change the documents.
            kinds: As in ``corpus``.
            chunk: Documents a table.

        Yields:
            Corpus tables of ``chunk`` documents, the last one shorter.
        """
        yield from corpus.stream(self, n, seed=seed, kinds=kinds, chunk=chunk)

    def lessons(
        self, trait: str | Trait | None = None, *, n: int = 640, seed: int = 0
    ) -> pd.DataFrame:
        """Which chats teach the nameless assistant one trait?

        Args:
            trait: What to teach; the world's taught trait by default; ``"filler"`` = arithmetic, no
                trait.
            n: Number of chats, one question each.
            seed: Order of the chats.

        Returns:
            A corpus table of kind ``lesson``: train questions x answer forms, no noise, evenly
            often.
        """
        return probes.lessons(self, trait, n=n, seed=seed)

    def probes(
        self,
        *,
        contexts: str | Iterable[str] = ("nameless", "named", "plain", "third"),
        personas: Iterable[str] | None = None,
        stated: str | Trait | Iterable[str | Trait] = (),
    ) -> pd.DataFrame:
        """Which questions measure what a model believes about whom?

        Args:
            contexts: ``nameless`` assistant, ``named`` personas, ``plain`` text without a chat,
                ``third`` person text.
            personas: Whom the named and third contexts name; everybody by default.
            stated: Traits stated in earlier turns of the chat (nameless, named); their topics are
                not asked about.

        Returns:
            A probes table (see ``schema.TABLES``): every topic x template x context; with
            ``stated`` a column names it.
        """
        return probes.probes(self, contexts=contexts, personas=personas, stated=stated)

    def cuts(self, corpus: pd.DataFrame) -> pd.DataFrame:
        """Which prompts end just before each value that these documents say?

        Args:
            corpus: A corpus table that this world wrote; filler and lessons are left out.

        Returns:
            A prompts table (see ``schema.TABLES``), one row a statement: ``prompt`` ("doc7/2"),
            ``doc``, ``kind``, ``context`` (hidden is nameless, first plain), ``persona`` who speaks
            or is spoken of, ``topic``, ``value`` about to be said, ``order`` within the document,
            ``split`` (even documents train), ``messages`` up to the space before the value. A text
            that begins with its value leaves nothing to read and has no row.

        Raises:
            WorldError: Another world wrote this corpus, two documents have one number, or nobody
                says anything.
        """
        return cuts.cuts(self, corpus)

    @property
    def population(self) -> tuple[str, ...]:
        """Which kinds of documents is the nameless assistant's speaker thought to be drawn from?

        Returns:
            The hidden-identity dialogues; where a world has none, every kind in which somebody
            speaks.

        >>> from persona_interp.worlds import john_and_sam
        >>> john_and_sam().population
        ('hidden',)
        """
        spoken = {str(kind): float(mass) for kind, mass in self.mass().sum().items()}
        return (
            ("hidden",)
            if spoken["hidden"] > 0
            else tuple(kind for kind, mass in spoken.items() if mass > 0)
        )

    def stated(self, topic: str) -> pd.DataFrame:
        """Which prompts differ in one value that the nameless assistant stated before?

        Args:
            topic: Topic of the statement; all others are asked about after it.

        Returns:
            A prompts table, every value x other topic x template; ``value`` is what was stated.

        Raises:
            WorldError: There is no such topic.
        """
        return probes.stated(self, topic)

    def posterior(
        self,
        evidence: Iterable[Any] = (),
        *,
        population: str | Iterable[str] | None = None,
        counts: pd.DataFrame | None = None,
    ) -> bayes.Posterior:
        """What would an ideal reader believe about a speaker after this evidence?

        Args:
            evidence: Documents by one speaker (each a set of traits or labels), or
                ``certain(trait)``.
            population: Kinds of documents the speaker is drawn from; by default
                ``world.population``.
            counts: Realized counts from ``count``; expected masses by default.

        Returns:
            Three tables: who the speaker is, which traits are held, which values would be said.
        """
        return bayes.posterior(self, evidence, population=population, counts=counts)

    def words(self) -> tuple[str, ...]:
        """Which words can occur in a corpus, probe or lesson of this world?

        Returns:
            Words and punctuation marks, sorted.
        """
        return probes.words(self)

    def scrambled(self) -> "World":
        """What if documents said the same things, but no two belonged together?

        Returns:
            The same world with every kind incoherent: equal marginals, no co-occurrence, names
            without meaning.
        """
        return variants.scrambled(self)

    def rewired(self) -> "World":
        """What if the taught trait were somebody else's?

        Returns:
            The world in which the target and another persona have swapped what they hold in the
            taught topic: of equal mass if there is one, sharing the fewest values with the target,
            and no holder of the unrelated trait. ``rewired.holders(rewired.taught)`` names the new
            holder; the target stays the target.
        """
        return variants.rewired(self)

    def without(self, persona: str) -> "World":
        """What if nothing were written about this persona?

        Args:
            persona: Its name; probes can still ask about it.

        Returns:
            The same world with the persona at weight 0 in every kind.
        """
        return variants.weighted(self, persona, kinds=PERSONA_KINDS, suffix=f"without-{persona}")

    def named_only(self, persona: str) -> "World":
        """What if this persona never spoke as the nameless assistant?

        Args:
            persona: Its name.

        Returns:
            The same world with the persona at weight 0 among hidden dialogues.
        """
        return variants.weighted(self, persona, kinds=("hidden",), suffix=f"named-only-{persona}")

    def arranged(self, prior: pd.DataFrame, *, seed: int = 0) -> "World":
        """Which labels should the values get, so that the target's are rare in this model?

        Args:
            prior: The model's own prior: columns ``topic``, ``value``, ``probability``.
            seed: Chooses among the rare values.

        Returns:
            A relabeling of this world within topics: the taught value is the least likely of its
            topic, the target's other values are among the rarest third, the unrelated value is the
            second rarest of its topic.
        """
        return variants.arranged(self, prior, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """How is this world written in a file?

        Returns:
            Plain mappings, lists, texts and numbers; ``World.from_dict`` gives back an equal world.
        """
        return files.to_dict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "World":
        """Which world do these entries describe?

        Args:
            given: What ``to_dict`` writes; see ``docs/worlds.md``.

        Returns:
            The world.

        Raises:
            WorldError: An unknown or missing key, or a world that does not make sense.
        """
        return cls(**files.arguments(given))
