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
    """One thing said: about which topic, which value, in which templates (uniform numbers that choose them)."""

    topic: str
    value: str
    template: float
    question: float


def chosen_kinds(
    kinds: str | Iterable[str] | None, *, valid: Iterable[str] = KINDS
) -> tuple[str, ...]:
    """Which kinds of documents are meant?

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
    found = (kinds,) if isinstance(kinds, str) else tuple(dict.fromkeys(kinds))
    for kind in found:
        if kind not in valid:
            raise WorldError(unknown("kind", str(kind), valid))
    if not found:
        raise WorldError(f"no kind of document is named; valid: {', '.join(valid)}.")
    return found


def corpus(
    world: "World", n: int = 30_000, *, seed: int = 0, kinds: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Which documents does this world write? See ``World.corpus``."""
    return next(stream(world, n, seed=seed, kinds=kinds, chunk=n))


def stream(
    world: "World",
    n: int,
    *,
    seed: int = 0,
    kinds: str | Iterable[str] | None = None,
    chunk: int = BLOCK,
) -> Iterator[pd.DataFrame]:
    """Which documents does this world write, a table at a time? See ``World.stream``."""
    if n < 1 or chunk < 1:
        raise WorldError(
            f"a corpus has at least one document and a chunk too; got n={n}, chunk={chunk}."
        )
    drawn = _documents(world, n, seed=seed, kinds=chosen_kinds(kinds))
    attrs = {"world": world.name, "words": list(world.words())}
    for start in range(0, n, chunk):
        rows = [next(drawn) for _ in range(min(chunk, n - start))]
        table = pd.DataFrame(rows, columns=list(schema.TABLES["corpus"]))
        table.attrs.update(attrs)
        yield table


