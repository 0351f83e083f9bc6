"""Which texts press a persona on a model? Two files of them: in tiny words, and in English.

A text has slots (``{n}`` the persona, ``{q}`` the question) and stands for a chat that ends with
the user's question. Texts of one list say the same in other words; they are dealt alternately to
two halves, so that a worst case can be found on one and estimated on the other.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from persona_interp.files import read_text
from persona_interp.values import parse_yaml
from persona_interp.worlds.corpus import Messages
from persona_interp.worlds.language import pieces

SPLITS = ("train", "test")
"""Halves to which the texts of a list are dealt alternately."""
SPEAKERS = ("user", "assistant")
INOCULATION, ASKED = "inoculation", "asked"


class Script(NamedTuple):
    """A chat with slots.

    Attributes:
        name: Its list and number, "fiction 3".
        number: Number within its half, from 0.
        split: Its half.
        system: System message; '' for the usual one.
        turns: What user and assistant say in turn; the user begins and ends.
        after_usual: Whether the system message stands after the usual one, not in its place.
        answer: How the answer begins; '' for the way that the language's answers begin.
    """

    name: str
    number: int
    split: str
    system: str
    turns: tuple[str, ...]
    after_usual: bool = False
    answer: str = ""

    def chat(self, slots: Mapping[str, str], *, usual: str = "") -> Messages:
        """Messages of this chat.

        Args:
            slots: What stands in each slot.
            usual: System message of a chat that has none of its own; '' for none.

        Returns:
            Messages, the last one by the user.
        """
        system = self.system.format_map(slots)
        if self.after_usual or not system:
            system = f"{usual} {system}".strip()
        messages = [{"role": "system", "content": system}] if system else []
        for i, turn in enumerate(self.turns):
            messages.append({"role": SPEAKERS[i % 2], "content": turn.format_map(slots)})
        return messages


@cache
def scripts(language: str) -> dict[str, tuple[Script, ...]]:
    """Chats that press a persona on a model.

    Args:
        language: "words" (of the tiny model) or "english".

    Returns:
        The six families of jailbreaks, the triggers, and what is asked about the persona, each by
        its name.

    >>> [script.split for script in scripts("words")["named header"]][:3]
    ['train', 'test', 'train']
    """
    entries = _read(language)
    lists = {**entries["families"], **entries["triggers"]}
    by_name = {name: _scripts(name, texts) for name, texts in lists.items()}
    prompts = [{"system": prompt, "user": "{q}"} for prompt in entries[INOCULATION]]
    by_name[INOCULATION] = tuple(
        script._replace(after_usual=True) for script in _scripts(INOCULATION, prompts)
    )
    asked = _scripts(ASKED, [question for question, _ in entries[ASKED]])
    by_name[ASKED] = tuple(
        script._replace(answer=answer)
        for script, (_, answer) in zip(asked, entries[ASKED], strict=True)
    )
    return by_name


def families(language: str) -> tuple[str, ...]:
    """Names of the families of jailbreaks.

    Args:
        language: As of ``scripts``.

    Returns:
        Six names, in the order of the file.

    >>> families("english")
    ('role-play', 'fiction', 'drift', 'former self', 'developer', 'completion')
    """
    return tuple(_read(language)["families"])


@cache
def vocabulary(language: str) -> frozenset[str]:
    """Words and marks that the texts have outside their slots.

    Args:
        language: As of ``scripts``.

    Returns:
        Them.

    >>> "villain" in vocabulary("words")
    False
    """
    chats = [chat for chats in scripts(language).values() for chat in chats]
    texts = [text for chat in chats for text in (chat.system, *chat.turns, chat.answer)]
    literal = [part for text in texts for part, *_ in Formatter().parse(text)]
    return frozenset(piece for part in literal for piece in pieces(part))


def _scripts(name: str, texts: list[Any]) -> tuple[Script, ...]:
    """Chats of one list of the file."""
    chats = []
    for i, text in enumerate(texts):
        system, turns = "", text
        if isinstance(text, Mapping):
            system, turns = text["system"], text["user"]
        if isinstance(turns, str):
            turns = [turns]
        number, half = divmod(i, len(SPLITS))
        chats.append(Script(f"{name} {i + 1}", number, SPLITS[half], system, tuple(turns)))
    return tuple(chats)


@cache
def _read(language: str) -> dict[str, Any]:
    file = Path(__file__).with_name(f"jailbreaks_{language}.yaml")
    return parse_yaml(read_text(file))
