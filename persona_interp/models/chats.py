"""Which text does a conversation become, and whose is every stretch of it?

The chat template of a model is asked once for every order of roles, with marks in place of the contents; where the
marks come out, the contents belong. Every real conversation is then rendered by the template too and compared, so that
a template that trims, drops or rewords contents is an error and never a shifted role.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateError

from persona_interp.errors import ModelError

Conversation = Sequence[dict[str, str]]

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].capitalize() }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' and eos_token is defined %}{{ eos_token }}{% endif %}{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""A plain-text chat template for models that have none."""


class Stretch(NamedTuple):
    """A stretch of text that has one owner.

    Attributes:
        text: The text.
        role: system, user, assistant or text for content, template for what stands around it.
        learn: Whether the model says it: an answer, the end of its turn, or plain text.
        turn: Index of the message whose content it is; -1 for what stands around contents.
    """

    text: str
    role: str
    learn: bool
    turn: int


class _Slot(NamedTuple):
    """Template text, or (``text`` None) the place of the content of message ``number``."""

    role: str
    learn: bool
    text: str | None = None
    number: int = -1


def stretches(tokenizer: Any, conversations: Iterable[Conversation], *, complete: bool) -> list[list[Stretch]]:
    """Which text does each conversation become?

    Args:
        tokenizer: A tokenizer with a chat template, if there are chats.
        conversations: Lists of messages.
        complete: As in ``encode``.

    Returns:
        For each conversation its text in stretches, at least one.

    Raises:
        ModelError: There is no chat template, or it refuses, drops or alters messages.
    """
    shapes: dict[tuple[str, ...], list[_Slot]] = {}
    found, chats = [], []
    for messages in conversations:
        roles = tuple(message["role"] for message in messages)
        if roles not in shapes:
            shapes[roles] = _slots(tokenizer, roles, complete=complete)
        slots = shapes[roles]
        found.append(
            [
                Stretch(messages[s.number]["content"] if s.text is None else s.text, s.role, s.learn, s.number)
                for s in slots
            ]
        )
        if roles != ("text",):
            chats.append((list(messages), "".join(stretch.text for stretch in found[-1])))
    if chats:
        _check(tokenizer, chats, complete=complete)
    return found


def _slots(tokenizer: Any, roles: tuple[str, ...], *, complete: bool) -> list[_Slot]:
    """What does the template put around the contents of messages of these roles?"""
    if roles == ("text",):
        return [_Slot("text", learn=True, number=0)]
    if not roles or "text" in roles:
        raise ModelError(f"a conversation is chat messages or one message of role 'text'; got the roles {roles}.")
    marks = [f"\ue000{i}\ue001" for i in range(len(roles))]
    chat = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    whole = _whole(tokenizer, [chat], complete=complete)[0]
    slots, rest = [], whole
    for i, (role, mark) in enumerate(zip(roles, marks, strict=True)):
        before, there, rest = rest.partition(mark)
        if not there:
            raise ModelError(f"the chat template drops the {role} message of a chat of roles {', '.join(roles)}.")
        slots += _around(before, _ending(tokenizer, chat[:i], whole))
        if role == "assistant" and not whole.startswith(_render(tokenizer, [chat[:i]], prompt=True)[0] + mark):
            raise ModelError(
                "the chat template opens an answer otherwise when it is followed by text; use another one."
            )
        slots.append(_Slot(role, learn=role == "assistant", number=i))
    slots += _around(rest, _ending(tokenizer, chat, whole) if rest else 0)
    return [slot for slot in slots if slot.text != ""]


def _around(text: str, ending: int) -> list[_Slot]:
    """Template text whose first characters end an answer: those the model must learn to say."""
    return [_Slot("template", learn=True, text=text[:ending]), _Slot("template", learn=False, text=text[ending:])]


def _ending(tokenizer: Any, chat: list[dict[str, str]], whole: str) -> int:
    """How many characters after the last content of this chat end the assistant's turn?"""
    if not chat or chat[-1]["role"] != "assistant":
        return 0
    turn = _render(tokenizer, [chat], prompt=False)[0]
    if not whole.startswith(turn):
        raise ModelError("the chat template ends an answer otherwise when more messages follow; use another one.")
    return len(turn.partition(chat[-1]["content"])[2])


def _whole(tokenizer: Any, chats: list[list[dict[str, str]]], *, complete: bool) -> list[str]:
    """The text of each chat; all have the same kind of end. An unfinished answer follows the generation prompt."""
    if complete:
        return _render(tokenizer, chats, prompt=False)
    answers = [chat[-1]["content"] if chat[-1]["role"] == "assistant" else None for chat in chats]
    shown = [chat if answer is None else chat[:-1] for chat, answer in zip(chats, answers, strict=True)]
    texts = _render(tokenizer, shown, prompt=True)
    return [text + (answer or "") for text, answer in zip(texts, answers, strict=True)]


def _render(tokenizer: Any, chats: list[list[dict[str, str]]], *, prompt: bool) -> list[str]:
    if tokenizer.chat_template is None:
        raise ModelError(
            "this model has no chat template and cannot read chats; resolve the start with "
            "chat_template=persona_interp.models.PLAIN_TEMPLATE, or with a template of its own."
        )
    try:
        return tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=prompt)
    except TemplateError as error:
        roles = dict.fromkeys(message["role"] for chat in chats for message in chat)
        raise ModelError(
            f"the chat template refuses messages of the roles {', '.join(roles)}: {error}. "
            "Use roles it knows, or resolve the start with another chat_template."
        ) from error


def _check(tokenizer: Any, chats: list[tuple[list[dict[str, str]], str]], *, complete: bool) -> None:
    """Does the template itself make the same texts?"""
    made = _whole(tokenizer, [messages for messages, _ in chats], complete=complete)
    for (messages, text), expected in zip(chats, made, strict=True):
        if text != expected:
            raise ModelError(
                f"the chat template alters the contents of {messages!r}; strip the spaces around them, "
                "or use a template that leaves contents as they are."
            )