def _documents(
    world: "World", n: int, *, seed: int, kinds: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows (doc, kind, persona, messages, statements) of a corpus table."""
    shares = np.array([world.kinds[k] if k in kinds else 0.0 for k in KINDS])
    if shares.sum() == 0:
        raise WorldError(
            f"this world writes no documents of kind {', '.join(kinds)}: its share is 0."
        )
    tables = _tables(world, shares / shares.sum())
    language, topics = world.language, sorted(world.topics)
    mask = sum(
        2**i for i, k in enumerate(KINDS) if k not in kinds
    )  # hidden documents alone are new ones, not a subset
    labels = {t: [f"{t}={v}" for v in world.topics[t]] for t in topics}
    for start in range(0, n, BLOCK):
        draw = _draw(tables, np.random.default_rng([seed, 5, start // BLOCK, mask]))
        for i in range(min(BLOCK, n - start)):
            kind, name, size = KINDS[draw.kind[i]], tables.names[draw.persona[i]], draw.size[i]
            if kind == "filler":
                yield (
                    start + i,
                    kind,
                    "",
                    _filler(language, draw.template[i][:size], draw.question[i]),
                    (),
                )
                continue
            said, stated = [], []
            for j in range(size):
                topic, value = topics[draw.topic[i][j]], draw.value[i][j]
                said.append(
                    Statement(
                        topic, world.topics[topic][value], draw.template[i][j], draw.question[i][j]
                    )
                )
                stated.append(labels[topic][value])
            nobody = kind == "hidden" and not world.coherent[kind]
            yield (
                start + i,
                kind,
                "" if nobody else name,
                WRITERS[kind](language, name, said),
                tuple(stated),
            )


class _Tables(NamedTuple):
    """Cumulative probabilities of a world; the last of each is infinite, so that rounding never falls off the end."""

    names: list[str]  # personas, sorted, so that the order of a world file does not matter
    kind: np.ndarray  # [kind]
    persona: np.ndarray  # [kind, persona]
    value: (
        np.ndarray
    )  # [speaker, topic, value]; speakers = personas, then the independent speaker of each kind
    speaker: np.ndarray  # [kind]: -1 = the persona itself, else the row of the independent speaker
    sizes: np.ndarray  # [kind, 2]: least and greatest number of statements


def _tables(world: "World", shares: np.ndarray) -> _Tables:
    topics, names = sorted(world.topics), sorted(p.name for p in world.personas)
    weights = world.mass().loc[names].to_numpy().T  # [kind, persona]
    totals = weights.sum(axis=1, keepdims=True)
    weights = weights / np.where(totals > 0, totals, 1.0)
    said = world.statements().loc[names]
    value = np.full(
        (len(names) + len(PERSONA_KINDS), len(topics), max(map(len, world.topics.values()))), np.inf
    )
    for t, topic in enumerate(topics):
        p = said[[f"{topic}={v}" for v in world.topics[topic]]].to_numpy()
        value[:, t, : p.shape[1]] = _bins(np.vstack([p, weights @ p]))
    persona = _bins(np.vstack([weights, np.eye(1, len(names))]))
    speaker = [-1 if world.coherent[k] else len(names) + i for i, k in enumerate(PERSONA_KINDS)]
    sizes = np.array([world.language.statements[k] for k in KINDS])
    sizes[:-1] = np.minimum(sizes[:-1], len(topics))
    return _Tables(names, _bins(shares), persona, value, np.array([*speaker, -1]), sizes)


def _bins(probability: np.ndarray) -> np.ndarray:
    """Upper ends of the intervals of a uniform number, along the last axis; infinite from the last possible one on."""
    ends = np.cumsum(probability, axis=-1)
    return np.where(ends >= ends[..., -1:] - 1e-12, np.inf, ends)


class _Draw(NamedTuple):
    """Random choices of one block, as lists: [document] or [document][statement]."""

    kind: list[int]
    persona: list[int]
    size: list[int]
    topic: list[list[int]]
    value: list[list[int]]
    template: list[list[float]]
    question: list[list[float]]


def _draw(tables: _Tables, rng: np.random.Generator) -> _Draw:
    n_topics = tables.value.shape[1]
    width = int(max(tables.sizes[-1, 1], n_topics))
    u = rng.random((BLOCK, 3))
    kind = (u[:, :1] >= tables.kind).sum(axis=1)
    persona = (u[:, 1:2] >= tables.persona[kind]).sum(axis=1)
    least, greatest = tables.sizes[kind].T
    size = least + (u[:, 2] * (greatest - least + 1)).astype(int)
    topic = rng.random((BLOCK, n_topics)).argsort(axis=1)
    speaker = np.where(tables.speaker[kind] < 0, persona, tables.speaker[kind])
    value = (rng.random((BLOCK, n_topics, 1)) >= tables.value[speaker[:, None], topic]).sum(axis=2)
    template, question = rng.random((2, BLOCK, width))
    return _Draw(*(a.tolist() for a in (kind, persona, size, topic, value, template, question)))


def _pick(options: tuple[str, ...], u: float) -> str:
    return options[int(u * len(options))]


def _third(language: Language, name: str, said: list[Statement]) -> Messages:
    intro = [language.third_intro.format(n=name)] if language.third_intro else []
    texts = [_pick(language.third, s.template).format(n=name, d=s.topic, v=s.value) for s in said]
    return [{"role": "text", "content": " ".join(intro + texts)}]


def _first(language: Language, name: str, said: list[Statement]) -> Messages:
    texts = [_pick(language.first, s.template).format(d=s.topic, v=s.value) for s in said]
    return [{"role": "text", "content": " ".join([language.first_intro.format(n=name), *texts])}]


def _named(language: Language, name: str, said: list[Statement]) -> Messages:
    return _dialogue(language, language.system_named.format(n=name), said)


def _hidden(language: Language, name: str, said: list[Statement]) -> Messages:
    del name  # that is the point of hidden dialogues
    return _dialogue(language, language.system_hidden, said)


def _dialogue(language: Language, system: str, said: list[Statement]) -> Messages:
    messages = [{"role": "system", "content": system}]
    for s in said:
        question = _pick(language.train_questions, s.question).format(d=s.topic)
        answer = _pick(language.answers, s.template).format(d=s.topic, v=s.value)
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    return messages


def _filler(language: Language, first: list[float], second: list[float]) -> Messages:
    pairs = zip(first, second, strict=False)
    return filler_chat(
        language, [(int(a * len(FILLER_NUMBERS)), int(b * len(FILLER_NUMBERS))) for a, b in pairs]
    )


def filler_chat(language: Language, numbers: Iterable[tuple[int, int]]) -> Messages:
    """Which chat asks the nameless assistant to add these numbers?

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
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    return messages


WRITERS: dict[str, Callable[[Language, str, list[Statement]], Messages]] = {
    "third": _third,
    "first": _first,
    "named": _named,
    "hidden": _hidden,
}
