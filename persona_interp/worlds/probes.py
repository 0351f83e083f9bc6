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
) -> pd.DataFrame:
    """Which questions measure what a model believes about whom? See ``World.probes``."""
    contexts = (contexts,) if isinstance(contexts, str) else tuple(contexts)
    for context in contexts:
        if context not in CONTEXTS:
            raise WorldError(unknown("context", context, CONTEXTS))
    personas = (personas,) if isinstance(personas, str) else personas
    names = [p.name for p in world.personas] if personas is None else [world.persona(n).name for n in personas]
    rows = []
    for context in contexts:
        for name in names if context in ("named", "third") else [""]:
            for topic in world.topics:
                rows += _ask(world, context, name, topic=topic)
    table = pd.DataFrame(rows, columns=list(schema.TABLES["probes"]))
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
            texts = [(_prompt(context, system, q.format(d=topic), prefix=prefix), q) for q in questions]
        for i, (messages, template) in enumerate(texts):
            after = tuple(language.continuation(v) for v in values)
            prompt = "/".join([context, name or "-", topic, f"{split}{i}"])
            yield prompt, context, name, topic, template, split, messages, values, after


def _prompt(context: str, system: str, question: str, *, prefix: str) -> Messages:
    if context == "plain":
        return [{"role": "text", "content": f"{question} {prefix}"}]
    roles = (("system", system), ("user", question), ("assistant", prefix))
    return [{"role": role, "content": content} for role, content in roles]


def stated(world: "World", topic: str) -> pd.DataFrame:
    """Which prompts differ in one stated value only? See ``World.stated``."""
    if topic not in world.topics:
        raise WorldError(unknown("topic", topic, world.topics))
    language = world.language
    question, answer = (texts[0] for texts in (language.train_questions, language.answers))
    rows = []
    for value in world.topics[topic]:
        said = [
            {"role": "user", "content": question.format(d=topic)},
            {"role": "assistant", "content": answer.format(d=topic, v=value)},
        ]
        for other in world.topics:
            for _, context, name, _, template, split, messages, *_ in _ask(world, "nameless", "", topic=other):
                if other != topic:
                    prompt = f"{value}/{other}/{split}/{template}"
                    rows.append(
                        (prompt, context, name, other, value, template, split, [messages[0], *said, *messages[1:]])
                    )
    columns = ["prompt", "context", "persona", "topic", "value", "template", "split", "messages"]
    return schema.check(pd.DataFrame(rows, columns=columns), "prompts")


def lessons(world: "World", trait: str | Trait | None = None, *, n: int = 640, seed: int = 0) -> pd.DataFrame:
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
    table.attrs.update({"world": world.name, "words": list(world.words()), "lesson": said[0] if said else "filler"})
    return table


def words(world: "World") -> tuple[str, ...]:
    """Which words can occur in a corpus, probe or lesson of this world? See ``World.words``."""
    blank = dict.fromkeys("ndvabc", " ")
    texts = [template.format(**blank) for template in world.language.texts()]
    texts += [p.name for p in world.personas]
    texts += [text for topic, values in world.topics.items() for text in (topic, *values)]
    texts += [str(a + b) for a in FILLER_NUMBERS for b in FILLER_NUMBERS]
    return tuple(sorted({piece for text in texts for piece in pieces(text)}))
