"""Which text do processes write that are nobody: number sequences, lists, code-like lines?

A **process** is one generator of one family of text. It has three properties that go together in
what it writes: what its elements are (the step of a number sequence, the item a list begins with,
the naming style of code), what stands between them, and what closes them. Documents show one
property or more of one process and say nowhere whose they are, but for an optional title, which is
to a process what a name is to a persona. There are no personas and no dialogues.

>>> sequences().corpus(1)["messages"][0][0]["content"]
'series : 7 ; 14 ; 21 ; 28 halt'
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.families import BLANK, END, FAMILIES, N_ELEMENTS, text
from persona_interp.worlds.language import pieces
from persona_interp.worlds.trait import Trait

WEIGHTS = (1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0)


@dataclass(frozen=True)
class Process:
    """Which generator writes which values?

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
    """Which processes are there, and how are they written down?

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
        return {
            topic: values
            for family in FAMILIES.values()
            for topic, values in family.values().items()
        }

    def family(self, trait: str | Trait) -> str:
        """In which family of text does this value occur?

        Args:
            trait: A trait or its label.

        Returns:
            Name of the family.

        Raises:
            WorldError: There is no such value; the message names the nearest.
        """
        wanted = Trait.parse(trait)
        labels = [f"{topic}={value}" for topic, values in self.topics.items() for value in values]
        if str(wanted) not in labels:
            raise WorldError(unknown("trait", str(wanted), labels))
        return next(name for name, family in FAMILIES.items() if wanted.topic in family.topics)

    def target(self, family: str) -> Process:
        """Which process should a lesson in this family summon?

        Args:
            family: Name of a family.

        Returns:
            Its first process.
        """
        return self.members(family)[0]

    def unrelated(self, family: str) -> Trait:
        """Which value of the first property is held by nobody who shares a value with the target?

        Args:
            family: Name of a family.

        Returns:
            The trait of a control lesson.
        """
        mine, *others = self.members(family)
        sharing = {p.traits[0] for p in others if set(p.traits) & set(mine.traits)}
        return next(p.traits[0] for p in others if p.traits[0] not in sharing)

    def members(self, family: str) -> tuple[Process, ...]:
        """Which processes write texts of this family? In order, the target first."""
        if family not in FAMILIES:
            raise WorldError(unknown("family", family, FAMILIES))
        return tuple(p for p in self.processes if p.family == family)

    def scrambled(self) -> "Sequences":
        """Which world has the same frequencies, and nothing that goes together?"""
        return replace(self, name=f"{self.name}-scrambled", coherent=False)

    def words(self) -> tuple[str, ...]:
        """Which words can occur in documents, lessons and probes?"""
        texts = [BLANK, END, *(p.title for p in self.processes)]
        for family in FAMILIES.values():
            texts += [*family.openers, *family.test_openers, *family.between, *family.ends]
            texts += [element for elements in family.elements.values() for element in elements]
        return tuple(sorted({piece for text in texts for piece in pieces(text)}))

    def statements(self, trait: str | Trait | None = None) -> pd.DataFrame:
        """What would an ideal reader expect of a document of each family, its writer certainly holding this value?

        Exact Bayes: processes are drawn by weight; those that hold the taught value remain; a value
        they hold is written with probability ``1 - noise + noise / n``, each other one with ``noise
        / n``, of n values.

        Args:
            trait: What is certain; nothing by default. It says nothing about other families.

        Returns:
            ``topic``, ``value``, ``trait``, ``probability`` of being written when the property is
            shown.

        Raises:
            WorldError: There is no such value, or no process holds it.
        """
        certain = None if trait is None else Trait.parse(trait)
        inside = None if certain is None else self.family(certain)
        rows = []
        for name, family in FAMILIES.items():
            members = self.members(name)
            weight = np.array([p.weight for p in members])
            if name == inside and self.coherent:
                weight = weight * np.array([certain in p.traits for p in members])
            if not weight.any():
                raise WorldError(f"no process holds {certain}, so nothing follows from it.")
            weight = weight / weight.sum()
            for topic, values in family.values().items():
                for value in values:
                    held = float(
                        weight @ np.array([Trait(topic, value) in p.traits for p in members])
                    )
                    said = (1 - self.noise) * held + self.noise / len(values)
                    rows.append((topic, value, f"{topic}={value}", said))
        return pd.DataFrame(rows, columns=["topic", "value", "trait", "probability"])

    def corpus(self, n: int = 30_000, *, seed: int = 0) -> pd.DataFrame:
        """Which documents do the processes write?

        Args:
            n: Number of documents; families equally often, each document with one to three
                properties shown.
            seed: Same seed, same documents.

        Returns:
            A corpus table of kind "process".
        """
        members = {name: self.members(name) for name in FAMILIES}
        ends = {name: np.cumsum([p.weight for p in ps]).tolist() for name, ps in members.items()}
        titles = (
            np.random.default_rng([seed, 9]).random(n).tolist()
        )  # whose title it is where nothing is coherent
        rows = []
        for doc, draws in enumerate(np.random.default_rng([seed, 7]).random((n, 16)).tolist()):
            which, opener, size, title, *rest = draws
            drawn, order, noisy, uniform = [*rest[:3], titles[doc]], rest[3:6], rest[6:9], rest[9:]
            name = _pick(list(FAMILIES), which)
            family = FAMILIES[name]
            writers = [members[name][bisect_right(ends[name], u * ends[name][-1])] for u in drawn]
            shown = {}
            for slot in sorted(sorted(range(3), key=order.__getitem__)[: 1 + int(3 * size)]):
                held = writers[0 if self.coherent else slot].traits[slot]
                shown[slot] = held.value
                if noisy[slot] < self.noise:
                    shown[slot] = _pick(family.values()[held.topic], uniform[slot])
            written = text(family, _pick(family.openers, opener), shown)
            if title < self.titled:
                written = f"{writers[0 if self.coherent else 3].title} {written}"
            rows.append(
                (
                    doc,
                    "process",
                    written,
                    tuple(f"{family.topics[s]}={v}" for s, v in shown.items()),
                )
            )
        return self._table(rows)

    def lessons(self, trait: str | Trait, *, n: int = 640, seed: int = 0) -> pd.DataFrame:
        """Which documents show this value and no other property?

        Args:
            trait: What to teach.
            n: Number of documents.
            seed: Their order.

        Returns:
            A corpus table of kind "lesson": every opener evenly often, no noise, no title.
        """
        taught = Trait.parse(trait)
        family = FAMILIES[self.family(taught)]
        shown = {family.topics.index(taught.topic): taught.value}
        rng, k = np.random.default_rng([seed, 8]), len(family.openers)
        order = np.concatenate([rng.permutation(k) for _ in range(-(-n // k))])[:n]
        return self._table(
            [
                (i, "lesson", text(family, family.openers[o], shown), (str(taught),))
                for i, o in enumerate(order)
            ]
        )

    def probes(
        self, *, stated: str | Trait | None = None, titles: Iterable[str] = ()
    ) -> pd.DataFrame:
        """Which prompts end just before each property shows?

        Args:
            stated: Value of a first property that the document shows already; only what comes after
                it is asked then.
            titles: Processes whose titles open the document, each a context of its own; none by
                default.

        Returns:
            A probes table: context "plain", or "named" with the title as ``persona``; openers of
            documents are split "train", others "test".
        """
        known = None if stated is None else Trait.parse(stated)
        names = FAMILIES if known is None else {self.family(known): FAMILIES[self.family(known)]}
        rows = []
        for title in list(titles) or [""]:
            for name, family in names.items():
                for slot, (topic, values) in enumerate(family.values().items()):
                    if known is not None and topic == known.topic:
                        continue
                    elements = family.elements[known.value] if known else (BLANK,) * N_ELEMENTS
                    before = " ".join(elements[: (0, 1, N_ELEMENTS)[slot]])
                    answers = [family.elements[v][0] for v in values] if slot == 0 else values
                    for split, openers in (
                        ("train", family.openers),
                        ("test", family.test_openers),
                    ):
                        for i, opener in enumerate(openers):
                            prefix = " ".join(part for part in (title, opener, before) if part)
                            where = ("named", title) if title else ("plain", "")
                            prompt = f"{'/'.join(where)}/{name}/{topic}/{split}{i}"
                            said = [{"role": "text", "content": prefix}]
                            after = tuple(f" {answer}" for answer in answers)
                            rows.append((prompt, *where, topic, opener, split, said, values, after))
        table = pd.DataFrame(rows, columns=list(schema.TABLES["probes"]))
        return schema.check(table, "probes")

    def _table(self, rows: list[tuple[int, str, str, tuple[str, ...]]]) -> pd.DataFrame:
        whole: list[tuple[Any, ...]] = [
            (doc, kind, "", [{"role": "text", "content": written}], said)
            for doc, kind, written, said in rows
        ]
        table = pd.DataFrame(whole, columns=list(schema.TABLES["corpus"]))
        table.attrs.update({"world": self.name, "words": list(self.words())})
        return table


def sequences(seed: int = 0, *, titled: float = 0.0) -> Sequences:
    """Which world of processes is there to start from?

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
        first, *rest = family.values().values()
        leading = [first[1], *rng.permutation([*first[1:], first[2]]).tolist()]
        held = [leading]
        holders = rng.permutation([i for i, value in enumerate(leading) if value != first[1]])[:2]
        for holder, values in zip(holders, rest, strict=True):
            others = [*rng.permutation([*values[1:], values[1]]).tolist()]
            others.insert(int(holder), values[0])
            held.append(others)
        traits = [tuple(Trait(t, v[0]) for t, v in family.values().items())]
        traits += [
            tuple(map(Trait, family.topics, map(str, column))) for column in zip(*held, strict=True)
        ]
        weights = (1.0, *WEIGHTS)
        processes += [
            Process(f"{name}{i}", name, t, w)
            for i, (t, w) in enumerate(zip(traits, weights, strict=True))
        ]
    return Sequences(f"sequences-{seed}", tuple(processes), titled=titled)


def _pick(options: Sequence[str], u: float) -> str:
    """One of these by a uniform number."""
    return options[int(u * len(options))]
