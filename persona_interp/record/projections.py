"""How far along a direction are residuals: in conversations, turn by turn, at the last token?"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens
from persona_interp.models.boot import canonical
from persona_interp.models.inputs import as_tuple
from persona_interp.models.outliers import SINK
from persona_interp.readers import table_of
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints
from persona_interp.record.pooling import Mask, answer_marks, readings


class _Part(NamedTuple):
    """Mean over the tokens of a conversation, or of one of its messages.

    Attributes:
        number: Number of the checkpoint.
        row: Number of the conversation.
        checkpoint: Label.
        prompt: Name of the conversation.
        hook: Canonical name.
        turn: Number of the message; -1 for the whole conversation.
        role: Whose message it is.
        projections: One a direction.
        n_tokens: Tokens averaged over.
    """

    number: int
    row: int
    checkpoint: str
    prompt: Any
    hook: str
    turn: int
    role: str
    projections: npt.NDArray[np.float64]
    n_tokens: int


def projections(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    conversations: Any,
    directions: xr.DataArray,
    *,
    where: Iterable[str] = ("assistant",),
    turns: bool = False,
    outlier: float = SINK,
) -> pd.DataFrame:
    """Projection of the residuals of each conversation on each direction.

    ``mean over tokens of <h, v / |v|>``. Positive = towards what the direction stands for; without
    a reference the zero means nothing, so compare checkpoints, turns or prompts.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        conversations: A prompts table, such as ``record.conversations`` makes, a corpus table, or
            anything that ``readers.read`` takes.
        directions: Directions, dims (name, hook, d_model); all their hooks are read in one run.
        where: Roles of the tokens averaged over; or "last" = the last token, whatever its role; or
            "answer" = the last message, if the assistant says it.
        turns: One row a message, with its number and role, instead of one a conversation.
        outlier: Longest residual that counts, as a multiple of the median over the conversation's
            tokens of these roles: attention sinks are left out. ``math.inf`` keeps all.

    Returns:
        A projections table: ``checkpoint``, ``prompt``, ``name``, ``hook``, ``projection``
        (residual units), ``n_tokens``; with turns also ``turn`` (from 0) and ``role``. A
        conversation or message without such a token has no row.

    Raises:
        SchemaError: No directions, an empty table, repeated names, an unknown role, or no token of
            these roles at all.
        ModelError: A hook does not exist or has another width.
    """
    schema.check(directions, "directions")
    conversations = table_of(conversations, "documents")
    models, names = distinct_checkpoints(checkpoints), schema.names(conversations)
    where = as_tuple(where)
    if where == ("last",):
        outlier = math.inf  # one token has no others to be longer than
    hooks = [str(hook) for hook in directions["hook"].to_numpy()]
    units = _units(directions)
    chats = list(conversations["messages"])
    parts: list[_Part] = []
    hashes = []
    for number, checkpoint in enumerate(
        tqdm(models, desc="projections", delay=2, disable=len(models) < 2)
    ):
        bridge = boot(checkpoint)
        if directions.sizes["d_model"] != bridge.cfg.d_model:
            raise SchemaError(
                f"the directions are {directions.sizes['d_model']} wide, {checkpoint.label} is "
                f"{bridge.cfg.d_model}; use directions of this model."
            )
        tokens = encode(bridge.tokenizer, chats)
        hashes.append(hash_tokens(tokens))
        marks = _marks(tokens, conversations, where)
        vectors = {}
        for i, hook in enumerate(hooks):
            vectors[canonical(bridge, hook)] = torch.as_tensor(units[:, i])
        for row, hook, acts, counted, _ in readings(
            bridge, tokens, hooks=list(vectors), marks=marks, outlier=outlier
        ):
            # in double precision: differences of projections are small beside the projections
            values = (acts.cpu().double() @ vectors[hook].T).numpy()
            for turn, mask in _turn_masks(tokens, row, counted.cpu().numpy(), turns=turns):
                role = chats[row][turn]["role"]
                mean, n_tokens = values[mask].mean(0), int(mask.sum())
                place = (number, row, checkpoint.label, names[row], hook)
                parts.append(_Part(*place, turn, role, mean, n_tokens))
    check_same_tokens(hashes)
    if not parts:
        raise SchemaError(
            f"no conversation has a token of the roles {', '.join(where)}; name others in where=."
        )
    table = _table(parts, [str(name) for name in directions["name"].to_numpy()])
    columns = ["checkpoint", "prompt", "name", "hook", "projection", "n_tokens"]
    if turns:
        columns[4:4] = ["turn"]
        columns.append("role")
    return schema.check(table[columns], "projections")


def _units(directions: xr.DataArray) -> npt.NDArray[np.float64]:
    """Directions at unit length, dims (name, hook, d_model); a direction of zeros stays 0."""
    vectors = directions.to_numpy().astype(np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, where=length > 0, out=np.zeros_like(vectors))


def _table(parts: list[_Part], labels: list[str]) -> pd.DataFrame:
    """One row a part and direction; the conversations, read in order of length, in their own."""
    parts = sorted(parts, key=lambda part: (part.number, part.row))
    values = np.concatenate([part.projections for part in parts])
    table = pd.DataFrame(parts).drop(columns="projections")
    table = table.iloc[np.repeat(np.arange(len(parts)), len(labels))].reset_index(drop=True)
    return table.assign(name=labels * len(parts), projection=values)


def _marks(tokens: Tokens, conversations: pd.DataFrame, where: tuple[str, ...]) -> list[Mask]:
    """Masks of the tokens that are averaged over, one a row."""
    if where == ("last",):
        return [np.arange(len(ids)) == len(ids) - 1 for ids in tokens.ids]
    if where == ("answer",):
        return answer_marks(tokens, conversations["messages"], ("assistant",))
    return tokens.marks(where)


def _turn_masks(tokens: Tokens, row: int, counted: Mask, *, turns: bool) -> list[tuple[int, Mask]]:
    """Number and tokens of each message that has any; all together as -1 without ``turns``."""
    if not turns:
        return [(-1, counted)] if counted.any() else []
    # tokens of the chat template belong to no message and have the number -1
    owner = np.asarray(tokens.turns[row])
    present = [int(turn) for turn in np.unique(owner[counted]) if turn >= 0]
    return [(turn, counted & (owner == turn)) for turn in present]
