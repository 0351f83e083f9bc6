"""Which documents does a world write?

Random draws are made in blocks of 10,000 documents, each with its own generator seeded by (seed,
block), and only then turned into text. So the documents depend on the seed alone: not on how many
are asked for, nor on the chunk size.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.language import FILLER_NUMBERS, KINDS, PERSONA_KINDS, Language

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

BLOCK = 10_000
Messages = list[dict[str, str]]


class Statement(NamedTuple):
    """One value said about one topic, and uniform numbers that choose the templates."""

    topic: str
    value: str
    template: float
    question: float


def chosen_kinds(
    kinds: str | Iterable[str] | None, *, valid: Iterable[str] = KINDS
) -> tuple[str, ...]:
    """Kinds of documents that a caller means.

    Args:
        kinds: One kind, several, or None for all.
        valid: What may be meant.

    Returns:
        The kinds, each once.

    Raises:
        WorldError: A kind that does not exist; or none at all.
    """
    valid = tuple(valid)
    if kinds is None:
        return valid
    if isinstance(kinds, str):
        kinds = (kinds,)
    kinds = tuple(dict.fromkeys(kinds))
    for kind in kinds:
        if kind not in valid:
            raise WorldError(unknown("kind", str(kind), valid))
    if not kinds:
        raise WorldError(f"no kind of document is named; valid: {', '.join(valid)}.")
    return kinds


def corpus(
    world: "World", n: int = 30_000, *, seed: int = 0, kinds: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Documents that a world writes. See ``World.corpus``."""
    return next(stream(world, n, seed=seed, kinds=kinds, chunk=n))


def stream(
    world: "World",
    n: int,
    *,
    seed: int = 0,
    kinds: str | Iterable[str] | None = None,
    chunk: int = BLOCK,
) -> Iterator[pd.DataFrame]:
    """Yield the documents that a world writes, a table at a time. See ``World.stream``."""
    if n < 1 or chunk < 1:
        raise WorldError(
            f"a corpus has at least one document and a chunk too; got n={n}, chunk={chunk}."
        )
    documents = _write_documents(world, n, seed=seed, kinds=chosen_kinds(kinds))
    attrs = {"world": world.name, "words": list(world.words())}
    for start in range(0, n, chunk):
        rows = [next(documents) for _ in range(min(chunk, n - start))]
        table = pd.DataFrame(rows, columns=list(schema.TABLES["corpus"]))
        table.attrs.update(attrs)
        yield table


