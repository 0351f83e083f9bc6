"""Whose is each token that a forward pass reads, and at which of them is an edit on?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_interp.errors import SchemaError
from persona_interp.models import ROLES, Tokens
from persona_interp.record.edit import Edit
from persona_interp.record.pooling import Mask
from persona_interp.schema.words import GENERATED


class Layout(NamedTuple):
    """Tokens of one or several forward passes, laid out as their ids are.

    Attributes:
        roles: Role of each token, dims (row, position); "" where a row is padded.
        answer: Whether the token is one of the answer, dims (row, position).
        speakers: Role of the tokens that the model draws after these, one a row; None where it
            draws none.
    """

    roles: npt.NDArray[np.str_]
    answer: Mask
    speakers: npt.NDArray[np.str_] | None = None


def lay_out(
    roles: Sequence[Sequence[str]],
    answers: Sequence[Sequence[bool] | Mask],
    *,
    side: str = "right",
    is_open: bool = False,
) -> Layout:
    """Layout of rows that run together.

    Args:
        roles: Role of each token of each row.
        answers: Whether it is one of the answer, dims as roles.
        side: Where padding goes, "right" or "left".
        is_open: Whether the model draws tokens after these.

    Returns:
        The layout, as wide as the longest row.

    >>> lay_out([["user"], ["user", "user"]], [[False], [False] * 2], side="left").roles.tolist()
    [['', 'user'], ['user', 'user']]
    """
    width = max(map(len, roles), default=0)
    longest = max(map(len, ROLES))  # numpy cuts longer texts without a word
    grid = np.full((len(roles), width), "", dtype=f"U{longest}")
    answer = np.zeros((len(roles), width), bool)
    for i, (row, marks) in enumerate(zip(roles, answers, strict=True)):
        start = 0 if side == "right" else width - len(row)
        own = slice(start, start + len(row))
        grid[i, own], answer[i, own] = row, marks
    speakers = np.array([speaker(row) for row in roles]) if is_open else None
    return Layout(grid, answer, speakers)


def speaker(roles: Iterable[str]) -> str:
    """Role of what a model says after a prompt.

    Args:
        roles: Roles of the prompt's tokens.

    Returns:
        "text" after plain text, which is nobody's, else "assistant".
    """
    return "text" if "text" in roles else "assistant"


def is_on(edit: Edit, layout: Layout) -> Mask:
    """At which tokens an edit is on.

    Args:
        edit: The edit.
        layout: The tokens.

    Returns:
        Dims (row, position); never where a row is padded.

    >>> layout = lay_out([["user", "assistant"]], [[False, True]])
    >>> is_on(Edit("a", "h", "add", where=("generated",)), layout).tolist()
    [[False, True]]
    """
    if not edit.where:
        return layout.roles != ""
    return np.isin(layout.roles, edit.where) | (layout.answer & (GENERATED in edit.where))


def is_on_after(edit: Edit, layout: Layout) -> Mask | None:
    """At the draws of which rows an edit is on.

    Args:
        edit: The edit.
        layout: Tokens before the draws.

    Returns:
        Dims (row,); None where nothing is drawn.
    """
    if layout.speakers is None:
        return None
    everywhere = not edit.where or GENERATED in edit.where
    return np.isin(layout.speakers, edit.where) | everywhere


def check_places(groups: Mapping[str, Sequence[Edit]], tokens: Tokens) -> None:
    """Refuse an edit that would be on at no token at all, and look like one without effect.

    Args:
        groups: Edits by name.
        tokens: Tokens that will be read.

    Raises:
        SchemaError: No token has one of the roles that an edit names.
    """
    present = {GENERATED}.union(*tokens.roles, map(speaker, tokens.roles))
    for edit in (edit for group in groups.values() for edit in group):
        if edit.where and present.isdisjoint(edit.where):
            raise SchemaError(
                f"'{edit.name}' is on at tokens of {', '.join(edit.where)}, and these prompts have "
                f"none; they have {', '.join(sorted(present))}."
            )
