"""Which text do processes write that are nobody: number sequences, lists, code-like lines?

A **process** is one generator of one family of text. It has three properties that go together in
what it writes: what its elements are (the step of a number sequence, the item a list begins with,
the naming style of code), what stands between them, and what closes them. Documents show one
property or more of one process and say nowhere whose they are, but for an optional title, which is
to a process what a name is to a persona. There are no personas and no dialogues.

>>> sequences().corpus(1)["messages"][0][0]["content"]
'series : 7 ; 14 ; 21 ; 28 halt'
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.families import BLANK, END, FAMILIES, text
from persona_interp.worlds.language import pieces
from persona_interp.worlds.process_texts import Draws, ask, pick, write_document
from persona_interp.worlds.trait import Trait

WEIGHTS = (1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0)
"""Weights of a family's processes, the target's first."""


@dataclass(frozen=True)
class Process:
    """One generator of one family of text, and the values it writes.

    Args:
        title: What its titled documents begin with.
        family: Name of the family of text.
        traits: Its value of each property, in the family's order.
        weight: How often it is drawn within its family.

    >>> str(sequences().target("numbers").traits[0])
    'step=3'
    """

    title: str
    family: str
    traits: tuple[Trait, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Sequences:
    """Processes, and how their documents are written.

    Args:
        name: What tables call this world.
        processes: Who writes; the first of each family is its target, whose first value a lesson
            teaches.
        noise: Probability that a value shown is replaced by a uniform one.
        titled: Share of documents that open with their process's title.
        coherent: False = every value comes from an independently drawn process of the family, so
            that co-occurrence and titles mean nothing while frequencies stay.

    Raises:
        WorldError: A family without a process.

    >>> world = sequences()
    >>> len(world.processes), world.scrambled().coherent
    (24, False)
    """

    name: str
    processes: tuple[Process, ...]
    noise: float = 0.1
    titled: float = 0.0
    coherent: bool = True

    def __post_init__(self) -> None:
        if missing := FAMILIES.keys() - {p.family for p in self.processes}:
            raise WorldError(
                f"every family needs a process; {', '.join(sorted(missing))} has none."
            )

    @property
    def topics(self) -> dict[str, tuple[str, ...]]:
        """The values of every property, over all families."""
        topics = {}
        for family in FAMILIES.values():
            topics |= family.values()
        return topics

    def family(self, trait: str | Trait) -> str:
        """Family of text in which a value occurs.

        Args:
            trait: A trait or its label.

        Returns:
            Name of the family.

        Raises:
            WorldError: There is no such value; the message names the nearest.
        """
        trait = Trait.parse(trait)
        labels = [f"{topic}={value}" for topic, values in self.topics.items() for value in values]
        if str(trait) not in labels:
            raise WorldError(unknown("trait", str(trait), labels))
        return next(name for name, family in FAMILIES.items() if trait.topic in family.topics)

    def target(self, family: str) -> Process:
        """Process that a lesson in a family should summon.

        Args:
            family: Name of a family.

        Returns:
            Its first process.
        """
        return self.members(family)[0]

    def unrelated(self, family: str) -> Trait:
        """First value of a process of which no holder shares a value with the target.

        Args:
            family: Name of a family.

        Returns:
            The trait of a control lesson.
        """
        target, *others = self.members(family)
        related = {p.traits[0] for p in others if set(p.traits) & set(target.traits)}
        return next(p.traits[0] for p in others if p.traits[0] not in related)

    def members(self, family: str) -> tuple[Process, ...]:
        """Processes that write texts of a family, the target first."""
        if family not in FAMILIES:
            raise WorldError(unknown("family", family, FAMILIES))
        return tuple(p for p in self.processes if p.family == family)

    def scrambled(self) -> "Sequences":
        """World with the same frequencies, in which nothing goes together."""
        return replace(self, name=f"{self.name}-scrambled", coherent=False)

    def words(self) -> tuple[str, ...]:
        """Words that can occur in documents, lessons and probes."""
        texts = [BLANK, END, *(p.title for p in self.processes)]
        for family in FAMILIES.values():
            texts += [*family.openers, *family.test_openers, *family.between, *family.ends]
            for elements in family.elements.values():
                texts += elements
        return tuple(sorted({piece for text in texts for piece in pieces(text)}))

    def statements(self, trait: str | Trait | None = None) -> pd.DataFrame:
        """Probability that an ideal reader gives to each value of a document of each family.

        Exact Bayes: processes are drawn by weight; those that hold the taught value remain; a value
        they hold is written with probability ``1 - noise + noise / n``, each other one with
        ``noise / n``, of n values.

        Args:
            trait: What is certain; nothing by default. It says nothing about other families.

        Returns:
            ``topic``, ``value``, ``trait``, ``probability`` of being written when the property is
            shown.

        Raises:
            WorldError: There is no such value, or no process holds it.
        """
        certain = lesson_family = None
        if trait is not None:
            certain = Trait.parse(trait)
            lesson_family = self.family(certain)
        rows = []
        for name, family in FAMILIES.items():
            members = self.members(name)
            weight = np.array([p.weight for p in members])
            # In a scrambled world a value says nothing about its writer.
            if name == lesson_family and self.coherent:
                weight = weight * np.array([certain in p.traits for p in members])
            if not weight.any():
                raise WorldError(f"no process holds {certain}, so nothing follows from it.")
            weight = weight / weight.sum()
            for topic, values in family.values().items():
                for value in values:
                    outcome = Trait(topic, value)
                    view = float(weight @ np.array([outcome in p.traits for p in members]))
                    statement = (1 - self.noise) * view + self.noise / len(values)
                    rows.append((topic, value, str(outcome), statement))
        return pd.DataFrame(rows, columns=["topic", "value", "trait", "probability"])

    def corpus(self, n: int = 30_000, *, seed: int = 0) -> pd.DataFrame:
        """Documents that the processes write.

        Args:
            n: Number of documents; families equally often, each document with one to three
                properties shown.
            seed: Same seed, same documents.

        Returns:
            A corpus table of kind "process".
        """
        # Who writes the title is drawn apart from all else, so that documents are the same with
        # titles and without.
        title_writers = np.random.default_rng([seed, 9]).random(n).tolist()
        uniforms = np.random.default_rng([seed, 7]).random((n, 16)).tolist()
        rows = []
        for doc, (u, title_writer) in enumerate(zip(uniforms, title_writers, strict=True)):
            name = pick(list(FAMILIES), u[0])
            content, values = write_document(self, name, Draws.parse(u, title_writer))
            topics = FAMILIES[name].topics
            labels = tuple(f"{topics[slot]}={value}" for slot, value in values.items())
            rows.append((doc, "process", content, labels))
        return self._table(rows)

    def lessons(self, trait: str | Trait, *, n: int = 640, seed: int = 0) -> pd.DataFrame:
        """Documents that show one value and no other property.

        Args:
            trait: What to teach.
            n: Number of documents.
            seed: Their order.

        Returns:
            A corpus table of kind "lesson": every opener evenly often, no noise, no title.
        """
        trait = Trait.parse(trait)
        family = FAMILIES[self.family(trait)]
        values = {family.topics.index(trait.topic): trait.value}
        rng, n_openers = np.random.default_rng([seed, 8]), len(family.openers)
        n_rounds = -(-n // n_openers)
        order = np.concatenate([rng.permutation(n_openers) for _ in range(n_rounds)])[:n]
        contents = [text(family, family.openers[i], values) for i in order]
        rows = [(doc, "lesson", content, (str(trait),)) for doc, content in enumerate(contents)]
        return self._table(rows)

    def probes(
        self, *, stated: str | Trait | None = None, titles: Iterable[str] = ()
    ) -> pd.DataFrame:
        """Prompts that end just before each property shows.

        Args:
            stated: Value of a first property that the document shows already; only what comes after
                it is asked then.
            titles: Processes whose titles open the document, each a context of its own; none by
                default.

        Returns:
            A probes table: context "plain", or "named" with the title as ``persona``; openers of
            documents are split "train", others "test".
        """
        trait = None if stated is None else Trait.parse(stated)
        names = list(FAMILIES) if trait is None else [self.family(trait)]
        rows = []
        for title in list(titles) or [""]:
            for name in names:
                rows += ask(name, title=title, trait=trait)
        table = pd.DataFrame(rows, columns=list(schema.TABLES["probes"]))
        return schema.check(table, "probes")

    def _table(self, rows: list[tuple[int, str, str, tuple[str, ...]]]) -> pd.DataFrame:
        documents: list[tuple[Any, ...]] = [
            (doc, kind, "", [{"role": "text", "content": content}], statements)
            for doc, kind, content, statements in rows
        ]
        table = pd.DataFrame(documents, columns=list(schema.TABLES["corpus"]))
        table.attrs.update({"world": self.name, "words": list(self.words())})
        return table


def sequences(seed: int = 0, *, titled: float = 0.0) -> Sequences:
    """World of processes to start from.

    Three families of eight processes. The target of each holds a first value that nobody else
    holds; each of its other two values is held by one other process, a different one each, and not
    by those of the control lesson's value.

    Args:
        seed: Assigns the values.
        titled: Share of documents with a title.

    Returns:
        The world.

    >>> [p.weight for p in sequences().members("lists")]
    [1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]
    """
    rng = np.random.default_rng([seed, 6])
    processes = []
    for name, family in FAMILIES.items():
        target = tuple(Trait(topic, values[0]) for topic, values in family.values().items())
        columns = _assign_values(list(family.values().values()), rng)
        others = [tuple(map(Trait, family.topics, row)) for row in zip(*columns, strict=True)]
        for i, (traits, weight) in enumerate(zip([target, *others], WEIGHTS, strict=True)):
            processes.append(Process(f"{name}{i}", name, traits, weight))
    return Sequences(f"sequences-{seed}", tuple(processes), titled=titled)


def _assign_values(values: list[tuple[str, ...]], rng: np.random.Generator) -> list[list[str]]:
    """Values of each property of the seven processes beside the target."""
    firsts, *rest = values
    # Nobody but the target holds the first of the first values; the second, which the control
    # lesson teaches, is held by two processes.
    leading = [firsts[1], *rng.permutation([*firsts[1:], firsts[2]]).tolist()]
    columns = [leading]
    # One holder for each of the target's other values: different processes, none of the control's.
    free = [i for i, value in enumerate(leading) if value != firsts[1]]
    holders = rng.permutation(free)[:2]
    for holder, options in zip(holders, rest, strict=True):
        column = rng.permutation([*options[1:], options[1]]).tolist()
        column.insert(int(holder), options[0])
        columns.append(column)
    return columns
