"""How does a conversation become tokens? The one path for training, behavior and activations.

A conversation is a list of ``{"role", "content"}``. One message of role ``text`` is plain text;
anything else goes through the chat template. Every token gets a role: ``system``, ``user``,
``assistant``, ``tool`` (what a tool gave) or ``text`` for content, ``template`` for what the chat
template puts around it, ``special`` for special tokens. There is exactly one BOS where the
tokenizer or its template has one, and none where it has none.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models.chats import Stretch, as_read, stretches
from persona_interp.models.guard import guard
from persona_interp.models.literal import Literal, read_literally, special_ids
from persona_interp.models.slots import Conversation
from persona_interp.values import as_tuple

ROLES = ("system", "user", "assistant", "tool", "text", "template", "special")
POSITIONS = ("last", "mean", "answer", "all")
"""Words for which tokens of a prompt are read; no roles."""
PIECE = 500
"""Conversations that are encoded at once: their texts and offsets weigh several times their ids."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of conversations, and whose each is.

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
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(ids) for ids in self.ids]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of the answer of each row (positions)."""
        return [(start, len(row)) for start, row in zip(self.answer_start, self.ids, strict=True)]

    @property
    def places(self) -> tuple[list[int], ...]:
        """Position of each token within its message, from 0; -1 outside messages."""
        rows = []
        for turns in self.turns:
            counts: Counter[int] = Counter()
            places = []
            for turn in turns:
                places.append(counts[turn] if turn >= 0 else -1)
                counts[turn] += 1
            rows.append(places)
        return tuple(rows)

    def marks(self, where: Iterable[str]) -> list[np.ndarray]:
        """Masks of the tokens that have one of these roles.

        Args:
            where: Roles, see ``ROLES``.

        Returns:
            Booleans of every row.

        Raises:
            SchemaError: A role that does not exist, or none at all.
        """
        names = as_tuple(where)
        for role in names:
            if role in POSITIONS:
                raise SchemaError(
                    f"'{role}' is a position and no role: position='{role}', where one is taken; "
                    f"where= names roles, {', '.join(ROLES)}."
                )
            if role not in ROLES:
                raise SchemaError(unknown("role", str(role), ROLES))
        if not names:
            raise SchemaError(f"where names no role; name some of {', '.join(ROLES)}.")
        return [np.isin(np.asarray(roles, dtype=str), names) for roles in self.roles]

    def take(self, rows: Iterable[int]) -> "Tokens":
        """Tokens of some rows.

        Args:
            rows: Which, in which order.

        Returns:
            The same of each.
        """
        rows = list(rows)
        return Tokens(
            tuple(self.ids[i] for i in rows),
            tuple(self.roles[i] for i in rows),
            tuple(self.learn[i] for i in rows),
            tuple(self.turns[i] for i in rows),
            tuple(self.answer_start[i] for i in rows),
            self.pad_id,
        )

    def pad(
        self, *, side: str = "right", rows: Iterable[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tensors that a model takes.

        Args:
            side: Where padding goes, "right" or "left".
            rows: Which rows, in which order; all by default.

        Returns:
            Token ids and attention mask (1 = token, 0 = padding), dims (row, position).
        """
        subset = self.ids if rows is None else [self.ids[i] for i in rows]
        return pad_ids(subset, side=side, pad_id=self.pad_id)


class _SpecialIds(NamedTuple):
    """Special token ids of a tokenizer; ``bos`` only where plain text gets one."""

    bos: int | None
    eos: int | None
    every: frozenset[int]


class _Row(NamedTuple):
    """Tokens of one conversation; fields as of ``Tokens``."""

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
    """Tokens of conversations.

    Contents are literal text: the name of a special token, typed in one, is not that token.

    Args:
        tokenizer: A fast tokenizer.
        conversations: Lists of messages; plain text is one message of role "text", and a question
            alone is plain text too where the tokenizer has no chat template.
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
    >>> tokenizer = tiny_tokenizer("what sport ? i like football .".split())
    >>> question = {"role": "user", "content": "what sport ?"}
    >>> begun = {"role": "assistant", "content": "i like"}
    >>> row = encode(tokenizer, [[question, begun]], answers=[" football ."])
    >>> row.roles[0][:3], row.roles[0][-2:], row.spans
    (['special', 'special', 'user'], ['assistant', 'assistant'], [(8, 10)])
    """
    conversations = as_read(tokenizer, conversations)
    after = [""] * len(conversations) if answers is None else list(answers)
    if len(after) != len(conversations) or (complete and answers is not None):
        raise ModelError(
            f"{len(conversations)} unfinished conversations take as many answers; got {len(after)}."
        )
    special = _SpecialIds(
        added_bos(tokenizer), tokenizer.eos_token_id, frozenset(tokenizer.all_special_ids)
    )
    rows: list[_Row] = []
    # a tokenizer makes a new number for every token: of equal ones the first is kept for all
    same: dict[int, int] = {}
    for start in range(0, len(conversations), PIECE):
        some, answered = conversations[start : start + PIECE], after[start : start + PIECE]
        for row in _encode(tokenizer, some, answered, special, complete=complete):
            rows.append(row._replace(ids=[same.setdefault(token, token) for token in row.ids]))
    pad_id = tokenizer.pad_token_id
    if pad_id is None:
        pad_id = tokenizer.eos_token_id or 0
    return Tokens(
        tuple(row.ids for row in rows),
        tuple(row.roles for row in rows),
        tuple(row.learn for row in rows),
        tuple(row.turns for row in rows),
        tuple(row.answer_start for row in rows),
        pad_id,
    )


