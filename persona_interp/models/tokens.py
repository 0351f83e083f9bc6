"""How does a conversation become tokens? The one path for training, behavior, activations and sampling.

A conversation is a list of ``{"role", "content"}``. One message of role ``text`` is plain text; anything else goes
through the chat template. Every token gets a role: ``system``, ``user``, ``assistant`` or ``text`` for content,
``template`` for what the chat template puts around it, ``special`` for special tokens. There is exactly one BOS where
the tokenizer or its template has one, and none where it has none.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor

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


@dataclass(frozen=True)
class Tokens:
    """Which tokens are these conversations, and whose is each?

    Attributes:
        ids: Token ids of each row, without padding.
        roles: Role of each token: system, user, assistant, text, template or special.
        learn: Whether a token is said by the model, dims as ids: an assistant's answer with its end-of-turn, or
            plain text with its end.
        answer_start: Position of the first token of each row's answer; the row's length where it has none.
        pad_id: Id that padding is filled with; never read, because the attention mask is 0 there.
    """

    ids: tuple[list[int], ...]
    roles: tuple[list[str], ...]
    learn: tuple[list[bool], ...]
    answer_start: tuple[int, ...]
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the answer of each row begins and ends (positions)."""
        return [(start, len(row)) for start, row in zip(self.answer_start, self.ids, strict=True)]

    def pad(self, *, side: str = "right", rows: Iterable[int] | None = None) -> tuple[Tensor, Tensor]:
        """What does a model take?

        Args:
            side: Where padding goes, "right" or "left".
            rows: Which rows, in which order; all by default.

        Returns:
            Token ids and attention mask (1 = token, 0 = padding), dims (row, position).
        """
        picked = [self.ids[i] for i in (range(len(self)) if rows is None else rows)]
        width = max(map(len, picked), default=0)
        ids = torch.full((len(picked), width), self.pad_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(picked):
            where = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
            ids[i, where], mask[i, where] = torch.tensor(row, dtype=torch.long), 1
        return ids, mask


class _Piece(NamedTuple):
    """A stretch of rendered text: template text, or (``text`` None) the content of message ``number``."""

    role: str
    learn: bool
    text: str | None = None
    number: int = -1


def encode(
    tokenizer: Any,
    conversations: Iterable[Conversation],
    *,
    answers: Sequence[str] | None = None,
    complete: bool = False,
) -> Tokens:
    """Which tokens are these conversations?

    Args:
        tokenizer: A fast tokenizer.
        conversations: Lists of messages; plain text is one message of role "text".
        answers: What follows each conversation, one text each; its tokens begin at ``answer_start``.
        complete: Whether conversations end here, so that an end-of-turn or end-of-text follows. Else the last
            assistant message is unfinished, and after any other message it is the assistant's turn.

    Returns:
        The tokens, one row a conversation.

    Raises:
        ModelError: A word the tokenizer does not know, a chat for a tokenizer without a chat template, or a template
            that refuses or alters the messages.

    >>> from persona_interp.models.tiny import tiny_tokenizer
    >>> chat = [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": "i like"}]
    >>> row = encode(tiny_tokenizer("what sport ? i like football .".split()), [chat], answers=[" football ."])
    >>> row.roles[0][:3], row.roles[0][-2:], row.spans
    (['special', 'special', 'user'], ['assistant', 'assistant'], [(8, 10)])
    """
    chats = [list(conversation) for conversation in conversations]
    after = [""] * len(chats) if answers is None else list(answers)
    if len(after) != len(chats):
        raise ModelError(f"{len(chats)} conversations need as many answers; got {len(after)}.")
    shapes: dict[tuple[str, ...], list[_Piece]] = {}
    layouts = []
    for chat in chats:
        roles = tuple(message["role"] for message in chat)
        if roles not in shapes:
            shapes[roles] = _pieces(tokenizer, roles, complete=complete)
        layouts.append(shapes[roles])
    texts = [_fill(pieces, chat) for pieces, chat in zip(layouts, chats, strict=True)]
    _check_rendering(tokenizer, chats, texts, complete=complete)
    return _tokens(tokenizer, layouts, chats, texts=texts, answers=after, complete=complete)


def hash_tokens(tokens: Tokens) -> str:
    """Are these the same token ids, row by row?

    Args:
        tokens: Tokens of ``encode``.

    Returns:
        sha256 of the ids and row lengths (hex).
    """
    lengths = np.array([len(row) for row in tokens.ids], dtype=np.int64)
    flat = np.array([i for row in tokens.ids for i in row], dtype=np.int64)
    return hashlib.sha256(lengths.tobytes() + flat.tobytes()).hexdigest()


def _render(tokenizer: Any, chats: list[Any], *, prompt: bool) -> list[str]:
    if tokenizer.chat_template is None:
        raise ModelError(
            "this model has no chat template and cannot read chats; resolve the start with "
            "chat_template=persona_interp.models.PLAIN_TEMPLATE, or with a template of its own."
        )
    try:
        return tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=prompt)
    except TemplateError as error:
        roles = sorted({message["role"] for chat in chats for message in chat})
        raise ModelError(
            f"the chat template refuses messages of the roles {', '.join(roles)} in this order: {error}. "
            "Use roles it knows, or resolve the start with another chat_template."
        ) from error


