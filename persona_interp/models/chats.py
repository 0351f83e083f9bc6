"""Which text does a conversation become, and whose is every stretch of it?

The chat template of a model is asked once for every order of roles, with marks in place of the
contents; where the marks come out, the contents belong. Every real conversation is then rendered by
the template too and compared, so that a template that drops or rewords contents is an error and
never a shifted role. Spaces around contents that the template strips are stripped here too.
Templates that can think are asked not to (``enable_thinking=False``), so that an answer begins
where it is measured.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateError

from persona_interp.errors import ModelError

Conversation = Sequence[Mapping[str, Any]]

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].capitalize() }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' and eos_token is defined %}{{ eos_token }}{% endif %}{{ "
    "'\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""A plain-text chat template for models that have none."""

FOLD = (
    "{%- if messages | length > 1 and messages[0]['role'] == 'system' and messages[1]['role'] == "
    "'user' -%}"
    "{%- set said = messages[0]['content'] + '\\n\\n' + messages[1]['content'] -%}"
    "{%- set messages = [dict(messages[1], content=said)] + messages[2:] -%}"
    "{%- endif %}\n"
)
"""What a folding chat template begins with; its line end is the block's, so that the rest begins a line of its own."""


class Stretch(NamedTuple):
    """A stretch of text that has one owner.

    Attributes:
        text: The text.
        role: system, user, assistant, tool or text for content, template for what stands around it.
        learn: Whether the model says it: an answer, the end of its turn, or plain text.
        turn: Index of the message whose content it is; -1 for what stands around contents.
    """

    text: str
    role: str
    learn: bool
    turn: int


class _Slot(NamedTuple):
    """Template text, or (``text`` None) the place of the content of message ``number``, and which sides stay as is."""

    role: str
    learn: bool
    text: str | None = None
    number: int = -1
    kept: tuple[bool, bool] = (True, True)


def fold_system(conversation: Conversation) -> list[dict[str, Any]]:
    r"""What does one say to a model whose chat template has no system role?

    Args:
        conversation: Messages.

    Returns:
        The messages without the system message; its content stands before that of the first user
        message, an empty line between. It is the user's then, for role masks too. Without a system
        message, the same messages.

    Raises:
        ModelError: A system message that is not the first, or that no user message follows.

    >>> fold_system([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}])
    [{'role': 'user', 'content': 'Be brief.\n\nWho?'}]
    """
    messages = [dict(message) for message in conversation]
    roles = [message["role"] for message in messages]
    if "system" not in roles:
        return messages
    if roles[:2] != ["system", "user"] or roles.count("system") > 1:
        raise ModelError(
            "a system message is folded into the user's that follows it; got the roles "
            f"{', '.join(roles)}."
        )
    folded = f"{messages[0]['content']}\n\n{messages[1]['content']}"
    return [{**messages[1], "content": folded}, *messages[2:]]


def folding(template: Any) -> Any:
    """Which chat template writes as this one does, and lets the first user message say the system message before it?

    Args:
        template: A chat template that has no system role, or several by name.

    Returns:
        The same, after a beginning that puts the two contents together, an empty line between.
        Contents keep their roles in ``encode``: the system message's tokens are ``system``, only
        the turn is the user's.

    >>> folding("{{ messages }}").endswith("{{ messages }}")
    True
    """
    return (
        {name: FOLD + text for name, text in template.items()}
        if isinstance(template, dict)
        else FOLD + template
    )


def folds_system(tokenizer: Any) -> bool:
    """Does the first user message say the system message for this model, see ``folding``?

    Args:
        tokenizer: A tokenizer.

    Returns:
        Whether its chat template was made by ``folding``.
    """
    own = tokenizer.chat_template
    return any(
        text.startswith(FOLD) for text in (own.values() if isinstance(own, dict) else [own or ""])
    )


def has_system(tokenizer: Any) -> bool:
    """Can this model be given a system message?

    Args:
        tokenizer: A tokenizer with a chat template.

    Returns:
        Whether its template writes one in questions and in answered chats; else ``resolve(...,
        fold_system=True)`` lets the user say it.

    Raises:
        ModelError: There is no chat template.
    """
    chat = [{"role": role, "content": "a"} for role in ("system", "user", "assistant")]
    _render(tokenizer, [chat[1:2]], prompt=True)
    try:
        _slots(tokenizer, chat[:2], complete=False)
        _slots(tokenizer, chat, complete=True)
    except ModelError:
        return False
    return True


