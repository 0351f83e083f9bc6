"""In which forms does a recorder take checkpoints, roles and conversations?"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

import persona_interp.models.sources  # noqa: F401  with the room: later it would load more slowly
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint
from persona_interp.models.inputs import list_checkpoints

Message = dict[str, str]
SIDES = ("pos", "neg")
"""Sides of a trait that are set against each other: its instruction, and the opposite one."""


def distinct_checkpoints(checkpoints: Checkpoint | Iterable[Checkpoint]) -> list[Checkpoint]:
    """List of at least one checkpoint, with distinct labels.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.

    Returns:
        Them as a list.

    Raises:
        SchemaError: There is none, or two share a label.
    """
    models = list_checkpoints(checkpoints)
    labels = [checkpoint.label for checkpoint in models]
    if not labels or len(set(labels)) < len(labels):
        raise SchemaError(
            f"expected checkpoints with distinct labels, got {labels}; record one run at a time."
        )
    return models


def check_same_tokens(hashes: Sequence[str]) -> None:
    """Refuse checkpoints that read different tokens.

    Args:
        hashes: ``hash_tokens`` of every checkpoint's tokens.

    Raises:
        ModelError: The hashes differ.
    """
    if len(set(hashes)) > 1:
        raise ModelError(
            f"the checkpoints turn these prompts into different tokens ({hashes}); use one "
            "tokenizer."
        )


def set_system(messages: Iterable[Message], system: str | None) -> list[Message]:
    """Chat under this system message instead of its own.

    Args:
        messages: A chat.
        system: The system message; None for a chat without one.

    Returns:
        The chat, its messages copied.

    >>> set_system([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], None)
    [{'role': 'user', 'content': 'b'}]
    """
    chat = [dict(message) for message in messages if message["role"] != "system"]
    if system is None:
        return chat
    return [{"role": "system", "content": system}, *chat]


def trait_column(answers: pd.DataFrame, name: str) -> Any:
    """Column of an answers table that ``readers.trait_prompts`` gives.

    Args:
        answers: An answers table.
        name: Of the column.

    Returns:
        The column.

    Raises:
        SchemaError: The table lacks it.
    """
    if name not in answers:
        raise SchemaError(
            f"these answers lack the column '{name}' that readers.trait_prompts gives; they have "
            f"{', '.join(map(str, answers.columns))}."
        )
    return answers[name]
