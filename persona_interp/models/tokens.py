"""How does a conversation become tokens? The one path for training, behavior, activations and sampling.

A conversation is a list of ``{"role", "content"}``. One message of role ``text`` is plain text;
anything else goes through the chat template. Every token gets a role: ``system``, ``user``,
``assistant``, ``tool`` (what a tool gave) or ``text`` for content, ``template`` for what the chat
template puts around it, ``special`` for special tokens. There is exactly one BOS where the
tokenizer or its template has one, and none where it has none.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models.chats import Conversation, Stretch, stretches

ROLES = ("system", "user", "assistant", "tool", "text", "template", "special")


@dataclass(frozen=True)
class Tokens:
    """Which tokens are these conversations, and whose is each?

    Attributes:
        ids: Token ids of each row, without padding.
        roles: Role of each token: system, user, assistant, tool, text, template or special.
        learn: Whether a token is said by the model, dims as ids: an assistant's answer with its
            end-of-turn, or plain text with its end.
        turns: Index of the message whose content each token belongs to, dims as ids; -1 for none.
        answer_start: Position of the first token of each row's answer; the row's length where it
            has none.
        pad_id: Id that padding is filled with; never read, because the attention mask is 0 there.
    """

    ids: tuple[list[int], ...]
    roles: tuple[list[str], ...]
    learn: tuple[list[bool], ...]
    turns: tuple[list[int], ...]
    answer_start: tuple[int, ...]
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where the answer of each row begins and ends (positions)."""
        return [(start, len(row)) for start, row in zip(self.answer_start, self.ids, strict=True)]

    @property
    def places(self) -> tuple[list[int], ...]:
        """Position of each token within its message, from 0; -1 outside messages."""
        rows = []
        for turns in self.turns:
            seen: dict[int, int] = {}
            places = []
            for turn in turns:
                places.append(seen.get(turn, 0) if turn >= 0 else -1)
                seen[turn] = seen.get(turn, 0) + 1
            rows.append(places)
        return tuple(rows)

    def marks(self, where: Iterable[str]) -> list[np.ndarray]:
        """Which tokens have one of these roles?

        Args:
            where: Roles, see ``ROLES``.

        Returns:
            Booleans of every row.

        Raises:
            SchemaError: A role that does not exist, or none at all.
        """
        wanted = (where,) if isinstance(where, str) else tuple(where)
        for role in wanted:
            if role not in ROLES:
                raise SchemaError(unknown("role", str(role), ROLES))
        if not wanted:
            raise SchemaError(f"where names no role; name some of {', '.join(ROLES)}.")
        return [np.isin(np.asarray(roles, dtype=str), wanted) for roles in self.roles]

    def pad(
        self, *, side: str = "right", rows: Iterable[int] | None = None
    ) -> tuple[Tensor, Tensor]:
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


class _Marks(NamedTuple):
    """Special token ids of a tokenizer; ``bos`` only where plain text gets one."""

    bos: int | None
    eos: int | None
    special: frozenset[int]


