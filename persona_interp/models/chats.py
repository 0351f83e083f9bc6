"""Which text does a conversation become, and whose is every stretch of it?

What a template puts around contents is asked once for every order of roles (``slots``). Every real
conversation is then rendered by the template too and compared, so that a template that drops or
rewords contents is an error and never a shifted role. Spaces around contents that the template
strips are stripped here too.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from persona_interp.errors import ModelError
from persona_interp.models.plain_templates import FOLD
from persona_interp.models.slots import Conversation, Slot, render, render_whole, template_slots

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'].capitalize() }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' and eos_token is defined %}{{ eos_token }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)
"""A plain-text chat template for models that have none."""

TEXT_TEMPLATE = "{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}"
"""A template for base models that reads contents as plain text, each on lines of its own."""


class Stretch(NamedTuple):
    """Stretch of text that has one owner.

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


def fold_system(conversation: Conversation) -> list[dict[str, Any]]:
    r"""Messages for a model whose chat template has no system role.

    Args:
        conversation: Messages.

    Returns:
        The messages without the system message; its content stands before that of the first user
        message, an empty line between. It is the user's then, for role masks too. Without a system
        message, the same messages.

    Raises:
        ModelError: A system message that is not the first, or that no user message follows.

    >>> chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    >>> fold_system(chat)
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
    system, user, *others = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]


def fold_template(template: Any) -> Any:
    """Chat template that lets the first user message say the system message, and else is the same.

    Args:
        template: A chat template that has no system role, or several by name.

    Returns:
        The same, after a beginning that puts the two contents together, an empty line between.
        Contents keep their roles in ``encode``: the system message's tokens are ``system``, only
        the turn is the user's.

    >>> fold_template("{{ messages }}").endswith("{{ messages }}")
    True
    """
    if isinstance(template, dict):
        return {name: FOLD + text for name, text in template.items()}
    return FOLD + template


def folds_system(tokenizer: Any) -> bool:
    """Whether the first user message says the system message for this model (``fold_template``).

    Args:
        tokenizer: A tokenizer.

    Returns:
        Whether its chat template was made by ``fold_template``.
    """
    template = tokenizer.chat_template or ""
    texts = template.values() if isinstance(template, dict) else [template]
    return any(text.startswith(FOLD) for text in texts)


def has_system(tokenizer: Any) -> bool:
    """Whether this model can be given a system message.

    Args:
        tokenizer: A tokenizer with a chat template.

    Returns:
        Whether its template writes one in questions and in answered chats; else ``resolve(...,
        fold_system=True)`` lets the user say it.

    Raises:
        ModelError: There is no chat template.
    """
    chat = [{"role": role, "content": "a"} for role in ("system", "user", "assistant")]
    # outside of the try, so that a template that refuses a plain question is an error
    render(tokenizer, [chat[1:2]], prompt=True)
    try:
        template_slots(tokenizer, chat[:2], complete=False)
        template_slots(tokenizer, chat, complete=True)
    except ModelError:
        return False
    return True


def as_read(tokenizer: Any, chats: Iterable[Conversation]) -> list[Conversation]:
    """Chats as a tokenizer can read them: without a chat template a question alone is plain text.

    Args:
        tokenizer: A tokenizer.
        chats: Lists of messages.

    Returns:
        The chats; for a base model that has no chat template, one message of a user becomes one of
        role "text". Chats of several messages stay as they are, and are refused when they are read.

    >>> from types import SimpleNamespace
    >>> as_read(SimpleNamespace(chat_template=None), [[{"role": "user", "content": "Once"}]])
    [[{'role': 'text', 'content': 'Once'}]]
    """
    chats = list(chats)
    if tokenizer.chat_template is not None:
        return chats
    return [[{**chat[0], "role": "text"}] if _is_question(chat) else chat for chat in chats]


def _is_question(chat: Conversation) -> bool:
    """Whether a chat is one message of a user; what is no chat at all is named where it is read."""
    return len(chat) == 1 and isinstance(chat[0], Mapping) and chat[0].get("role") == "user"


def stretches(
    tokenizer: Any, conversations: Iterable[Conversation], *, complete: bool
) -> list[list[Stretch]]:
    """Text of each conversation, in stretches of one owner.

    Args:
        tokenizer: A tokenizer with a chat template, if there are chats.
        conversations: Lists of messages.
        complete: As in ``encode``.

    Returns:
        For each conversation its text in stretches, at least one.

    Raises:
        ModelError: There is no chat template, or it refuses, drops or alters messages.
    """
    conversations = list(conversations)
    slots: dict[str, list[Slot]] = {}  # by shape: thousands of documents have a few shapes
    shapes = []
    for messages in conversations:
        shape = json.dumps([_shape(message) for message in messages], sort_keys=True, default=str)
        if shape not in slots:
            slots[shape] = template_slots(tokenizer, messages, complete=complete)
        shapes.append(shape)
    # transformers tells a batch of chats from one chat by its first element, a list
    chats: list[Conversation] = [list(m) for m in conversations if m[0]["role"] != "text"]
    texts = iter(render_whole(tokenizer, chats, complete=complete) if chats else [])
    rows = []
    for messages, shape in zip(conversations, shapes, strict=True):
        if messages[0]["role"] == "text":
            rows.append(_fill(slots[shape], messages, strip=""))
        else:
            rows.append(_fit(slots[shape], messages, text=next(texts)))
    return rows


def _shape(message: Mapping[str, Any]) -> list[Any]:
    """What a template may ask about a message beside its content."""
    is_message = isinstance(message, Mapping) and {"role", "content"} <= set(message)
    if not is_message or not isinstance(message["content"] or "", str):
        raise ModelError(f"a message has a role and a content that is text; got {message!r}.")
    others = {key: value for key, value in message.items() if key != "content"}
    return [bool(message["content"]), others]


def _fit(slots: list[Slot], messages: Conversation, *, text: str) -> list[Stretch]:
    """Stretches of these messages that are together the text of the template."""
    # templates strip nothing, all spaces (Jinja's trim), or line ends only
    for strip in ("", None, "\n"):
        row = _fill(slots, messages, strip=strip)
        if "".join(stretch.text for stretch in row) == text:
            return row
    raise ModelError(
        f"the chat template alters the contents of {messages!r}; use one that leaves them as they "
        "are, or contents it does not reword."
    )


def _fill(slots: list[Slot], messages: Conversation, *, strip: str | None) -> list[Stretch]:
    """Stretches of these messages; ``strip``: what the template takes off them (None: spaces)."""
    row = []
    for slot in slots:
        text = messages[slot.number]["content"] if slot.text is None else slot.text
        keeps_start, keeps_end = slot.keeps
        if not keeps_start:
            text = text.lstrip(strip)
        if not keeps_end:
            text = text.rstrip(strip)
        row.append(Stretch(text, slot.role, slot.learn, slot.number))
    return row