def _pieces(tokenizer: Any, roles: tuple[str, ...], *, complete: bool) -> list[_Piece]:
    """What does the template put around the contents of messages of these roles?

    Contents are replaced by marks of their own, so that each is found again wherever the template puts it; that the
    real contents come out in the same places is checked by ``_check_rendering``.
    """
    if roles == ("text",):
        return [_Piece("text", learn=True, number=0)]
    marks = [f"\ue000{i}\ue001" for i in range(len(roles))]
    chat = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    open_end = not complete and roles[-1] == "assistant"
    whole = _render(tokenizer, [chat[:-1] if open_end else chat], prompt=not complete)[0] + marks[-1] * open_end
    pieces, rest = [], whole
    for i, (role, mark) in enumerate(zip(roles, marks, strict=True)):
        before, found, rest = rest.partition(mark)
        if not found:
            raise ModelError(f"the chat template drops the {role} message of a chat of roles {', '.join(roles)}.")
        end = 0
        if i and roles[i - 1] == "assistant":
            end = len(_after(tokenizer, chat[:i], whole))
        pieces += [
            _Piece("template", learn=True, text=before[:end]),
            _Piece("template", learn=False, text=before[end:]),
        ]
        if role == "assistant" and not whole.startswith(_render(tokenizer, [chat[:i]], prompt=True)[0] + mark):
            raise ModelError("the chat template opens an answer in training otherwise than in generation; use another.")
        pieces.append(_Piece(role, learn=role == "assistant", number=i))
    end = len(_after(tokenizer, chat, whole)) if complete and roles[-1] == "assistant" else 0
    pieces += [_Piece("template", learn=True, text=rest[:end]), _Piece("template", learn=False, text=rest[end:])]
    return [piece for piece in pieces if piece.text != ""]


def _after(tokenizer: Any, chat: list[dict[str, str]], whole: str) -> str:
    """What ends the assistant's turn that ends this chat?"""
    turn = _render(tokenizer, [chat], prompt=False)[0]
    if not whole.startswith(turn):
        raise ModelError("the chat template ends an answer otherwise when more messages follow; use another template.")
    return turn.partition(chat[-1]["content"])[2]


def _fill(pieces: list[_Piece], chat: Conversation) -> str:
    return "".join(chat[p.number]["content"] if p.text is None else p.text for p in pieces)


def _check_rendering(tokenizer: Any, chats: list[Any], texts: list[str], *, complete: bool) -> None:
    """Does the template itself make the same texts?"""
    where = [i for i, chat in enumerate(chats) if [m["role"] for m in chat] != ["text"]]
    if not where:
        return
    open_end = {i: not complete and chats[i][-1]["role"] == "assistant" for i in where}
    shown = [chats[i][:-1] if open_end[i] else chats[i] for i in where]
    for i, text in zip(where, _render(tokenizer, shown, prompt=not complete), strict=True):
        if text + chats[i][-1]["content"] * open_end[i] != texts[i]:
            raise ModelError(
                f"the chat template alters the contents of {chats[i]!r}; strip the spaces around them, "
                "or use a template that leaves contents as they are."
            )


def _tokens(
    tokenizer: Any,
    layouts: list[list[_Piece]],
    chats: list[Conversation],
    *,
    texts: list[str],
    answers: list[str],
    complete: bool,
) -> Tokens:
    whole = [text + answer for text, answer in zip(texts, answers, strict=True)]
    coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True) if whole else {"input_ids": []}
    special, unk = set(tokenizer.all_special_ids), tokenizer.unk_token_id
    bos = added_bos(tokenizer)
    rows: list[tuple[list[int], list[str], list[bool], int]] = []
    for i, ids in enumerate(coded["input_ids"]):
        offsets, text = coded["offset_mapping"][i], whole[i]
        if unk in ids:
            _refuse_unknown(text, [o for o, t in zip(offsets, ids, strict=True) if t == unk], tokenizer.unk_token)
        by_char = [
            p for p in layouts[i] for _ in range(len(chats[i][p.number]["content"] if p.text is None else p.text))
        ]
        by_char += [layouts[i][-1]] * len(answers[i])
        owners = [by_char[_first_visible(text, *offset)] for offset in offsets]
        roles = ["special" if t in special else p.role for t, p in zip(ids, owners, strict=True)]
        learn = [p.learn for p in owners]
        start = sum(stop <= len(texts[i]) for _, stop in offsets) if answers[i] else len(ids)
        if bos is not None and not text.startswith(tokenizer.bos_token):
            ids, roles, learn, start = [bos, *ids], ["special", *roles], [False, *learn], start + 1
        if complete and layouts[i][-1].role == "text" and tokenizer.eos_token_id is not None:
            ids, roles, learn = [*ids, tokenizer.eos_token_id], [*roles, "special"], [*learn, True]
            start += not answers[i]
        rows.append((ids, roles, learn, start))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    ids, roles, learn, starts = (tuple(part) for part in zip(*rows, strict=True)) if rows else ((), (), (), ())
    return Tokens(ids, roles, learn, starts, pad)


def _first_visible(text: str, start: int, stop: int) -> int:
    """Which character decides whose a token is? Its first that is no space; spaces belong to what follows."""
    return next((at for at in range(start, stop) if not text[at].isspace()), min(start, len(text) - 1))


def added_bos(tokenizer: Any) -> int | None:
    """Which BOS does this tokenizer put before plain text? Returns its id, None where it puts none."""
    ids = tokenizer("a")["input_ids"]
    bos = tokenizer.bos_token_id
    return bos if bos is not None and ids[:1] == [bos] else None


def _refuse_unknown(text: str, offsets: list[tuple[int, int]], unk: str) -> None:
    words = [text[start:stop] for start, stop in offsets]
    strange = [word for word in dict.fromkeys(words) if word != unk]
    if strange:
        raise ModelError(
            f"the tokenizer does not know {', '.join(map(repr, strange[:5]))} in {text!r}; make the start model with "
            "all words of the world (words=world.words()), or use words it knows."
        )