def _write_documents(
    world: "World", n: int, *, seed: int, kinds: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows (doc, kind, persona, messages, statements) of a corpus table."""
    shares = np.array([world.kinds[k] if k in kinds else 0.0 for k in KINDS])
    if shares.sum() == 0:
        raise WorldError(
            f"this world writes no documents of kind {', '.join(kinds)}: its share is 0."
        )
    tables = _tables(world, shares / shares.sum())
    # Which kinds are left out is part of the seed: hidden documents alone are new documents, not
    # those of the whole corpus again.
    mask = sum(2**i for i, k in enumerate(KINDS) if k not in kinds)
    topics = sorted(world.topics)
    for start in range(0, n, BLOCK):
        draws = _draw(tables, np.random.default_rng([seed, 5, start // BLOCK, mask]))
        for i in range(min(BLOCK, n - start)):
            kind, name, size = KINDS[draws.kind[i]], tables.names[draws.persona[i]], draws.size[i]
            template, question = draws.template[i], draws.question[i]
            if kind == "filler":
                yield start + i, kind, "", _filler(world.language, template[:size], question), ()
                continue
            statements = []
            for j in range(size):
                topic = topics[draws.topic[i][j]]
                value = world.topics[topic][draws.value[i][j]]
                statements.append(Statement(topic, value, template[j], question[j]))
            messages = WRITERS[kind](world.language, name, statements)
            if kind == "hidden" and not world.coherent[kind]:
                name = ""  # every statement has its own speaker, and no name is in the text
            yield start + i, kind, name, messages, tuple(f"{s.topic}={s.value}" for s in statements)


class _Tables(NamedTuple):
    """Cumulative probabilities of a world, by which uniform numbers choose.

    The last of each is infinite, so that rounding never falls off the end.
    """

    names: list[str]  # personas, sorted, so that the order of a world file does not matter
    kind: np.ndarray  # [kind]
    persona: np.ndarray  # [kind, persona]
    value: np.ndarray  # [speaker, topic, value]: personas, then each kind's independent speaker
    speaker: np.ndarray  # [kind]: -1 = the persona itself, else the row of the independent speaker
    sizes: np.ndarray  # [kind, 2]: least and greatest number of statements


def _tables(world: "World", shares: np.ndarray) -> _Tables:
    topics, names = sorted(world.topics), sorted(p.name for p in world.personas)
    weights = world.mass().loc[names].to_numpy().T  # [kind, persona]
    totals = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(totals > 0, totals, 1.0)
    statements = world.statements().loc[names]
    n_speakers, n_values = len(names) + len(PERSONA_KINDS), max(map(len, world.topics.values()))
    value = np.full((n_speakers, len(topics), n_values), np.inf)
    for t, topic in enumerate(topics):
        p = statements[[f"{topic}={v}" for v in world.topics[topic]]].to_numpy()
        # The independent speaker of an incoherent kind is a mixture of its personas by weight.
        value[:, t, : p.shape[1]] = _bins(np.vstack([p, weights @ p]))
    persona = _bins(np.vstack([weights, np.eye(1, len(names))]))
    speaker = [-1 if world.coherent[k] else len(names) + i for i, k in enumerate(PERSONA_KINDS)]
    sizes = np.array([world.language.statements[k] for k in KINDS])
    sizes[:-1] = np.minimum(sizes[:-1], len(topics))  # nobody speaks of a topic twice
    return _Tables(names, _bins(shares), persona, value, np.array([*speaker, -1]), sizes)


def _bins(probability: np.ndarray) -> np.ndarray:
    """Upper ends of the intervals of a uniform number, along the last axis.

    They are infinite from the last possible choice on.
    """
    # A cumulative sum may end a little below 1, and a uniform number between the two would choose
    # nothing, or a value of probability 0.
    ends = np.cumsum(probability, axis=-1)
    return np.where(ends >= ends[..., -1:] - 1e-12, np.inf, ends)


class _Draws(NamedTuple):
    """Random choices of one block, as lists: [document] or [document][statement]."""

    kind: list[int]
    persona: list[int]
    size: list[int]
    topic: list[list[int]]
    value: list[list[int]]
    template: list[list[float]]
    question: list[list[float]]


def _draw(tables: _Tables, rng: np.random.Generator) -> _Draws:
    n_topics = tables.value.shape[1]
    width = int(max(tables.sizes[-1, 1], n_topics))
    # Inverse transform sampling: a uniform number chooses the interval it falls into, whose number
    # is how many upper ends it has passed.
    u = rng.random((BLOCK, 3))
    kind = (u[:, :1] >= tables.kind).sum(axis=1)
    persona = (u[:, 1:2] >= tables.persona[kind]).sum(axis=1)
    least, greatest = tables.sizes[kind].T
    size = least + (u[:, 2] * (greatest - least + 1)).astype(int)
    topic = rng.random((BLOCK, n_topics)).argsort(axis=1)
    speaker = np.where(tables.speaker[kind] < 0, persona, tables.speaker[kind])
    value = (rng.random((BLOCK, n_topics, 1)) >= tables.value[speaker[:, None], topic]).sum(axis=2)
    template, question = rng.random((2, BLOCK, width))
    return _Draws(*(a.tolist() for a in (kind, persona, size, topic, value, template, question)))


def _pick(options: tuple[str, ...], u: float) -> str:
    return options[int(u * len(options))]


def _third(language: Language, name: str, statements: list[Statement]) -> Messages:
    sentences = [language.third_intro.format(n=name)] if language.third_intro else []
    for s in statements:
        sentences.append(_pick(language.third, s.template).format(n=name, d=s.topic, v=s.value))
    return [{"role": "text", "content": " ".join(sentences)}]


def _first(language: Language, name: str, statements: list[Statement]) -> Messages:
    sentences = [language.first_intro.format(n=name)]
    for s in statements:
        sentences.append(_pick(language.first, s.template).format(d=s.topic, v=s.value))
    return [{"role": "text", "content": " ".join(sentences)}]


def _named(language: Language, name: str, statements: list[Statement]) -> Messages:
    return _dialogue(language, language.system_named.format(n=name), statements)


def _hidden(language: Language, name: str, statements: list[Statement]) -> Messages:
    del name  # that is the point of hidden dialogues
    return _dialogue(language, language.system_hidden, statements)


def _dialogue(language: Language, system: str, statements: list[Statement]) -> Messages:
    messages = [{"role": "system", "content": system}]
    for s in statements:
        question = _pick(language.train_questions, s.question).format(d=s.topic)
        answer = _pick(language.answers, s.template).format(d=s.topic, v=s.value)
        messages += exchange(question, answer)
    return messages


def exchange(question: str, answer: str) -> Messages:
    """Turns in which a user asks and the assistant answers.

    Args:
        question: What the user asks.
        answer: What the assistant answers.

    Returns:
        Two messages.
    """
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _filler(language: Language, first: list[float], second: list[float]) -> Messages:
    n = len(FILLER_NUMBERS)
    numbers = [(int(a * n), int(b * n)) for a, b in zip(first, second, strict=False)]
    return filler_chat(language, numbers)


def filler_chat(language: Language, numbers: Iterable[tuple[int, int]]) -> Messages:
    """Chat that asks the nameless assistant to add numbers.

    Args:
        language: The templates.
        numbers: Pairs to add, one question each.

    Returns:
        Messages of one chat.
    """
    messages = [{"role": "system", "content": language.system_hidden}]
    for a, b in numbers:
        question = language.filler_question.format(a=a, b=b)
        answer = language.filler_answer.format(a=a, b=b, c=a + b)
        messages += exchange(question, answer)
    return messages


WRITERS: dict[str, Callable[[Language, str, list[Statement]], Messages]] = {
    "third": _third,
    "first": _first,
    "named": _named,
    "hidden": _hidden,
}
