"""What does a chat template put around the contents of messages?

The template is asked with marks in place of the contents; where the marks come out, the contents
belong. Templates that can think are asked not to (``enable_thinking=False``), so that an answer
begins where it is measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateError

from persona_interp.errors import ModelError
from persona_interp.models.apart import TemplateRefusalError, render_apart
from persona_interp.models.day import with_day
from persona_interp.models.guard import guard, reason
from persona_interp.models.plain_templates import is_plain

Conversation = Sequence[Mapping[str, Any]]


class Slot(NamedTuple):
    """Template text, or the place of a message's content.

    Attributes:
        role: As of ``Stretch``.
        learn: As of ``Stretch``.
        text: Template text; None for the place of a content.
        number: Index of the message whose content stands there; -1 for template text.
        keeps: Whether spaces at the start and at the end of the content stay.
    """

    role: str
    learn: bool
    text: str | None = None
    number: int = -1
    keeps: tuple[bool, bool] = (True, True)


def template_slots(tokenizer: Any, messages: Conversation, *, complete: bool) -> list[Slot]:
    """Template text around the contents of such messages, and the places of the contents.

    Args:
        tokenizer: A tokenizer with a chat template, if this is a chat.
        messages: A conversation; only its roles, and which contents are empty, matter.
        complete: As in ``encode``.

    Returns:
        Slots in order of the text. Empty contents have no place, but for that of an answer to be
        continued.

    Raises:
        ModelError: There is no chat template, or it refuses or drops messages.
    """
    roles = [message["role"] for message in messages]
    if roles == ["text"]:
        return [Slot("text", learn=True, number=0)]
    if not roles or "text" in roles:
        raise ModelError(
            "a conversation is chat messages or one message of role 'text'; got the roles "
            f"{tuple(roles)}."
        )
    marks = [_mark(i) if message["content"] else "" for i, message in enumerate(messages)]
    chat = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    text = render_whole(tokenizer, [chat], complete=complete)[0]
    keeps = _keeps_spaces(tokenizer, chat, complete=complete)
    # a template may tell contents in another order: one of Mistral's writes the system message
    # before the last user's
    order = sorted((i for i, mark in enumerate(marks) if mark), key=lambda i: text.find(marks[i]))
    slots, ending, rest = [], "", text
    for i in order:
        role = roles[i]
        before, mark, rest = rest.partition(marks[i])
        if not mark:
            raise ModelError(
                f"the chat template drops the {role} message of a chat of roles {', '.join(roles)}."
            )
        slots += _around(before, ending)
        _check_opening(tokenizer, chat, i, text=_mark_slots(slots))
        slots.append(Slot(role, learn=role == "assistant", number=i, keeps=keeps[i]))
        ending = _ending(tokenizer, chat[: i + 1], rest)
    slots += _around(rest, ending)
    if roles[-1] == "assistant" and not marks[-1] and not complete:
        slots.append(Slot("assistant", learn=True, number=len(chat) - 1))
    return [slot for slot in slots if slot.text != ""]


def render_whole(tokenizer: Any, chats: list[Conversation], *, complete: bool) -> list[str]:
    """Text of each chat; an unfinished answer follows the generation prompt.

    Args:
        tokenizer: A tokenizer with a chat template.
        chats: Lists of messages.
        complete: As in ``encode``.

    Returns:
        One text a chat.

    Raises:
        ModelError: There is no chat template, or it refuses the messages.
    """
    if complete:
        return render(tokenizer, chats, prompt=False)
    # a template closes every message it is given, so an answer that goes on is put behind it
    questions, answers = [], []
    for chat in chats:
        if chat[-1]["role"] == "assistant":
            questions.append(chat[:-1])
            answers.append(chat[-1]["content"] or "")
        else:
            questions.append(chat)
            answers.append("")
    texts = render(tokenizer, questions, prompt=True)
    return [text + answer for text, answer in zip(texts, answers, strict=True)]


def render(tokenizer: Any, chats: list[Conversation], *, prompt: bool) -> list[str]:
    """Text that the chat template makes of each chat.

    Args:
        tokenizer: A tokenizer with a chat template.
        chats: Lists of messages.
        prompt: Whether the opening of an answer follows.

    Returns:
        One text a chat.

    Raises:
        ModelError: There is no chat template, or it refuses the messages.
    """
    if tokenizer.chat_template is None:
        raise ModelError(
            "this model has no chat template and cannot read chats; resolve the start with "
            "chat_template=persona_interp.models.PLAIN_TEMPLATE, or with a template of its own "
            "(compare --chat-template FILE)."
        )
    more: dict[str, Any] = {"add_generation_prompt": prompt, "enable_thinking": False}
    try:
        with guard("the chat template cannot be used"):
            template = tokenizer.get_chat_template()
            more["chat_template"] = with_day(template)
            if is_plain(template):
                return tokenizer.apply_chat_template(chats, tokenize=False, **more)
            special = tokenizer.special_tokens_map
    except ModelError as error:
        if not isinstance(error.__cause__, TemplateError):
            raise
        raise _refusal(chats, reason(error.__cause__)) from error
    # as apply_chat_template does: a template takes a key that is there for one that holds a text
    chats = [[{k: v for k, v in m.items() if v is not None} for m in chat] for chat in chats]
    try:
        return render_apart(chats, **special, **more)
    except TemplateRefusalError as error:
        raise _refusal(chats, str(error)) from error


def _refusal(chats: list[Conversation], cause: str) -> ModelError:
    roles = dict.fromkeys(message["role"] for chat in chats for message in chat)
    return ModelError(
        f"the chat template refuses messages of the roles {', '.join(roles)}: {cause} Use "
        "roles it knows, or another chat_template; models.resolve(start, fold_system=True) "
        "lets the user say a system message, models.fold_system does it in one conversation."
    )


def _mark(i: int) -> str:
    """Text that stands for the content of message ``i``."""
    # characters of Unicode's private use area, which no template writes
    return f"\ue000{i}\ue001"


def _mark_slots(slots: list[Slot]) -> str:
    return "".join(_mark(slot.number) if slot.text is None else slot.text for slot in slots)


def _check_opening(tokenizer: Any, chat: list[dict[str, Any]], i: int, *, text: str) -> None:
    """Refuse a template whose last answer begins otherwise than the model is asked for it.

    Earlier answers are history, which may look otherwise.
    """
    if i < len(chat) - 1 or chat[i]["role"] != "assistant":
        return
    question = render(tokenizer, [chat[:i]], prompt=True)[0]
    # a space is let pass: Mistral's templates write one that their models, asked for an answer, say
    # themselves
    if not text.startswith(question) or text[len(question) :].strip():
        raise ModelError(
            "the chat template opens an answer otherwise when it is followed by text; use another "
            "one."
        )


def _around(text: str, ending: str) -> list[Slot]:
    """Template text whose first part ends an answer: that the model must learn to say."""
    return [
        Slot("template", learn=True, text=text[: len(ending)]),
        Slot("template", learn=False, text=text[len(ending) :]),
    ]


def _ending(tokenizer: Any, chat: list[dict[str, Any]], rest: str) -> str:
    """Text after the last content of this chat that ends the assistant's turn."""
    if chat[-1]["role"] != "assistant" or not rest:
        return ""
    ending = render(tokenizer, [chat], prompt=False)[0].partition(chat[-1]["content"])[2]
    # Phi-3's template ends every whole chat with a token of its own
    if not rest.startswith(ending):
        ending = ending.removesuffix(tokenizer.eos_token or "")
    if not rest.startswith(ending):
        raise ModelError(
            "the chat template ends an answer otherwise when more messages follow; use another one."
        )
    return ending


def _keeps_spaces(
    tokenizer: Any, chat: list[dict[str, Any]], *, complete: bool
) -> list[tuple[bool, bool]]:
    """Whether the template keeps spaces before and after each content."""
    # a line end put beside a mark is one more in the text if it is kept
    text = render_whole(tokenizer, [chat], complete=complete)[0]
    sides = []
    for side, (before, after) in enumerate((("\n", ""), ("", "\n"))):
        marks = [message["content"] for message in chat]
        wide_marks = [mark and f"{before}{mark}{after}" for mark in marks]
        wide_chat = [{**m, "content": mark} for m, mark in zip(chat, wide_marks, strict=True)]
        wide_text = render_whole(tokenizer, [wide_chat], complete=complete)[0]
        sides.append([_n_lines(wide_text, m, side) > _n_lines(text, m, side) for m in marks])
    return list(zip(*sides, strict=True))


def _n_lines(text: str, mark: str, side: int) -> int:
    """Number of line ends right before (side 0) or after (1) the mark; 0 without one."""
    if not mark:
        return 0
    before, _, after = text.partition(mark)
    if side == 0:
        return len(before) - len(before.rstrip("\n"))
    return len(after) - len(after.lstrip("\n"))
