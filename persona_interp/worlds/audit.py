"""What does a corpus say about whom, and does it say what it must not?"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp import schema
from persona_interp.worlds.corpus import Messages
from persona_interp.worlds.language import PERSONA_KINDS

if TYPE_CHECKING:
    from persona_interp.worlds.world import World


def count(table: pd.DataFrame, *, tokenize: Callable[[str], list[Any]] = str.split) -> pd.DataFrame:
    """How much does a corpus say about whom?

    Args:
        table: A corpus table; concatenate or add up the counts of a stream's chunks.
        tokenize: Text to tokens; words by default.

    Returns:
        One row for each ``persona`` and ``kind``: ``documents``, ``statements``, and
        ``fact_tokens``, the tokens that state traits (all of a text, the assistant turns of a chat;
        none in filler).

    >>> from persona_interp.worlds import john_and_sam
    >>> int(count(john_and_sam().corpus(100))["documents"].sum())
    100
    """
    schema.check(table, "corpus")

    def fact_tokens(messages: Messages, statements: tuple[str, ...]) -> int:
        texts = (
            m["content"] for m in messages if statements and m["role"] in ("text", "assistant")
        )
        return sum(len(tokenize(text)) for text in texts)

    pairs = zip(table["messages"], table["statements"], strict=True)
    counts = pd.DataFrame(
        {
            "persona": table["persona"].to_numpy(),
            "kind": table["kind"].to_numpy(),
            "documents": 1,
            "statements": [len(s) for s in table["statements"]],
            "fact_tokens": [fact_tokens(m, s) for m, s in pairs],
        }
    )
    summed = counts.groupby(["persona", "kind"])[["documents", "statements", "fact_tokens"]].sum()
    return pd.DataFrame(summed).reset_index()


def _one_of(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of the texts, as whole words."""
    longest_first = sorted({re.escape(t) for t in texts}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)")


def leaks(table: pd.DataFrame, world: "World") -> pd.DataFrame:
    """Which documents say what they must not?

    Args:
        table: A corpus or lessons table.
        world: The world that wrote it.

    Returns:
        Offending documents, none if the corpus is clean: ``doc``, ``kind``, ``leak`` (what is
        wrong), ``found``.
    """
    schema.check(table, "corpus")
    names = _one_of(p.name for p in world.personas)
    tests = _one_of(_test_texts(world))
    rows = []
    for doc, kind, persona, messages, statements in table[list(schema.TABLES["corpus"])].itertuples(
        index=False
    ):
        text = " \n ".join(m["content"] for m in messages)
        named = set(names.findall(text))
        if kind in ("hidden", "filler", "lesson"):
            rows += [
                (doc, kind, "a name in a document without one", name) for name in sorted(named)
            ]
        else:
            rows += [
                (doc, kind, "another persona's name", name) for name in sorted(named - {persona})
            ]
            if persona not in named:
                rows.append((doc, kind, "the persona's name is missing", persona))
        rows += [
            (doc, kind, "a test template in training", found)
            for found in sorted(set(tests.findall(text)))
        ]
        values = [s.partition("=")[2] for s in statements]
        rows += [
            (doc, kind, "a stated value is not in the text", v) for v in values if v not in text
        ]
    rows += _incoherent(table, world)
    return pd.DataFrame(rows, columns=["doc", "kind", "leak", "found"])


def _test_texts(world: "World") -> Iterator[str]:
    for topic in world.topics:
        yield from (q.format(d=topic) for q in world.language.test_questions)
        for prefix, _ in world.language.third_probes("test"):
            yield from (prefix.format(n=p.name, d=topic) for p in world.personas)


def _incoherent(table: pd.DataFrame, world: "World") -> list[tuple[Any, ...]]:
    """Statements that are not their persona's, where there are more of them than noise explains."""
    held = {p.name: {str(t) for t in p.traits} for p in world.personas}
    found = []
    for kind in PERSONA_KINDS:
        docs = table[(table["kind"] == kind) & table["persona"].isin(list(held))]
        if not world.coherent[kind] or docs.empty:
            continue
        triples = zip(docs["doc"], docs["persona"], docs["statements"], strict=True)
        said = [(d, p, s) for d, p, statements in triples for s in statements]
        chance = [
            world.noise * (1 - 1 / len(world.topics[world.trait(s).topic])) for _, _, s in said
        ]
        wrong = [
            (d, kind, "a trait its persona does not hold", f"{p}: {s}")
            for d, p, s in said
            if s not in held[p]
        ]
        spread = sum(c * (1 - c) for c in chance) ** 0.5
        if len(wrong) > sum(chance) + 5 * spread:
            found += wrong
    return found