def stretches(
    tokenizer: Any, conversations: Iterable[Conversation], *, complete: bool
) -> list[list[Stretch]]:
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
    shapes: dict[str, list[_Slot]] = {}
    found, chats = [], []
    for n, messages in enumerate(conversations):
        shape = json.dumps([_shape(message) for message in messages], sort_keys=True, default=str)
        if shape not in shapes:
            shapes[shape] = _slots(tokenizer, messages, complete=complete)
        found.append(_filled(shapes[shape], messages))
        if messages[0]["role"] != "text":
            chats.append((n, messages, shapes[shape]))
    if chats:
        made = _whole(tokenizer, [list(messages) for _, messages, _ in chats], complete=complete)
        for (n, messages, slots), expected in zip(chats, made, strict=True):
            for spaces in (None, "\n"):
                if _text(found[n]) != expected:
                    found[n] = _filled(slots, messages, strip=spaces)
            if _text(found[n]) != expected:
                raise ModelError(
                    f"the chat template alters the contents of {messages!r}; use one that leaves "
                    "them as they are, or "
                    "contents it does not reword."
                )
    return found


def _shape(message: Mapping[str, Any]) -> list[Any]:
    """What a template may ask about a message beside its content."""
    named = isinstance(message, Mapping) and {"role", "content"} <= set(message)
    if not named or not isinstance(message["content"] or "", str):
        raise ModelError(f"a message has a role and a content that is text; got {message!r}.")
    return [
        bool(message["content"]),
        {key: value for key, value in message.items() if key != "content"},
    ]


def _filled(slots: list[_Slot], messages: Conversation, *, strip: str | None = "") -> list[Stretch]:
    """The stretches of these messages; ``strip`` is what the template takes off contents (None: all spaces)."""
    made = []
    for slot in slots:
        said = slot.text if slot.text is not None else messages[slot.number]["content"]
        said = said if slot.kept[0] else said.lstrip(strip)
        said = said if slot.kept[1] else said.rstrip(strip)
        made.append(Stretch(said, slot.role, slot.learn, slot.number))
    return made


def _text(row: list[Stretch]) -> str:
    return "".join(stretch.text for stretch in row)


def _slots(tokenizer: Any, messages: Conversation, *, complete: bool) -> list[_Slot]:
    """What does the template put around the contents of such messages? Empty ones have no place of their own."""
    roles = [message["role"] for message in messages]
    if roles == ["text"]:
        return [_Slot("text", learn=True, number=0)]
    if not roles or "text" in roles:
        raise ModelError(
            "a conversation is chat messages or one message of role 'text'; got the roles "
            f"{tuple(roles)}."
        )
    marks = [f"\ue000{i}\ue001" if message["content"] else "" for i, message in enumerate(messages)]
    chat = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    rest = whole = _whole(tokenizer, [chat], complete=complete)[0]
    kept = _kept(tokenizer, chat, complete=complete)
    slots, ending = [], ""
    # a template may tell contents in another order: one of Mistral's writes the system message
    # before the last user's
    for i in sorted(
        (i for i, mark in enumerate(marks) if mark), key=lambda i: whole.find(marks[i])
    ):
        role, mark = roles[i], marks[i]
        before, there, rest = rest.partition(mark)
        if not there:
            raise ModelError(
                f"the chat template drops the {role} message of a chat of roles {', '.join(roles)}."
            )
        slots += _around(before, ending)
        _check_opening(tokenizer, chat, i, text=_text_of(slots))
        slots.append(_Slot(role, learn=role == "assistant", number=i, kept=kept[i]))
        ending = _ending(tokenizer, chat[: i + 1], rest)
    slots += _around(rest, ending)
    if roles[-1] == "assistant" and not marks[-1] and not complete:
        slots.append(_Slot("assistant", learn=True, number=len(chat) - 1))
    return [slot for slot in slots if slot.text != ""]


def _text_of(slots: list[_Slot]) -> str:
    return "".join(
        f"\ue000{slot.number}\ue001" if slot.text is None else slot.text for slot in slots
    )


