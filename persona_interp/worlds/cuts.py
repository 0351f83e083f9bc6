"""Where in these documents is something about to be said?

A cut is a document up to just before a value it says: the reader has seen everything but the value.
Documents carry their statements but not where these stand, so the text is read with the templates
it was written with.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError, excerpt
from persona_interp.worlds.corpus import Messages
from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.trait import Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

CONTEXTS = {"third": "third", "first": "plain", "named": "named", "hidden": "nameless"}
"""Kind of document -> context of its prompts."""
COLUMNS = (
    *("prompt", "doc", "kind", "context", "persona"),
    *("topic", "value", "order", "stated", "split", "messages"),
)


def cuts(world: "World", corpus: pd.DataFrame) -> pd.DataFrame:
    """Prompts that end just before each value that documents say. See ``World.cuts``.

    >>> from persona_interp.worlds import john_and_sam as world
    >>> cut = cuts(world(), world().corpus(20, kinds="third")).iloc[0]
    >>> cut["prompt"], cut["value"], cut["messages"][0]["content"]
    ('doc0/0', 'beach', 'the favorite place of john is')
    """
    schema.check(corpus, "corpus")
    if corpus.attrs.get("world", world.name) != world.name:
        raise WorldError(
            f"this corpus was written by the world '{corpus.attrs['world']}', not by "
            f"'{world.name}'; ask the world that wrote it: the same labels may be held by others "
            "there."
        )
    documents: list[Any] = list(corpus.loc[corpus["kind"].isin(PERSONA_KINDS)].itertuples())
    numbers: set[Any] = set()
    for document in documents:
        if document.doc in numbers:
            raise WorldError(
                f"every document needs a number of its own; doc {document.doc} occurs twice."
            )
        numbers.add(document.doc)
    rows = [row for document in documents for row in _cut(world, document)]
    if not rows:
        raise WorldError(
            f"nobody says anything in these {len(corpus)} documents; give some of kind hidden or "
            "third."
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs.update(corpus.attrs)
    return schema.check(table, "prompts")


def _cut(world: "World", document: Any) -> Iterator[tuple[Any, ...]]:
    """Rows of a prompts table for one document."""
    split = "test" if int(document.doc) % 2 else "train"
    context = CONTEXTS[document.kind]
    traits = [world.trait(label) for label in document.statements]
    find = _in_dialogue if document.kind in ("named", "hidden") else _in_text
    places = find(world, document, traits)
    for order, (trait, (number, start)) in enumerate(zip(traits, places, strict=True)):
        last = document.messages[number]
        messages: Messages = [dict(message) for message in document.messages[:number]]
        # Without the space before the value: most tokenizers put it into the value's own token.
        messages.append({"role": last["role"], "content": last["content"][:start].rstrip()})
        if messages == [{"role": "text", "content": ""}]:
            continue
        prompt = f"doc{document.doc}/{order}"
        where = (document.kind, context, document.persona, trait.topic, trait.value)
        # one text, so that it can be a coordinate of what is recorded; no value has a line break
        stated = "\n".join(document.statements[:order])
        yield prompt, document.doc, *where, order, stated, split, messages


def _in_dialogue(world: "World", document: Any, traits: Sequence[Trait]) -> list[tuple[int, int]]:
    """Message and character where each statement's value begins: one answer says one value."""
    answers = [i for i, message in enumerate(document.messages) if message["role"] == "assistant"]
    if len(answers) != len(traits):
        raise _foreign(world, document)
    places = []
    for number, trait in zip(answers, traits, strict=True):
        content = document.messages[number]["content"]
        sentences = _sentences(world.language.answers, "", trait)
        starts = [start for sentence, start in sentences if sentence == content]
        if not starts:
            raise _foreign(world, document)
        places.append((number, starts[0]))
    return places


def _in_text(world: "World", document: Any, traits: Sequence[Trait]) -> list[tuple[int, int]]:
    """Message and character where each statement's value begins in a text.

    Spaces set the sentences of an introduction and of all statements apart.
    """
    language, name, content = world.language, document.persona, document.messages[0]["content"]
    if document.kind == "third":
        intro, templates = language.third_intro, language.third
    else:
        intro, templates = language.first_intro, language.first
    intro = intro.format(n=name)
    # With a space before it, the text is sentences that each begin with a space, the first as well.
    at = len(intro) + 1 if intro else 0
    starts = _starts(" " + content, templates, name, traits, at=at)
    if starts is None or not content.startswith(intro):
        raise _foreign(world, document)
    return [(0, start - 1) for start in starts]


def _starts(
    text: str, templates: Sequence[str], name: str, traits: Sequence[Trait], *, at: int
) -> tuple[int, ...] | None:
    """Where the values begin if the text from ``at`` on is exactly these statements, else None.

    One sentence may begin another ("i like golf ." and "i like golf . a lot ."), so a reading that
    fails is taken back.
    """
    if not traits:
        return () if at == len(text) else None
    for sentence, start in _sentences(templates, name, traits[0]):
        if text.startswith(" " + sentence, at):
            rest = _starts(text, templates, name, traits[1:], at=at + 1 + len(sentence))
            if rest is not None:
                return (at + 1 + start, *rest)
    return None


def _sentences(templates: Sequence[str], name: str, trait: Trait) -> Iterator[tuple[str, int]]:
    """Every sentence that says this, and where in it the value begins."""
    for template in templates:
        before = template.partition("{v}")[0].format(n=name, d=trait.topic)
        yield template.format(n=name, d=trait.topic, v=trait.value), len(before)


def _foreign(world: "World", document: Any) -> WorldError:
    return WorldError(
        f"doc {document.doc} ({document.kind}) is not written in the templates of world "
        f"'{world.name}': its messages {excerpt(document.messages)} do not say "
        f"{', '.join(document.statements)}. Ask the world that wrote it."
    )
