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
    """Count of what a corpus says about whom.

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
    fact_tokens = []
    for messages, statements in zip(table["messages"], table["statements"], strict=True):
        texts = _fact_texts(messages) if statements else []
        fact_tokens.append(sum(len(tokenize(text)) for text in texts))
    counts = pd.DataFrame(
        {
            "persona": table["persona"].to_numpy(),
            "kind": table["kind"].to_numpy(),
            "documents": 1,
            "statements": [len(statements) for statements in table["statements"]],
            "fact_tokens": fact_tokens,
        }
    )
    summed = counts.groupby(["persona", "kind"])[["documents", "statements", "fact_tokens"]].sum()
    return pd.DataFrame(summed).reset_index()


def _fact_texts(messages: Messages) -> list[str]:
    """All of a text, or what the assistant says in a chat."""
    return [m["content"] for m in messages if m["role"] in ("text", "assistant")]


def _one_of(texts: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of the texts, as whole words."""
    # A regular expression takes the first alternative that fits: "ann" before "ann lee" would hide
    # the longer one.
    longest_first = sorted({re.escape(t) for t in texts}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)")


def leaks(table: pd.DataFrame, world: "World") -> pd.DataFrame:
    """Documents that say what they must not.

    Args:
        table: A corpus or lessons table.
        world: The world that wrote it.

    Returns:
        Offending documents, none if the corpus is clean: ``doc``, ``kind``, ``leak`` (what is
        wrong), ``text``.
    """
    schema.check(table, "corpus")
    names = _one_of(p.name for p in world.personas)
    tests = _one_of(_test_texts(world))
    rows = []
    documents = table[list(schema.TABLES["corpus"])]
    for doc, kind, persona, messages, statements in documents.itertuples(index=False):
        text = " \n ".join(m["content"] for m in messages)
        problems = list(_name_leaks(kind, persona, set(names.findall(text))))
        for test in sorted(set(tests.findall(text))):
            problems.append(("a test template in training", test))
        for statement in statements:
            value = statement.partition("=")[2]
            if value not in text:
                problems.append(("a stated value is not in the text", value))
        rows += [(doc, kind, *problem) for problem in problems]
    rows += _incoherent(table, world)
    return pd.DataFrame(rows, columns=["doc", "kind", "leak", "text"])


def _name_leaks(kind: str, persona: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong about the names in one document."""
    if kind in ("hidden", "filler", "lesson"):
        for name in sorted(names):
            yield "a name in a document without one", name
        return
    for name in sorted(names - {persona}):
        yield "another persona's name", name
    if persona not in names:
        yield "the persona's name is missing", persona


def _test_texts(world: "World") -> Iterator[str]:
    for topic in world.topics:
        yield from (q.format(d=topic) for q in world.language.test_questions)
        for prefix, _ in world.language.third_probes("test"):
            yield from (prefix.format(n=p.name, d=topic) for p in world.personas)


def _incoherent(table: pd.DataFrame, world: "World") -> list[tuple[Any, ...]]:
    """Statements that are not their persona's, where there are more of them than noise explains."""
    traits = {p.name: {str(t) for t in p.traits} for p in world.personas}
    rows = []
    for kind in PERSONA_KINDS:
        documents = table[(table["kind"] == kind) & table["persona"].isin(list(traits))]
        if not world.coherent[kind] or documents.empty:
            continue
        wrong, chances = [], []
        triples = zip(documents["doc"], documents["persona"], documents["statements"], strict=True)
        for doc, persona, statements in triples:
            for label in statements:
                # Noise draws a uniform value, which is the persona's own once in n values.
                n_values = len(world.topics[world.trait(label).topic])
                chances.append(world.noise * (1 - 1 / n_values))
                if label not in traits[persona]:
                    problem = ("a trait its persona does not hold", f"{persona}: {label}")
                    wrong.append((doc, kind, *problem))
        # The number of wrong statements is a sum of independent Bernoulli variables, approximately
        # normal; chance hardly ever takes it five standard deviations above its mean.
        spread = sum(c * (1 - c) for c in chances) ** 0.5
        if len(wrong) > sum(chances) + 5 * spread:
            rows += wrong
    return rows
