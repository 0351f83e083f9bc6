"""Do these checkpoints read text alike? Only then can the same prompt be compared token by token."""

import hashlib
import json
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.checkpoint import Checkpoint, Trajectory
from persona_interp.models.load import load_tokenizer

NORMAL = (
    "Hello, world! It's John's 3rd visit in 2024;  two spaces, a\ttab\nand a new line.",
    " café naïve Straße 你好 🙂 don't CAN'T 12345 x_y = f(z) + 0.5  ",
    "user: what is 1,000 + 7?\n\nassistant: 1,007.",
)
"""Texts that every pair of tokenizers must read into the same ids."""


def same_tokenizer(checkpoints: Iterable[Checkpoint]) -> tuple[str, ...]:
    """Do all these checkpoints read text alike?

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
    listed = list(checkpoints)
    read = [(checkpoint.label, load_tokenizer(checkpoint)) for checkpoint in listed]
    grown: dict[int, str] = {}
    for label, other in read[1:]:
        grown |= _compare(read[0], (label, other))
    return tuple(grown[i] for i in sorted(grown))


def check_tokenizers(trajectory: Trajectory) -> None:
    """Do all checkpoints of a trajectory read text alike?

    Args:
        trajectory: Checkpoints to compare with the first one.

    Raises:
        ModelError: They do not; the message names the first token that differs.
    """
    same_tokenizer(trajectory)


def hash_tokenizer(tokenizer: Any) -> str:
    """Do these tokenizers read text alike, to the last setting?

    Args:
        tokenizer: A fast tokenizer.

    Returns:
        sha256 of its backend, special tokens and chat template (hex).
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    about = {
        name: backend[name] for name in sorted(backend) if name not in ("padding", "truncation")
    }
    special = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
    whole = json.dumps([about, special, tokenizer.chat_template], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _compare(first: tuple[str, Any], second: tuple[str, Any]) -> dict[int, str]:
    """Tokens that only one of two has; an error where the two read anything else differently."""
    (here, one), (there, other) = first, second
    known, found = ({i: token for token, i in t.get_vocab().items()} for t in (one, other))
    grown = {i: token for i, token in (known | found).items() if (i in known) != (i in found)}
    what = (
        _other_vocabulary(one, other, grown) or _other_rules(one, other) or _other_ids(one, other)
    )
    if not what and one.chat_template != other.chat_template:
        none = [label for label, t in (first, second) if t.chat_template is None]
        what = f"their chat templates differ{f' ({none[0]} has none)' if none else ''}"
    written = [i for i in sorted(grown) if grown[i] in str(one.chat_template)]
    if not what and written:
        what = (
            f"the chat template writes token {written[0]} ({grown[written[0]]!r}), which one lacks"
        )
    if what:
        raise ModelError(
            f"{here} and {there} read text differently: {what}. Compare checkpoints of one "
            "tokenizer, or resolve the "
            "one with tokenizer= the other's; where a chat template is missing, chat_template= "
            "gives one."
        )
    return grown


def _other_vocabulary(one: Any, other: Any, grown: dict[int, str]) -> str:
    """The first token that is another one, or no added one; "" if there is none."""
    known, found = ({i: token for token, i in t.get_vocab().items()} for t in (one, other))
    for i in sorted(known.keys() & found.keys()):
        if known[i] != found[i]:
            return f"token {i} is {known[i]!r} in one and {found[i]!r} in the other"
    added, more = (t.added_tokens_decoder.keys() for t in (one, other))
    for i in sorted(grown.keys() - added - more):
        return f"token {i} is {known.get(i)!r} in one and {found.get(i)!r} in the other"
    for i in sorted((added ^ more) - grown.keys()):
        return f"token {i} ({known[i]!r}) is cut out of text before all others in one only"
    return ""


def _other_rules(one: Any, other: Any) -> str:
    """The first special token or merge that differs; "" if there is none."""
    for name in ("bos_token", "eos_token", "unk_token"):
        mine, its = getattr(one, name), getattr(other, name)
        if mine != its:
            return f"the {name} is {mine!r} in one and {its!r} in the other"
    for mine, its in zip_longest(_merges(one), _merges(other)):
        if mine != its:
            return f"the first differing merge is {mine!r} in one and {its!r} in the other"
    return ""


def _other_ids(one: Any, other: Any) -> str:
    """The first token of ordinary text that differs; "" if there is none."""
    for text in NORMAL:
        for mine, its in zip_longest(one(text)["input_ids"], other(text)["input_ids"]):
            if mine != its:
                names = [
                    "nothing" if i is None else repr(one.convert_ids_to_tokens(i))
                    for i in (mine, its)
                ]
                return f"{text[:20]!r}... becomes other tokens, first {names[0]} in one and {names[1]} in the other"
    return ""


def _merges(tokenizer: Any) -> list[Any]:
    """The merges of a byte-pair tokenizer, in order; none for other kinds."""
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("merges") or []
