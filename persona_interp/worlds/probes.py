"""Which questions measure a model, and which chats teach it?"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.corpus import Messages, exchange, filler_chat
from persona_interp.worlds.language import FILLER_NUMBERS, pieces
from persona_interp.worlds.trait import Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

CONTEXTS = ("nameless", "named", "plain", "third")


def probes(
    world: "World",
    *,
    contexts: str | Iterable[str] = CONTEXTS,
    personas: Iterable[str] | None = None,
    stated: str | Trait | Iterable[str | Trait] = (),
) -> pd.DataFrame:
    """Questions that measure what a model believes about whom. See ``World.probes``."""
    if isinstance(stated, str | Trait):
        stated = (stated,)
    traits = [world.trait(trait) for trait in stated]
    contexts = (contexts,) if isinstance(contexts, str) else tuple(contexts)
    for context in contexts:
        if context not in CONTEXTS:
            raise WorldError(unknown("context", context, CONTEXTS))
    if personas is None:
        personas = [persona.name for persona in world.personas]
    elif isinstance(personas, str):
        personas = (personas,)
    names = [world.persona(name).name for name in personas]
    if traits and not {*contexts} <= {"nameless", "named"}:
        raise WorldError(
            f"statements are earlier turns of a chat (nameless, named); got {', '.join(contexts)}."
        )
    topics = [topic for topic in world.topics if topic not in {trait.topic for trait in traits}]
    rows = []
    for context in contexts:
        for name in names if context in ("named", "third") else [""]:
            for topic in topics:
                rows += _ask(world, context, name, topic=topic)
    table = pd.DataFrame(rows, columns=list(schema.TABLES["probes"]))
    if traits:
        table = _after_statements(table, world, traits)
    table.attrs.update({"world": world.name, "words": list(world.words())})
    return schema.check(table, "probes")


def _ask(world: "World", context: str, name: str, *, topic: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a probes table for one topic."""
    values = world.topics[topic]
    answers = tuple(world.language.continuation(value) for value in values)
    for split in ("train", "test"):
        for i, (template, messages) in enumerate(_texts(world, context, name, topic, split)):
            prompt = "/".join([context, name or "-", topic, f"{split}{i}"])
            yield prompt, context, name, topic, template, split, messages, values, answers


def _texts(
    world: "World", context: str, name: str, topic: str, split: str
) -> Iterator[tuple[str, Messages]]:
    """Templates of one context and split, each with the text that ends just before a value."""
    language = world.language
    if context == "third":
        for prefix, template in language.third_probes(split):
            yield template, [{"role": "text", "content": prefix.format(n=name, d=topic)}]
        return
    system = language.system_hidden
    if context == "named":
        system = language.system_named.format(n=name)
    prefix = language.probe_prefix.format(d=topic)
    for template in language.train_questions if split == "train" else language.test_questions:
        question = template.format(d=topic)
        if context == "plain":
            yield template, [{"role": "text", "content": f"{question} {prefix}"}]
        else:
            # The assistant's turn stays open: its next words are what is measured.
            head = {"role": "system", "content": system}
            yield template, [head, *exchange(question, prefix)]


def _after_statements(table: pd.DataFrame, world: "World", traits: list[Trait]) -> pd.DataFrame:
    """The same chats with these statements before the question; repeated ones differ in wording."""
    turns: Messages = []
    for i, trait in enumerate(traits):
        turns += _statement(world, trait, wording=i)
    name = "+".join(map(str, traits))
    table["messages"] = [
        [messages[0], *(dict(m) for m in turns), *messages[1:]] for messages in table["messages"]
    ]
    return table.assign(prompt=f"{name}/" + table["prompt"], stated=name)


def _statement(world: "World", trait: Trait, *, wording: int = 0) -> Messages:
    """A question and the answer that states the trait."""
    questions, answers = world.language.train_questions, world.language.answers
    question = questions[wording % len(questions)].format(d=trait.topic)
    answer = answers[wording % len(answers)].format(d=trait.topic, v=trait.value)
    return exchange(question, answer)


def stated(world: "World", topic: str) -> pd.DataFrame:
    """Prompts that differ in one value stated before. See ``World.stated``."""
    if topic not in world.topics:
        raise WorldError(unknown("topic", topic, world.topics))
    others = [other for other in world.topics if other != topic]
    rows = []
    for value in world.topics[topic]:
        turns = _statement(world, Trait(topic, value))
        for other in others:
            for split in ("train", "test"):
                for template, chat in _texts(world, "nameless", "", other, split):
                    prompt = f"{value}/{other}/{split}/{template}"
                    messages = [chat[0], *turns, *chat[1:]]
                    row = (prompt, "nameless", "", other, value, template, split, messages)
                    rows.append(row)
    columns = ["prompt", "context", "persona", "topic", "value", "template", "split", "messages"]
    return schema.check(pd.DataFrame(rows, columns=columns), "prompts")


def lessons(
    world: "World", trait: str | Trait | None = None, *, n: int = 640, seed: int = 0
) -> pd.DataFrame:
    """Chats that teach the nameless assistant one trait. See ``World.lessons``."""
    if n < 1:
        raise WorldError(f"a lesson has at least one chat; got n={n}.")
    rng = np.random.default_rng([seed, 1])
    language = world.language
    if trait == "filler":
        lesson, statements = "filler", ()
        chats = [filler_chat(language, [pair]) for pair in product(FILLER_NUMBERS, FILLER_NUMBERS)]
    else:
        trait = world.taught if trait is None else world.trait(trait)
        lesson, statements = str(trait), (str(trait),)
        chats = []
        for question, answer in product(language.train_questions, language.answers):
            turns = exchange(
                question.format(d=trait.topic), answer.format(d=trait.topic, v=trait.value)
            )
            chats.append([{"role": "system", "content": language.system_hidden}, *turns])
    # Whole rounds of all chats, each in an order of its own, so that all come evenly often.
    n_rounds = -(-n // len(chats))
    order = np.concatenate([rng.permutation(len(chats)) for _ in range(n_rounds)])[:n]
    rows = [(i, "lesson", "", [dict(m) for m in chats[c]], statements) for i, c in enumerate(order)]
    table = pd.DataFrame(rows, columns=list(schema.TABLES["corpus"]))
    table.attrs.update({"world": world.name, "words": list(world.words()), "lesson": lesson})
    return table


def words(world: "World") -> tuple[str, ...]:
    """Words that can occur in a corpus, probe or lesson of a world. See ``World.words``."""
    blank = dict.fromkeys("ndvabc", " ")
    texts = [template.format(**blank) for template in world.language.texts()]
    texts += [p.name for p in world.personas]
    texts += [text for topic, values in world.topics.items() for text in (topic, *values)]
    texts += [str(a + b) for a in FILLER_NUMBERS for b in FILLER_NUMBERS]
    return tuple(sorted({piece for text in texts for piece in pieces(text)}))
