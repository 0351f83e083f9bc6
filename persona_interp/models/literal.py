"""What is the name of a special token, typed inside a content? Ordinary text.

A tokenizer cuts such names out of any text and makes them the token itself: somebody who writes
``</s>`` in an answer would end it. Only what the chat template writes is a special token here. For
rows where a content holds such a name, the tokenizer's special tokens go under other names, which
no text holds, and so do those that the template writes; the ids are the same.
"""

import json
from functools import lru_cache
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from persona_interp.models.chats import Stretch

FIRST_ALIAS = 0xF0000
"""First character of a private area of Unicode: one character is the other name of one token."""


class Literal(NamedTuple):
    """A conversation whose contents are literal text.

    Attributes:
        parts: Its stretches, the template's special tokens under their other names.
        text: All of it, with what follows.
        ids: Token ids.
        offsets: Start and end of each token in the text.
    """

    parts: list[Stretch]
    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that a tokenizer cuts out of text as special.

    Args:
        tokenizer: A fast tokenizer.

    Returns:
        The ids.

    >>> from persona_interp.models.tiny import tiny_tokenizer
    >>> sorted(special_ids(tiny_tokenizer(["a"])))
    [0, 1, 2, 3, 4, 5, 6]
    """
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(i for i, token in added if token.special)


def read_literally(tokenizer: Any, parts: list[Stretch], answer: str) -> Literal:
    """Tokens of a conversation, names of special tokens in its contents read as text.

    Args:
        tokenizer: A fast tokenizer.
        parts: Stretches of a conversation.
        answer: What follows it.

    Returns:
        The conversation and its tokens; those of the template are as they were.
    """
    aliases = _aliases(tokenizer)
    renamed = []
    for part in parts:
        text = part.text
        if part.role == "template":
            for name, alias in aliases.items():
                text = text.replace(name, alias)
        renamed.append(part._replace(text=text))
    text = "".join(part.text for part in renamed) + answer
    backend = _rename(tokenizer.backend_tokenizer.to_str(), tuple(aliases.items()))
    coded = backend.encode(text, add_special_tokens=False)
    return Literal(renamed, text, coded.ids, coded.offsets)


def _aliases(tokenizer: Any) -> dict[str, str]:
    """Other name of every special token; the longest first, because one may begin another."""
    names = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special and str(t)}
    ordered = sorted(names, key=lambda name: (-len(name), name))
    return {name: chr(FIRST_ALIAS + i) for i, name in enumerate(ordered)}


@lru_cache(maxsize=4)
def _rename(written: str, names: tuple[tuple[str, str], ...]) -> Tokenizer:
    """The same tokenizer, its special tokens under other names."""
    aliases, content = dict(names), json.loads(written)
    for token in content["added_tokens"]:
        token["content"] = aliases.get(token["content"], token["content"])
    model = content["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {aliases.get(name, name): i for name, i in vocabulary.items()}
    elif vocabulary:
        model["vocab"] = [[aliases.get(name, name), score] for name, score in vocabulary]
    if model.get("unk_token") in aliases:
        model["unk_token"] = aliases[model["unk_token"]]
    # what the last caller padded or cut is not how text is read
    content["padding"] = content["truncation"] = None
    return Tokenizer.from_str(json.dumps(content))
