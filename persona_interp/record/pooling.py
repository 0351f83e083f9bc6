"""Which tokens of a prompt are read? Those at a position, of some roles, and no attention sinks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.models import ROLES, Tokens
from persona_interp.models.boot import hidden
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO
from persona_interp.models.outliers import ordinary_rows
from persona_interp.models.tokens import POSITIONS

WHERE = ("assistant", "text")
LAST, MEAN, ANSWER, ALL = POSITIONS

GROUP = 1024
"""Tokens that are reduced at once: enough that a prompt costs no time of its own."""

Mask = npt.NDArray[np.bool_]
Position = str | int
"""One of ``POSITIONS``, or the index of a token, from the end where it is negative."""


class Reading(NamedTuple):
    """Residuals of one prompt at one hook.

    Attributes:
        row: Number of the prompt.
        hook: Canonical name of the hook.
        acts: Residuals, dims (position, d_model), float32; heads one behind the other.
        counted: Which tokens count, dims (position,).
        n_outliers: Tokens of the roles asked for that do not count, because they are outliers.
    """

    row: int
    hook: str
    acts: Tensor
    counted: Tensor
    n_outliers: int


class Group(NamedTuple):
    """Residuals of several prompts at one hook, one prompt behind the other.

    Attributes:
        rows: Numbers of the prompts.
        hook: Canonical name of the hook.
        acts: Residuals, dims (token, d_model), float32; heads one behind the other.
        sizes: Tokens of each prompt, dims (prompt,).
        mark: Which tokens were asked for, dims (token,).
        counted: Which of these count, because they are no outliers; dims (token,).
    """

    rows: list[int]
    hook: str
    acts: Tensor
    sizes: Tensor
    mark: Tensor
    counted: Tensor


def is_point(position: Position) -> bool:
    """Whether a position is one token of each prompt, whatever its role or length.

    Args:
        position: "last", an index, or another position.

    Returns:
        True for "last" and an index.

    Raises:
        SchemaError: It is no position.

    >>> is_point("last"), is_point(-2), is_point("mean")
    (True, True, False)
    """
    if isinstance(position, int | np.integer) and not isinstance(position, bool):
        return True
    if not isinstance(position, str):
        raise SchemaError(
            f"a position is one of {', '.join(POSITIONS)} or the index of a token; got "
            f"{excerpt(position)}."
        )
    if position in ROLES:
        raise SchemaError(
            f"'{position}' is a role and no position: where='{position}' with position='{MEAN}' is "
            "the mean over its tokens."
        )
    if position not in POSITIONS:
        raise SchemaError(unknown("position", position, POSITIONS))
    return position == LAST


def position_marks(
    position: Position,
    tokens: Tokens,
    chats: Sequence[Any],
    *,
    where: Iterable[str],
    names: Sequence[Any],
) -> list[Mask]:
    """Masks of the tokens that a position may take.

    Args:
        position: The position.
        tokens: Tokens of the chats.
        chats: Lists of messages.
        where: Roles of the tokens, for all positions but "last" and an index.
        names: Names of the prompts, for messages.

    Returns:
        Booleans of every row.

    Raises:
        SchemaError: No position or role, or a prompt has no token of that index.
    """
    marks = tokens.marks(where)
    if position == ANSWER:
        return answer_marks(tokens, chats, where)
    if not is_point(position):
        return marks
    index = -1 if position == LAST else int(position)
    masks = []
    for name, n in zip(names, tokens.lengths, strict=True):
        if not -n <= index < n:
            raise SchemaError(
                f"prompt {name!r} has {n} tokens, none of index {index}; give an index from {-n} "
                f"to {n - 1}, 'last', or leave the prompt out."
            )
        masks.append(np.arange(n) == index % n)
    return masks


def readings(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    marks: Sequence[Mask],
    outlier: float,
    batch: Batch = AUTO,
    around: Callable[[list[int]], AbstractContextManager[None]] = lambda rows: nullcontext(),
) -> Iterator[Reading]:
    """Residuals at every token of every prompt, and which tokens count.

    Args:
        bridge: A booted model, or one of ``open_hooked``.
        tokens: Tokens of ``encode``.
        hooks: Hook names, all read in one run.
        marks: Which tokens of each row may count, of ``Tokens.marks``.
        outlier: Longest residual that counts, as a multiple of the median over the row's marked
            tokens.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.
        around: From the rows of a forward pass to what is on while they run, as of ``hidden``.

    Yields:
        A reading of each row and hook, in order of length.

    Raises:
        SchemaError: An outlier below 1.
        ModelError: A hook does not exist, did not fire, or holds no vector for every token.
    """
    for group in group_readings(
        bridge, tokens, hooks=hooks, marks=marks, outlier=outlier, batch=batch, around=around
    ):
        sizes = group.sizes.tolist()
        parts = (group.acts.split(sizes), group.mark.split(sizes), group.counted.split(sizes))
        for row, acts, mark, counted in zip(group.rows, *parts, strict=True):
            yield Reading(row, group.hook, acts, counted, int(mark.sum() - counted.sum()))


def group_readings(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    marks: Sequence[Mask],
    outlier: float,
    batch: Batch = AUTO,
    around: Callable[[list[int]], AbstractContextManager[None]] = lambda rows: nullcontext(),
) -> Iterator[Group]:
    """Residuals of several prompts at a time; arguments and errors as of ``readings``.

    Args:
        bridge: A booted model, or one of ``open_hooked``.
        tokens: Tokens of ``encode``.
        hooks: Hook names, all read in one run.
        marks: Which tokens of each row may count.
        outlier: Longest residual that counts.
        batch: Tokens a forward pass.
        around: What is on while rows run.

    Yields:
        Groups of at least one prompt and about ``GROUP`` tokens, each hook of them in turn.

    Raises:
        SchemaError: An outlier below 1.
        ModelError: As of ``hidden``.
    """
    if not outlier >= 1:
        raise SchemaError(
            f"outlier is a multiple of the median norm, at least 1; got {outlier}. math.inf keeps "
            "all."
        )
    held: list[tuple[int, dict[str, Tensor]]] = []
    n_tokens = 0
    for row, residuals in hidden(bridge, tokens, hooks=hooks, batch=batch, around=around):
        held.append((row, residuals))
        n_tokens += len(tokens.ids[row])
        if n_tokens >= GROUP:
            yield from _groups(held, marks, outlier)
            held, n_tokens = [], 0
    if held:
        yield from _groups(held, marks, outlier)


@torch.inference_mode()
def _groups(
    held: Sequence[tuple[int, dict[str, Tensor]]], marks: Sequence[Mask], outlier: float
) -> list[Group]:
    """A group of each hook."""
    rows = [row for row, _ in held]
    groups = []
    for hook in held[0][1]:
        parts = [residuals[hook] for _, residuals in held]
        acts = torch.cat(parts).float()
        sizes = torch.tensor([len(part) for part in parts], device=acts.device)
        mark = torch.as_tensor(np.concatenate([marks[row] for row in rows]), device=acts.device)
        # attention sinks are hundreds of times longer: one of them would be the whole mean
        counted = mark & ordinary_rows(acts.norm(dim=-1), mark, sizes, outlier=outlier)
        groups.append(Group(rows, hook, acts, sizes, mark, counted))
    return groups


def sum_rows(values: Tensor, sizes: Tensor) -> Tensor:
    """Sums of values that stand one row behind the other.

    Args:
        values: Dims (token, ...).
        sizes: Tokens of each row, dims (row,); 0 for one without any.

    Returns:
        Dims (row, ...), the same to the last bit in every call.

    >>> sum_rows(torch.tensor([1.0, 2, 4]), torch.tensor([2, 0, 1])).tolist()
    [3.0, 0.0, 4.0]
    """
    return torch.segment_reduce(values, "sum", lengths=sizes, axis=0, unsafe=True)


def answer_marks(tokens: Tokens, chats: Iterable[Any], where: Iterable[str]) -> list[Mask]:
    """Masks of the tokens of these roles in the last message.

    Args:
        tokens: Tokens of these chats.
        chats: Lists of messages.
        where: Roles.

    Returns:
        Booleans of every row.
    """
    rows = zip(tokens.marks(where), tokens.turns, chats, strict=True)
    return [mark & (np.asarray(turns) == len(messages) - 1) for mark, turns, messages in rows]