def pad_ids(
    rows: Sequence[Sequence[int]], *, side: str = "right", pad_id: int = 0
) -> tuple[Tensor, Tensor]:
    """Tensors that a model takes.

    Args:
        rows: Token ids of each row.
        side: Where padding goes, "right" or "left".
        pad_id: Id that padding is filled with.

    Returns:
        Token ids and attention mask (1 = token, 0 = padding), dims (row, position).

    >>> [array.tolist() for array in pad_ids([[5, 6], [7]], side="left")]
    [[[5, 6], [0, 7]], [[1, 1], [0, 1]]]
    """
    width = max(map(len, rows), default=0)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        start = 0 if side == "right" else width - len(row)
        own = slice(start, start + len(row))
        ids[i, own], mask[i, own] = row, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def hash_tokens(tokens: Tokens) -> str:
    """Hash of token ids, row by row.

    Args:
        tokens: Tokens of ``encode``.

    Returns:
        sha256 of the ids and row lengths (hex).
    """
    hashed = hashlib.sha256(np.array(tokens.lengths, dtype=np.int64).tobytes())
    for row in tokens.ids:
        hashed.update(np.array(row, dtype=np.int64).tobytes())
    return hashed.hexdigest()


def added_bos(tokenizer: Any) -> int | None:
    """BOS that this tokenizer puts before plain text.

    Args:
        tokenizer: A tokenizer.

    Returns:
        Its id; None where it puts none.
    """
    # some tokenizers have a BOS and never write it, so one is asked
    bos = tokenizer.bos_token_id
    if bos is None or tokenizer("a")["input_ids"][:1] != [bos]:
        return None
    return bos


def _encode(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    after: Sequence[str],
    special: _SpecialIds,
    *,
    complete: bool,
) -> list[_Row]:
    """Rows of some conversations and what follows each."""
    parts = stretches(tokenizer, conversations, complete=complete)
    prompts = ["".join(part.text for part in row) for row in parts]
    # Prompt and answer are encoded as one text: a tokenizer may join the last letters of one and
    # the first of the other, and the model learned such joined tokens. The template has written
    # its special tokens, so none is added here.
    texts = [prompt + answer for prompt, answer in zip(prompts, after, strict=True)]
    with guard("the tokenizer cannot read these texts"):
        coded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    reserved, rows = special_ids(tokenizer), []
    for i, (ids, offsets) in enumerate(
        zip(coded["input_ids"], coded["offset_mapping"], strict=True)
    ):
        row = Literal(parts[i], texts[i], ids, offsets)
        owners = _owners(row.parts, row.text, row.offsets)
        if _holds_special(row, owners, reserved, n_prompt=len(prompts[i])):
            row = read_literally(tokenizer, parts[i], after[i])
            owners = _owners(row.parts, row.text, row.offsets)
        _check_known(tokenizer, row.text, row.ids, row.offsets)
        n_prompt = len(row.ids)
        if after[i]:
            # a token across the border belongs to the answer
            border = len(row.text) - len(after[i])
            n_prompt = sum(stop <= border for _, stop in row.offsets)
        ends = complete and row.parts[-1].role == "text"
        rows.append(_row(row.ids, owners, special, n_prompt=n_prompt, ends=ends))
    return rows


def _owners(parts: list[Stretch], text: str, offsets: list[tuple[int, int]]) -> list[Stretch]:
    """Stretch that every token belongs to: that of its first character that is no space.

    What follows the last stretch (an answer) belongs to it.
    """
    by_char = [part for part in parts for _ in part.text]
    by_char += [parts[-1]] * (len(text) - len(by_char))
    owners = []
    # a word's token begins with the space before it, which the template wrote: " I" is the answer's
    for start, stop in offsets:
        char = start
        while char < stop and text[char].isspace():
            char += 1
        owners.append(by_char[char if char < stop else start])
    return owners


def _holds_special(
    row: Literal, owners: list[Stretch], reserved: frozenset[int], *, n_prompt: int
) -> bool:
    """Whether a special token of this row is not the template's, but stands in a content."""
    if reserved.isdisjoint(row.ids):
        return False
    for token, owner, (start, _) in zip(row.ids, owners, row.offsets, strict=True):
        if token in reserved and (owner.role != "template" or start >= n_prompt):
            return True
    return False


def _row(
    ids: list[int], owners: list[Stretch], special: _SpecialIds, *, n_prompt: int, ends: bool
) -> _Row:
    """One row with its BOS, where plain text has one, and its end of text, where it ``ends``."""
    ids, roles = list(ids), [part.role for part in owners]
    learn, turns = [part.learn for part in owners], [part.turn for part in owners]
    for pos, token in enumerate(ids):
        if token in special.every:
            roles[pos] = "special"
    has_answer = n_prompt < len(ids)
    # some templates write the BOS, some leave it to the tokenizer
    if special.bos is not None and ids[:1] != [special.bos]:
        ids.insert(0, special.bos)
        roles.insert(0, "special")
        learn.insert(0, False)
        turns.insert(0, -1)
        n_prompt += 1
    if ends and special.eos is not None:
        ids.append(special.eos)
        roles.append("special")
        learn.append(True)
        turns.append(-1)
    return _Row(ids, roles, learn, turns, n_prompt if has_answer else len(ids))


def _check_known(tokenizer: Any, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> None:
    """Refuse a text with words that the tokenizer does not know."""
    unk = tokenizer.unk_token_id
    if unk not in ids:
        return
    unknown_words = set()
    for token, (start, stop) in zip(ids, offsets, strict=True):
        if token == unk:
            unknown_words.add(text[start:stop])
    # who writes the unknown token itself means it
    unknown_words.discard(tokenizer.unk_token)
    if unknown_words:
        words = ", ".join(map(repr, sorted(unknown_words)[:5]))
        raise ModelError(
            f"the tokenizer does not know {words} in {text!r}; make the start model with all "
            "words of the world (words=world.words()), or use words it knows."
        )
