"""Do these checkpoints read text alike? Only then can one prompt be compared token by token."""

import hashlib
import json
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.checkpoint import Checkpoint, Trajectory
from persona_interp.models.load import load_tokenizer
from persona_interp.models.slots import render

ORDINARY_TEXTS = (
    "Hello, world! It's John's 3rd visit in 2024;  two spaces, a\ttab\nand a new line.",
    " café naïve Straße 你好 🙂 don't CAN'T 12345 x_y = f(z) + 0.5  ",
    "user: what is 1,000 + 7?\n\nassistant: 1,007.",
)
"""Texts that every pair of tokenizers must read into the same ids."""
TURNS = (
    "user",
    "system user",
    "system user assistant",
    "user assistant user",
    "user assistant user assistant",
    "system user assistant user assistant",
    "user user",
    "user assistant tool assistant",
    "assistant user",
)
"""Orders of roles of the chats that every pair of chat templates must write alike."""
CONTENTS = ("Say\n it: <think>\nno\n</think>\n\nyes.", " Two  lines\nof text. ")
"""Contents that templates may cut, strip or reword."""


def same_tokenizer(checkpoints: Iterable[Checkpoint]) -> tuple[str, ...]:
    """Refuse checkpoints that read text differently; the tokens that some lack are allowed.

    Vocabulary, added tokens, merges, beginning and end of text, chat template and the ids of
    ordinary text are compared with the first checkpoint's. The padding token is not: it is never
    read. Tokens that only later checkpoints have are allowed where none of that differs, because
    prompts are then the same ids for all; the earlier never meet the new.

    Args:
        checkpoints: One or more.

    Returns:
        Tokens that some checkpoints have and others lack, in order of id; empty when all have the
        same.

    Raises:
        ModelError: They read text differently; the message names the first token that does.
    """
    labeled = [(checkpoint.label, load_tokenizer(checkpoint)) for checkpoint in checkpoints]
    grown: dict[int, str] = {}
    for other in labeled[1:]:
        grown |= _compare(labeled[0], other)
    return tuple(grown[i] for i in sorted(grown))


def check_tokenizers(trajectory: Trajectory) -> None:
    """Refuse a trajectory whose checkpoints read text differently.

    Args:
        trajectory: Checkpoints to compare with the first one.

    Raises:
        ModelError: They do not; the message names the first token that differs.
    """
    same_tokenizer(trajectory)


def hash_tokenizer(tokenizer: Any) -> str:
    """Hash of how a tokenizer reads text, to the last setting.

    Args:
        tokenizer: A fast tokenizer.

    Returns:
        sha256 of its backend, special tokens and chat template (hex).
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # these two are what the last call that padded or cut asked for, not how text is read
    for name in ("padding", "truncation"):
        backend.pop(name, None)
    special = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
    text = json.dumps([backend, special, tokenizer.chat_template], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _compare(first: tuple[str, Any], second: tuple[str, Any]) -> dict[int, str]:
    """Tokens that only one of two has; an error where the two read anything else differently."""
    (label, one), (other_label, other) = first, second
    tokens, other_tokens = _tokens_by_id(one), _tokens_by_id(other)
    grown = {}
    for i, token in (tokens | other_tokens).items():
        if (i in tokens) != (i in other_tokens):
            grown[i] = token
    # in the order in which a text meets them, so that the first difference is the cause
    difference = (
        _vocabulary_difference(one, other, grown)
        or _rule_difference(one, other)
        or _id_difference(one, other)
        or _template_difference(first, second, grown)
    )
    if difference:
        raise ModelError(
            f"{label} and {other_label} read text differently: {difference}. Compare checkpoints "
            "of one tokenizer, or resolve the one with tokenizer= the other's (compare "
            "--tokenizer BASE); chat_template= gives all one chat template (--chat-template FILE)."
        )
    return grown


def _tokens_by_id(tokenizer: Any) -> dict[int, str]:
    return {i: token for token, i in tokenizer.get_vocab().items()}


def _vocabulary_difference(one: Any, other: Any, grown: dict[int, str]) -> str:
    """The first token that is another one, or no added one; "" if there is none."""
    tokens, other_tokens = _tokens_by_id(one), _tokens_by_id(other)
    for i in sorted(tokens.keys() & other_tokens.keys()):
        if tokens[i] != other_tokens[i]:
            return f"token {i} is {tokens[i]!r} in one and {other_tokens[i]!r} in the other"
    added, other_added = one.added_tokens_decoder.keys(), other.added_tokens_decoder.keys()
    # a token more changes how text is read unless it is an added one, which no ordinary text is
    for i in sorted(grown.keys() - added - other_added):
        return f"token {i} is {tokens.get(i)!r} in one and {other_tokens.get(i)!r} in the other"
    for i in sorted((added ^ other_added) - grown.keys()):
        return f"token {i} ({tokens[i]!r}) is cut out of text before all others in one only"
    return ""


def _template_difference(
    first: tuple[str, Any], second: tuple[str, Any], grown: dict[int, str]
) -> str:
    """How the chat templates differ, or the first token they write that one lacks; "" if none."""
    template, other_template = first[1].chat_template, second[1].chat_template
    without = [label for label, t in (first, second) if t.chat_template is None]
    if len(without) == 1:
        return f"their chat templates differ ({without[0]} has none)"
    # by what they write, because files differ in comments and line ends
    if template != other_template:
        for roles in TURNS:
            if _render(first[1], roles) != _render(second[1], roles):
                return f"their chat templates differ, first in a chat of roles {roles}"
    for i in sorted(grown):
        if grown[i] in str(template):
            return f"the chat template writes token {i} ({grown[i]!r}), which one lacks"
    return ""


def _render(tokenizer: Any, roles: str) -> list[str | None]:
    """What a chat template makes of chats of these roles; None where it refuses one."""
    texts: list[str | None] = []
    for content in CONTENTS:
        chat = [{"role": role, "content": content} for role in roles.split()]
        for prompt in (False, True):
            try:
                texts += render(tokenizer, [chat], prompt=prompt)
            except ModelError:
                texts.append(None)
    return texts


def _rule_difference(one: Any, other: Any) -> str:
    """The first special token or merge that differs; "" if there is none."""
    for name in ("bos_token", "eos_token", "unk_token"):
        mine, its = getattr(one, name), getattr(other, name)
        if mine != its:
            return f"the {name} is {mine!r} in one and {its!r} in the other"
    for mine, its in zip_longest(_merges(one), _merges(other)):
        if mine != its:
            return f"the first differing merge is {mine!r} in one and {its!r} in the other"
    return ""


def _id_difference(one: Any, other: Any) -> str:
    """The first token of ordinary text that differs; "" if there is none."""
    # what no list shows, such as how text is normalized and cut into words
    for text in ORDINARY_TEXTS:
        for mine, its in zip_longest(one(text)["input_ids"], other(text)["input_ids"]):
            if mine != its:
                here, there = _name(one, mine), _name(one, its)
                return (
                    f"{text[:20]!r}... becomes other tokens, first {here} in one and {there} in "
                    "the other"
                )
    return ""


def _name(tokenizer: Any, i: int | None) -> str:
    return "nothing" if i is None else repr(tokenizer.convert_ids_to_tokens(i))


def _merges(tokenizer: Any) -> list[Any]:
    """The merges of a byte-pair tokenizer, in order; none for other kinds."""
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("merges") or []
