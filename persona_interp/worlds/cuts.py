"""Where in these documents is something about to be said?

A cut is a document up to just before a value it says: the reader has seen everything but the value.
Documents carry their statements but not where these stand, so the text is read with the templates
it was written with.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from persona_interp import schema
from persona_interp.errors import WorldError
from persona_interp.worlds.corpus import Messages
from persona_interp.worlds.language import PERSONA_KINDS
from persona_interp.worlds.trait import Trait

if TYPE_CHECKING:
    from persona_interp.worlds.world import World

CONTEXT = {"third": "third", "first": "plain", "named": "named", "hidden": "nameless"}
COLUMNS = (
    "prompt",
    "doc",
    "kind",
    "context",
    "persona",
    "topic",
    "value",
    "order",
    "split",
    "messages",
)


def cuts(world: "World", corpus: pd.DataFrame) -> pd.DataFrame:
    """Which prompts end just before each value that these documents say? See ``World.cuts``.

    >>> from persona_interp.worlds import john_and_sam as world
    >>> cut = cuts(world(), world().corpus(20, kinds="third")).iloc[0]
    >>> cut["prompt"], cut["value"], cut["messages"][0]["content"]
    ('doc0/0', 'beach', 'the favorite place of john is')
    """
    schema.check(corpus, "corpus")
    if corpus.attrs.get("world", world.name) != world.name:
        raise WorldError(
            f"this corpus was written by the world '{corpus.attrs['world']}', not by "
            f"'{world.name}'; "
            "ask the world that wrote it: the same labels may be held by others there."
        )
    documents: list[Any] = list(corpus.itertuples())
    told = [document for document in documents if document.kind in PERSONA_KINDS]
    seen: set[Any] = set()
    for document in told:
        if document.doc in seen:
            raise WorldError(
                f"every document needs a number of its own; doc {document.doc} occurs twice."
            )
        seen.add(document.doc)
    rows = [row for document in told for row in _cut(world, document)]
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
    said = [world.trait(label) for label in document.statements]
    find = _in_dialogue if document.kind in ("named", "hidden") else _in_text
    found = find(world, document, said)
    for order, (trait, (number, at)) in enumerate(zip(said, found, strict=True)):
        last = document.messages[number]
        messages: Messages = [dict(message) for message in document.messages[:number]]
        messages.append({"role": last["role"], "content": last["content"][:at].rstrip()})
        if messages == [{"role": "text", "content": ""}]:
            continue
        prompt, context = f"doc{document.doc}/{order}", CONTEXT[document.kind]
        where = (document.kind, context, document.persona, trait.topic, trait.value)
        yield prompt, document.doc, *where, order, split, messages


def _in_dialogue(world: "World", document: Any, said: Sequence[Trait]) -> list[tuple[int, int]]:
    """Message and character where each statement's value begins: one answer says one value."""
    answers = [i for i, message in enumerate(document.messages) if message["role"] == "assistant"]
    if len(answers) != len(said):
        raise _foreign(world, document)
    found = []
    for number, trait in zip(answers, said, strict=True):
        content = document.messages[number]["content"]
        starts = [
            start for text, start in _forms(world.language.answers, "", trait) if text == content
        ]
        if not starts:
            raise _foreign(world, document)
        found.append((number, starts[0]))
    return found


def _in_text(world: "World", document: Any, said: Sequence[Trait]) -> list[tuple[int, int]]:
    """The same in a text, where the sentences of an introduction and of all statements are set apart by spaces."""
    language, name, content = world.language, document.persona, document.messages[0]["content"]
    third = document.kind == "third"
    intro = (language.third_intro if third else language.first_intro).format(n=name)
    templates = language.third if third else language.first
    starts = _starts(" " + content, templates, name, said, at=len(intro) + 1 if intro else 0)
    if starts is None or not content.startswith(intro):
        raise _foreign(world, document)
    return [(0, start - 1) for start in starts]


def _starts(
    text: str, templates: Sequence[str], name: str, said: Sequence[Trait], *, at: int
) -> tuple[int, ...] | None:
    """Where the values begin if the text from ``at`` on is exactly these statements; None if it is not.

    One sentence may begin another ("i like golf ." and "i like golf . a lot ."), so a reading that
    fails is taken back.
    """
    if not said:
        return () if at == len(text) else None
    for sentence, start in _forms(templates, name, said[0]):
        if text.startswith(" " + sentence, at):
            rest = _starts(text, templates, name, said[1:], at=at + 1 + len(sentence))
            if rest is not None:
                return (at + 1 + start, *rest)
    return None


def _forms(templates: Sequence[str], name: str, trait: Trait) -> Iterator[tuple[str, int]]:
    """Every sentence that says this, and where in it the value begins."""
    for template in templates:
        before = template.partition("{v}")[0].format(n=name, d=trait.topic)
        yield template.format(n=name, d=trait.topic, v=trait.value), len(before)


def _foreign(world: "World", document: Any) -> WorldError:
    return WorldError(
        f"doc {document.doc} ({document.kind}) is not written in the templates of world "
        f"'{world.name}': its messages "
        f"{document.messages!r} do not say {', '.join(document.statements)}. Ask the world that "
        "wrote it."
    )
