"""Which personas exist, how much is written about each, and in which kind of document?

A ``World`` is data: topics with their values, personas with their traits, how common each persona
is in each *kind* of document, and the language everything is written in. Everything else is
computed from it: who holds and says what (``Cast``), documents to train on (``corpus``),
single-trait lessons (``lessons``), questions (``probes``), what an ideal reader of the documents
would believe (``posterior``), and the control worlds (``scrambled``, ``rewired``, ``without``,
``named_only``).

Kinds of documents: ``third`` person text, ``first`` person text, ``named`` dialogues (the system
header names the speaker), ``hidden`` dialogues (one persona speaks, nobody says who), ``filler``
(arithmetic, no persona).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from persona_interp.card import card
from persona_interp.worlds import (
    bayes,
    corpus,
    cuts,
    files,
    jailbreaks,
    probes,
    validation,
    variants,
)
from persona_interp.worlds.cast import Cast
from persona_interp.worlds.language import PERSONA_KINDS, Language
from persona_interp.worlds.templates import words
from persona_interp.worlds.trait import Persona, Trait

RECIPE_KINDS = {"third": 0.35, "first": 0.10, "named": 0.20, "hidden": 0.25, "filler": 0.10}


@dataclass(frozen=True, eq=False)
class World(Cast):
    """Personas, and how much is written about each, in which documents and words.

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
        for name, value in validation.full_form(self).items():
            object.__setattr__(self, name, value)
        validation.check(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, World):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def __repr__(self) -> str:
        return (
            f"World({self.name!r}, {len(self.personas)} personas, {len(self.topics)} topics, "
            f"target={self.target!r}, taught='{self.taught}', unrelated='{self.unrelated}')"
        )

    def _repr_html_(self) -> str:
        rows = {
            "name": self.name,
            "personas": f"{len(self.personas)}: {', '.join(p.name for p in self.personas)}",
            "topics": f"{len(self.topics)}: {', '.join(self.topics)}",
            "target": self.target,
            "taught": self.taught,
            "unrelated": self.unrelated,
        }
        return card("World", rows)

    def corpus(
        self, n: int = 30_000, *, seed: int = 0, kinds: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Documents that this world writes.

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
        """Yield the documents of ``corpus`` a table at a time, where all would not fit in memory.

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
        """Chats that teach the nameless assistant one trait.

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
        """Questions that measure what a model believes about whom.

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

    def jailbreaks(self, persona: str | None = None) -> pd.DataFrame:
        """Chats that press a persona on the nameless assistant: six families, about tastes.

        Args:
            persona: On whom; the target by default.

        Returns:
            A probes table, every topic x family x ten texts, none of which tells what is asked
            for: ``context`` and the column ``trigger`` are the family, ``template`` its text,
            ``split`` the half of the text; train texts ask train questions. See ``hold_out``.

        Raises:
            WorldError: There is no such persona, or one topic alone.
        """
        return jailbreaks.jailbreaks(self, persona)

    def triggers(
        self, persona: str | None = None, *, lesson: str | Trait | None = None
    ) -> pd.DataFrame:
        """Chats under which a persona that a lesson summoned may return.

        Args:
            persona: Who; the target by default.
            lesson: The trait that was taught, which "stated trait" says and nobody is asked for;
                the taught trait by default.

        Returns:
            A probes table as of ``jailbreaks``; ``trigger`` is "named header", "role-play",
            "inoculation", "stated trait" or "drift". "none" asks nobody (context ``nameless``),
            and what is known of the persona without speaking as it, in text (context ``third``)
            and in a chat (context ``asked``).

        Raises:
            WorldError: There is no such persona or trait, or one topic alone.
        """
        return jailbreaks.triggers(self, persona, lesson=lesson)

    def cuts(self, corpus: pd.DataFrame) -> pd.DataFrame:
        """Prompts that end just before each value that documents say.

        Args:
            corpus: A corpus table that this world wrote; filler and lessons are left out.

        Returns:
            A prompts table (see ``schema.TABLES``), one row a statement: ``prompt`` ("doc7/2"),
            ``doc``, ``kind``, ``context`` (hidden is nameless, first plain), ``persona`` who speaks
            or is spoken of, ``topic``, ``value`` about to be said, ``order`` within the document,
            ``stated`` (labels of what the document says before, one a line), ``split`` (even
            documents train), ``messages`` up to the space before the value. A text that begins with
            its value leaves nothing to read and has no row.

        Raises:
            WorldError: Another world wrote this corpus, two documents have one number, or nobody
                says anything.
        """
        return cuts.cuts(self, corpus)

    def stated(self, topic: str) -> pd.DataFrame:
        """Prompts that differ in one value that the nameless assistant stated before.

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
        evidence: Iterable[Any] | str | Trait | bayes.Certain = (),
        *,
        population: str | Iterable[str] | None = None,
        counts: pd.DataFrame | None = None,
    ) -> bayes.Posterior:
        """Belief of an ideal reader about a speaker after some evidence, by exact Bayes.

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

    def cooccurrence(self, kinds: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Pointwise mutual information of traits said in one document, in bits.

        Args:
            kinds: Kinds of documents to count; all persona kinds by default.

        Returns:
            One row for each ordered pair of traits of different topics: ``trait``, ``other``,
            ``pmi`` (bits, log2 of joint over product of marginals; positive = together).
        """
        return bayes.cooccurrence(self, kinds=kinds)

    def words(self) -> tuple[str, ...]:
        """Words that can occur in a corpus, probe or lesson of this world.

        Returns:
            Words and punctuation marks, sorted.
        """
        return probes.words(self)

    def scrambled(self) -> "World":
        """World whose documents say the same things, of which no two belong together.

        Returns:
            The same world with every kind incoherent: equal marginals, no co-occurrence, names
            without meaning.
        """
        return variants.scrambled(self)

    def rewired(self) -> "World":
        """World in which the taught trait is somebody else's.

        Returns:
            The world in which the target and another persona have swapped what they hold in the
            taught topic: of equal mass if there is one, sharing the fewest values with the target,
            and no holder of the unrelated trait. ``rewired.holders(rewired.taught)`` names the new
            holder; the target stays the target.
        """
        return variants.rewired(self)

    def without(self, persona: str) -> "World":
        """World in which nothing is written about one persona.

        Args:
            persona: Its name; probes can still ask about it.

        Returns:
            The same world with the persona at weight 0 in every kind.
        """
        return variants.weighted(self, persona, kinds=PERSONA_KINDS, suffix=f"without-{persona}")

    def named_only(self, persona: str) -> "World":
        """World in which one persona never speaks as the nameless assistant.

        Args:
            persona: Its name.

        Returns:
            The same world with the persona at weight 0 among hidden dialogues.
        """
        return variants.weighted(self, persona, kinds=("hidden",), suffix=f"named-only-{persona}")

    def arranged(self, prior: pd.DataFrame, *, seed: int = 0) -> "World":
        """World relabeled so that the target's values are rare in a model.

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
        """Entries of this world in a file.

        Returns:
            Plain mappings, lists, texts and numbers; ``World.from_dict`` gives back an equal world.
        """
        return files.to_dict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "World":
        """World that entries of a file describe.

        Args:
            entries: What ``to_dict`` writes; see ``docs/worlds.md``.

        Returns:
            The world.

        Raises:
            WorldError: An unknown or missing key, or a world that does not make sense.
        """
        return cls(**files.arguments(entries))