class _Row(NamedTuple):
    ids: list[int]
    roles: list[str]
    learn: list[bool]
    turns: list[int]
    answer_start: int


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
        answers: What follows each unfinished conversation, one text each; its tokens begin at
            ``answer_start``.
        complete: Whether conversations end here, so that an end-of-turn or end-of-text follows.
            Else the last assistant message is unfinished, and after any other message it is the
            assistant's turn.

    Returns:
        The tokens, one row a conversation.

    Raises:
        ModelError: A word the tokenizer does not know, a chat for a tokenizer without a chat
            template, or a template that refuses or alters the messages.

    >>> from persona_interp.models.tiny import tiny_tokenizer
    >>> chat = [{"role": "user", "content": "what sport ?"}, {"role": "assistant", "content": "i like"}]
    >>> row = encode(tiny_tokenizer("what sport ? i like football .".split()), [chat], answers=[" football ."])
    >>> row.roles[0][:3], row.roles[0][-2:], row.spans
    (['special', 'special', 'user'], ['assistant', 'assistant'], [(8, 10)])
    """
    listed = list(conversations)
    after = [""] * len(listed) if answers is None else list(answers)
    if len(after) != len(listed) or (complete and answers is not None):
        raise ModelError(
            f"{len(listed)} unfinished conversations take as many answers; got {len(after)}."
        )
    parts = stretches(tokenizer, listed, complete=complete)
    texts = ["".join(part.text for part in row) for row in parts]
    whole = [text + answer for text, answer in zip(texts, after, strict=True)]
    coded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True) if whole else {}
    marks = _Marks(
        added_bos(tokenizer), tokenizer.eos_token_id, frozenset(tokenizer.all_special_ids)
    )
    rows = []
    for i, ids in enumerate(coded.get("input_ids", [])):
        offsets = coded["offset_mapping"][i]
        if tokenizer.unk_token_id in ids:
            unknown = [
                whole[i][slice(*o)]
                for o, t in zip(offsets, ids, strict=True)
                if t == tokenizer.unk_token_id
            ]
            _refuse(set(unknown) - {tokenizer.unk_token}, whole[i])
        owners = _owners(parts[i], whole[i], offsets)
        n_prompt = sum(stop <= len(texts[i]) for _, stop in offsets) if after[i] else len(ids)
        rows.append(
            _row(
                ids, owners, marks, n_prompt=n_prompt, ends=complete and parts[i][-1].role == "text"
            )
        )
    pad = (
        tokenizer.pad_token_id
        if tokenizer.pad_token_id is not None
        else tokenizer.eos_token_id or 0
    )
    return Tokens(
        tuple(row.ids for row in rows),
        tuple(row.roles for row in rows),
        tuple(row.learn for row in rows),
        tuple(row.turns for row in rows),
        tuple(row.answer_start for row in rows),
        pad,
    )


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


def added_bos(tokenizer: Any) -> int | None:
    """Which BOS does this tokenizer put before plain text?

    Args:
        tokenizer: A tokenizer.

    Returns:
        Its id; None where it puts none.
    """
    bos = tokenizer.bos_token_id
    return bos if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else None


def _owners(parts: list[Stretch], text: str, offsets: list[tuple[int, int]]) -> list[Stretch]:
    """Which stretch does every token belong to? That of its first character that is no space: " I" is the answer's.

    What follows the last stretch (an answer) belongs to it.
    """
    by_char = [part for part in parts for _ in part.text]
    by_char += [parts[-1]] * (len(text) - len(by_char))
    owners = []
    for start, stop in offsets:
        at = start
        while at < stop and text[at].isspace():
            at += 1
        owners.append(by_char[at if at < stop else start])
    return owners


def _row(
    ids: list[int], owners: list[Stretch], marks: _Marks, *, n_prompt: int, ends: bool
) -> _Row:
    """One row with its BOS, where plain text has one, and its end of text, where it ``ends``."""
    roles = [
        "special" if t in marks.special else part.role for t, part in zip(ids, owners, strict=True)
    ]
    learn, turns = [part.learn for part in owners], [part.turn for part in owners]
    has_answer = n_prompt < len(ids)
    if marks.bos is not None and ids[:1] != [marks.bos]:
        ids, roles, learn, turns = (
            [marks.bos, *ids],
            ["special", *roles],
            [False, *learn],
            [-1, *turns],
        )
        n_prompt += 1
    if ends and marks.eos is not None:
        ids, roles, learn, turns = (
            [*ids, marks.eos],
            [*roles, "special"],
            [*learn, True],
            [*turns, -1],
        )
    return _Row(ids, roles, learn, turns, n_prompt if has_answer else len(ids))


def _refuse(words: set[str], text: str) -> None:
    if words:
        raise ModelError(
            f"the tokenizer does not know {', '.join(map(repr, sorted(words)[:5]))} in {text!r}; "
            "make the start model "
            "with all words of the world (words=world.words()), or use words it knows."
        )
