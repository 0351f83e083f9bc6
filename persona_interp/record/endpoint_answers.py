"""What does a model elsewhere answer? Each answer is asked for once and kept when it is given."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from persona_interp.errors import SchemaError
from persona_interp.models.cache import short_hash
from persona_interp.record.endpoint import Endpoint
from persona_interp.record.generation import Continuation
from persona_interp.record.ledger import append_row, read_ledger
from persona_interp.record.parallel import call_all

KINDS = {"text": str, "n_tokens": int, "ended": bool}


def ask(
    endpoint: Endpoint,
    chats: Sequence[Any],
    *,
    n: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    folder: Path | None,
) -> list[Continuation]:
    """Answers of a model elsewhere.

    Args:
        endpoint: The model.
        chats: Lists of messages that wait for the assistant.
        n: Answers to each.
        max_new_tokens: Longest answer (tokens).
        temperature: As the server takes it.
        seed: Seed of the draw; every answer has one of its own, of chat, sample and this.
        folder: Where answers are kept; None: nowhere.

    Returns:
        ``n`` answers after each other for every chat.

    Raises:
        SchemaError: A chat that is plain text, or ends in an unfinished answer, or settings that
            make no sense.
        ModelError: The server cannot be reached, refuses, or replies something else.
        StoreError: The kept answers are corrupt.
    """
    if not (temperature >= 0 and n >= 1 and max_new_tokens >= 1):
        raise SchemaError(
            "one answer of one token at temperature 0 is the least; got "
            f"n={n}, max_new_tokens={max_new_tokens}, temperature={temperature}."
        )
    for chat in chats:
        if chat[-1]["role"] not in ("user", "tool") or any(m["role"] == "text" for m in chat):
            raise SchemaError(
                "a model elsewhere answers chats that end with the user; plain text and unfinished "
                "answers need the model itself, models.resolve(path)."
            )
    file = None if folder is None else folder / f"{short_hash(['endpoint', endpoint.name])}.jsonl"
    kept, keys, missing = read_ledger(file, KINDS), [], {}
    for chat in chats:
        for sample in range(n):
            settings = [chat, sample, seed, max_new_tokens, temperature]
            keys.append(short_hash([endpoint.name, *settings]))
            if keys[-1] not in kept:
                missing[keys[-1]] = (endpoint, *settings)
    with tqdm(total=len(missing), desc=f"answers of {endpoint.name}", delay=2) as bar:
        for key, answer in call_all(_answer, missing, workers=endpoint.parallel):
            kept[key] = answer._asdict()
            # at once: an answer may be paid for, and the next one may fail
            append_row(file, key, kept[key])
            bar.update()
    return [Continuation(**kept[key]) for key in keys]


def _answer(
    endpoint: Endpoint, chat: Any, sample: int, seed: int, max_new_tokens: int, temperature: float
) -> Continuation:
    """One answer, drawn with a seed of its own."""
    text = json.dumps([seed, sample, chat], sort_keys=True)
    # 31 bits: what every server takes
    own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
    reply = endpoint.reply(chat, max_new_tokens=max_new_tokens, temperature=temperature, seed=own)
    return Continuation(reply.text, reply.n_tokens, reply.ended)
