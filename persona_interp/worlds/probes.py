"""Which questions measure a model, and which chats teach it?"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, unknown
from persona_interp.worlds.corpus import Messages, filler_chat
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
    """Which questions measure what a model believes about whom? See ``World.probes``."""
    before = [
        world.trait(trait) for trait in ([stated] if isinstance(stated, str | Trait) else stated)
    ]
    contexts = (contexts,) if isinstance(contexts, str) else tuple(contexts)
    for context in contexts:
        if context not in CONTEXTS:
            raise WorldError(unknown("context", context, CONTEXTS))
    personas = (personas,) if isinstance(personas, str) else personas
    names = (
        [p.name for p in world.personas]
        if personas is None
        else [world.persona(n).name for n in personas]
    )
    if before and not {*contexts} <= {"nameless", "named"}:
        raise WorldError(
            f"statements are earlier turns of a chat (nameless, named); got {', '.join(contexts)}."
        )
    topics = [topic for topic in world.topics if topic not in {trait.topic for trait in before}]
    rows = []
    for context in contexts:
        for name in names if context in ("named", "third") else [""]:
            for topic in topics:
                rows += _ask(world, context, name, topic=topic)
    table = pd.DataFrame(rows, columns=list(schema.TABLES["probes"]))
    if before:
        table = _after_statements(table, world, before)
    table.attrs.update({"world": world.name, "words": list(world.words())})
    return schema.check(table, "probes")


def _ask(world: "World", context: str, name: str, *, topic: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a probes table for one topic."""
    values = world.topics[topic]
    language = world.language
    system = language.system_named.format(n=name) if context == "named" else language.system_hidden
    for split in ("train", "test"):
        if context == "third":
            texts = [
                ([{"role": "text", "content": prefix.format(n=name, d=topic)}], template)
                for prefix, template in language.third_probes(split)
            ]
        else:
            questions = language.train_questions if split == "train" else language.test_questions
            prefix = language.probe_prefix.format(d=topic)
            texts = [
                (_prompt(context, system, q.format(d=topic), prefix=prefix), q) for q in questions
            ]
        for i, (messages, template) in enumerate(texts):
            after = tuple(language.continuation(v) for v in values)
            prompt = "/".join([context, name or "-", topic, f"{split}{i}"])
            yield prompt, context, name, topic, template, split, messages, values, after


def _prompt(context: str, system: str, question: str, *, prefix: str) -> Messages:
    if context == "plain":
        return [{"role": "text", "content": f"{question} {prefix}"}]
    roles = (("system", system), ("user", question), ("assistant", prefix))
    return [{"role": role, "content": content} for role, content in roles]


def _after_statements(table: pd.DataFrame, world: "World", said: list[Trait]) -> pd.DataFrame:
    """The same chats with these statements before the question; repeated ones differ in wording."""
    turns: Messages = []
    for i, trait in enumerate(said):
        turns += _statement(world, trait, wording=i)
    name = "+".join(map(str, said))
    table["messages"] = [
        [messages[0], *(dict(m) for m in turns), *messages[1:]] for messages in table["messages"]
    ]
    return table.assign(prompt=f"{name}/" + table["prompt"], stated=name)


def _statement(world: "World", trait: Trait, *, wording: int = 0) -> Messages:
    """A question and the answer that states the trait."""
    questions, answers = world.language.train_questions, world.language.answers
    return [
        {"role": "user", "content": questions[wording % len(questions)].format(d=trait.topic)},
        {
            "role": "assistant",
            "content": answers[wording % len(answers)].format(d=trait.topic, v=trait.value),
        },
    ]


def stated(world: "World", topic: str) -> pd.DataFrame:
    """Which prompts differ in one stated value only? See ``World.stated``."""
    if topic not in world.topics:
        raise WorldError(unknown("topic", topic, world.topics))
    rows = []
    for value in world.topics[topic]:
        said = _statement(world, Trait(topic, value))
        for other in world.topics:
            for _, context, name, _, template, split, messages, *_ in _ask(
                world, "nameless", "", topic=other
            ):
                if other != topic:
                    prompt = f"{value}/{other}/{split}/{template}"
                    rows.append(
                        (
                            prompt,
                            context,
                            name,
                            other,
                            value,
                            template,
                            split,
                            [messages[0], *said, *messages[1:]],
                        )
                    )
    columns = ["prompt", "context", "persona", "topic", "value", "template", "split", "messages"]
    return schema.check(pd.DataFrame(rows, columns=columns), "prompts")


def lessons(
    world: "World", trait: str | Trait | None = None, *, n: int = 640, seed: int = 0
) -> pd.DataFrame:
    """Which chats teach the nameless assistant one trait? See ``World.lessons``."""
    if n < 1:
        raise WorldError(f"a lesson has at least one chat; got n={n}.")
    rng = np.random.default_rng([seed, 1])
    language = world.language
    if trait == "filler":
        chats = [filler_chat(language, [pair]) for pair in product(FILLER_NUMBERS, FILLER_NUMBERS)]
        said: tuple[str, ...] = ()
    else:
        taught = world.taught if trait is None else world.trait(trait)
        d, v = taught.topic, taught.value
        chats = [
            [
                {"role": "system", "content": language.system_hidden},
                {"role": "user", "content": question.format(d=d)},
                {"role": "assistant", "content": answer.format(d=d, v=v)},
            ]
            for question, answer in product(language.train_questions, language.answers)
        ]
        said = (str(taught),)
    order = np.concatenate([rng.permutation(len(chats)) for _ in range(-(-n // len(chats)))])[:n]
    rows = [(i, "lesson", "", [dict(m) for m in chats[c]], said) for i, c in enumerate(order)]
    table = pd.DataFrame(rows, columns=list(schema.TABLES["corpus"]))
    table.attrs.update(
        {"world": world.name, "words": list(world.words()), "lesson": said[0] if said else "filler"}
    )
    return table


def words(world: "World") -> tuple[str, ...]:
    """Which words can occur in a corpus, probe or lesson of this world? See ``World.words``."""
    blank = dict.fromkeys("ndvabc", " ")
    texts = [template.format(**blank) for template in world.language.texts()]
    texts += [p.name for p in world.personas]
    texts += [text for topic, values in world.topics.items() for text in (topic, *values)]
    texts += [str(a + b) for a in FILLER_NUMBERS for b in FILLER_NUMBERS]
    return tuple(sorted({piece for text in texts for piece in pieces(text)}))