def _check_opening(tokenizer: Any, chat: list[dict[str, Any]], i: int, *, text: str) -> None:
    """The last answer must begin as the model is asked for it; earlier ones are history, which may look otherwise.

    A space is let pass: Mistral's templates write one that their models, asked for an answer, say
    themselves.
    """
    if i < len(chat) - 1 or chat[i]["role"] != "assistant":
        return
    asked = _render(tokenizer, [chat[:i]], prompt=True)[0]
    if not text.startswith(asked) or text[len(asked) :].strip():
        raise ModelError(
            "the chat template opens an answer otherwise when it is followed by text; use another "
            "one."
        )


def _around(text: str, ending: str) -> list[_Slot]:
    """Template text whose first part ends an answer: that the model must learn to say."""
    return [
        _Slot("template", learn=True, text=text[: len(ending)]),
        _Slot("template", learn=False, text=text[len(ending) :]),
    ]


def _ending(tokenizer: Any, chat: list[dict[str, Any]], rest: str) -> str:
    """Which text after the last content of this chat ends the assistant's turn?"""
    if chat[-1]["role"] != "assistant" or not rest:
        return ""
    ending = _render(tokenizer, [chat], prompt=False)[0].partition(chat[-1]["content"])[2]
    if not rest.startswith(
        ending
    ):  # Phi-3's template ends every whole chat with a token of its own
        ending = ending.removesuffix(tokenizer.eos_token or "")
    if not rest.startswith(ending):
        raise ModelError(
            "the chat template ends an answer otherwise when more messages follow; use another one."
        )
    return ending


def _kept(tokenizer: Any, chat: list[dict[str, Any]], *, complete: bool) -> list[tuple[bool, bool]]:
    """Does the template keep spaces before and after each content? Another empty line beside its mark shows it."""
    kept: list[list[bool]] = []
    plain = _whole(tokenizer, [chat], complete=complete)[0]
    for side, before, after in ((0, "\n", ""), (1, "", "\n")):
        wide = [{**m, "content": m["content"] and f"{before}{m['content']}{after}"} for m in chat]
        text = _whole(tokenizer, [wide], complete=complete)[0]
        marks = [str(m["content"]) for m in chat]
        kept.append([_lines(text, mark, side) > _lines(plain, mark, side) for mark in marks])
    return list(zip(*kept, strict=True))


def _lines(text: str, mark: str, side: int) -> int:
    """How many line ends stand right before (side 0) or after (1) the mark?"""
    beside = text.partition(mark)[2 * side] if mark else ""
    return len(beside) - len(beside.rstrip("\n") if side == 0 else beside.lstrip("\n"))


def _whole(tokenizer: Any, chats: list[Conversation], *, complete: bool) -> list[str]:
    """The text of each chat; all have the same kind of end. An unfinished answer follows the generation prompt."""
    if complete:
        return _render(tokenizer, chats, prompt=False)
    answers = [chat[-1]["content"] if chat[-1]["role"] == "assistant" else None for chat in chats]
    shown = [
        chat if answer is None else chat[:-1] for chat, answer in zip(chats, answers, strict=True)
    ]
    texts = _render(tokenizer, shown, prompt=True)
    return [text + (answer or "") for text, answer in zip(texts, answers, strict=True)]


def _render(tokenizer: Any, chats: list[Conversation], *, prompt: bool) -> list[str]:
    if tokenizer.chat_template is None:
        raise ModelError(
            "this model has no chat template and cannot read chats; resolve the start with "
            "chat_template=persona_interp.models.PLAIN_TEMPLATE, or with a template of its own "
            "(compare "
            "--chat-template FILE)."
        )
    try:
        return tokenizer.apply_chat_template(
            chats, tokenize=False, add_generation_prompt=prompt, enable_thinking=False
        )
    except TemplateError as error:
        roles = dict.fromkeys(message["role"] for chat in chats for message in chat)
        raise ModelError(
            f"the chat template refuses messages of the roles {', '.join(roles)}: {error}. "
            "Use roles it knows, or another chat_template; models.resolve(start, fold_system=True) "
            "lets the user say a "
            "system message, models.fold_system does it in one conversation."
        ) from error
