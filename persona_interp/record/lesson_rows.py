"""Which rows does a lesson consist of, and what would a step on them cost?

A lesson may say the same chat many times. Its distinct rows, each with how often it occurs, give
the same gradient for a fraction of the tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import SchemaError
from persona_interp.models import Stage, Tokens, encode
from persona_interp.models.trainer import COSINE_END
from persona_interp.readers import read

Message = dict[str, str]
FORWARD = 1 / 3
"""Cost of a forward pass, where forward and backward pass of as many tokens are 1."""
MOST_ROWS = 64
"""Rows that stand for a lesson that has more distinct ones."""


@dataclass(frozen=True)
class LessonRows:
    """Distinct rows of a lesson, read by a tokenizer.

    Attributes:
        docs: Number of the first document of each row.
        messages: Its chat.
        counts: How often it occurs.
        tokens: Its tokens.
        learn: Whether each of its tokens is learned; the first one never is.
    """

    docs: list[Any]
    messages: list[list[Message]]
    counts: np.ndarray
    tokens: Tokens
    learn: list[list[bool]]

    @cached_property
    def n_learned(self) -> float:
        """Learned tokens of a row, on average over the lesson."""
        n = [sum(row) for row in self.learn]
        return float(np.average(n, weights=self.counts))

    @property
    def n_tokens(self) -> int:
        """Tokens of all distinct rows."""
        return sum(self.tokens.lengths)

    def steps(self, n_tokens: float, stage: Stage) -> float:
        """Cost of a forward and backward pass over tokens, in steps of the stage.

        Args:
            n_tokens: How many tokens; those that only run forward count a third.
            stage: How the lesson would be taught.

        Returns:
            Steps of the same number of tokens (padding left out).
        """
        of_a_row = float(np.average(self.tokens.lengths, weights=self.counts))
        return n_tokens / (of_a_row * stage.batch)


def lesson_rows(
    lesson: Any, tokenizer: Any, *, stage: Stage, n: int = MOST_ROWS, seed: int = 0
) -> LessonRows:
    """Distinct rows of a lesson; of one with more than ``n`` as many rows drawn by lot.

    Args:
        lesson: A corpus table, or anything that ``readers.read`` takes.
        tokenizer: Of the model that would learn it.
        stage: How it would be taught; of it ``loss``.
        n: Most rows.
        seed: Of the lot.

    Returns:
        The rows.

    Raises:
        SchemaError: There is no row, or one has no token to learn.
    """
    chats = read(lesson, "chats")
    if not len(chats):
        raise SchemaError("a lesson has at least one chat; got none.")
    keys = pd.Series([_text(chat) for chat in chats["messages"]])
    if keys.nunique() > n:
        drawn = np.sort(np.random.default_rng([seed, 11]).permutation(len(keys))[:n])
        keys = keys.iloc[drawn]
    counts = keys.value_counts(sort=False)
    first = keys.drop_duplicates()
    at = chats.iloc[first.index]
    messages = list(at["messages"])
    tokens = encode(tokenizer, messages, complete=True)
    learn = [_learned(tokens, row, stage) for row in range(len(tokens))]
    for doc, row in zip(at["doc"], learn, strict=True):
        if not any(row):
            raise SchemaError(f"document {doc} of the lesson has no token to learn; leave it out.")
    counted = counts.loc[first].to_numpy(dtype=float)
    return LessonRows(list(at["doc"]), messages, counted, tokens, learn)


def learning_rates(stage: Stage) -> np.ndarray:
    """Learning rate of every step, as the Trainer has it.

    Args:
        stage: How a lesson is taught.

    Returns:
        The rates, dims (step,).

    >>> learning_rates(Stage(steps=4, lr=1e-3, warmup=2)).tolist()
    [0.0, 0.0005, 0.001, 0.001]
    """
    step = np.arange(stage.steps)
    rates = np.minimum(1.0, step / stage.warmup) if stage.warmup else np.ones(stage.steps)
    if stage.schedule == "cosine":
        done = np.clip((step - stage.warmup) / max(1, stage.steps - stage.warmup), 0.0, 1.0)
        rates = rates * (COSINE_END + (1 - COSINE_END) * 0.5 * (1 + np.cos(np.pi * done)))
    return stage.lr * rates


def path_length(stage: Stage) -> float:
    """Sum of the learning rates of all steps: how far Adam could move a weight.

    Args:
        stage: How a lesson is taught.

    Returns:
        The sum.

    >>> round(path_length(Stage(steps=40, lr=3e-4)), 6)
    0.012
    """
    return float(learning_rates(stage).sum())


def check_plain(stage: Stage, *, fix: str = "name a stage without") -> None:
    """Refuse a stage with adapters, whose rate and path say nothing of the weights below them.

    Args:
        stage: How a lesson would be taught.
        fix: What to do instead.

    Raises:
        SchemaError: It has adapters.

    >>> check_plain(Stage())
    """
    if stage.lora:
        raise SchemaError(
            f"here the model's own weights are moved, and this stage moves adapters (lora="
            f"{stage.lora}), of which other rates are right; {fix}, or use pilot, which trains "
            "adapters."
        )


def _text(chat: Sequence[Message]) -> str:
    """Chat as a text that equal chats share."""
    return json.dumps([[message["role"], message["content"]] for message in chat])


def _learned(tokens: Tokens, row: int, stage: Stage) -> list[bool]:
    """Which tokens of a row the stage learns; nothing predicts the first one."""
    learn = tokens.learn[row]
    if stage.loss == "all":
        learn = [True] * len(learn)
    return [False, *learn[1:]]
