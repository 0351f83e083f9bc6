"""How far along a direction are residuals: in conversations, turn by turn, at the last token?"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens, open_hooked
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, resolve_dtype
from persona_interp.models.outliers import SINK
from persona_interp.models.sites import canonical
from persona_interp.readers import table_of
from persona_interp.record.edit import Edit, Edits, list_edits, refuse_patches
from persona_interp.record.edit_runs import edits_on
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints
from persona_interp.record.places import check_places, lay_out
from persona_interp.record.pooling import (
    ALL,
    MEAN,
    Mask,
    Position,
    answer_marks,
    is_point,
    position_marks,
    readings,
)
from persona_interp.schema.words import UNEDITED
from persona_interp.values import as_tuple


class _Part(NamedTuple):
    """Mean over the tokens of a conversation, or of one of its messages.

    Attributes:
        number: Number of the checkpoint, and under it of the edit.
        row: Number of the conversation.
        checkpoint: Label.
        edit: Its name.
        prompt: Name of the conversation.
        hook: Canonical name.
        turn: Number of the message; -1 for the whole conversation.
        role: Whose message it is.
        projections: One a direction.
        n_tokens: Tokens averaged over.
    """

    number: tuple[int, int]
    row: int
    checkpoint: str
    edit: str
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
    position: Position = MEAN,
    where: Iterable[str] = ("assistant",),
    turns: bool = False,
    outlier: float = SINK,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Projection of the residuals of each conversation on each direction.

    ``mean over tokens of <h, v / |v|>``. Positive = towards what the direction stands for; without
    a reference the zero means nothing, so compare checkpoints, turns or prompts.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        conversations: A prompts table, such as ``record.conversations`` makes, a corpus table, or
            anything that ``readers.read`` takes.
        directions: Directions, dims (name, hook, d_model); all their hooks are read in one run.
        position: "mean" of the tokens of these roles; "answer" = of those in the last message, if
            the assistant says it; or one token whatever its role, "last" or an index. Every
            token's own residual is what ``activations(position="all")`` gives.
        where: Roles of the tokens averaged over.
        turns: One row a message, with its number and role, instead of one a conversation.
        outlier: Longest residual that counts, as a multiple of the median over the conversation's
            tokens of these roles: attention sinks are left out. ``math.inf`` keeps all.
        edits: Changes of the inside, each alone or, in a tuple, together, as of ``behavior``; no
            patch. At the edited hook itself the residual is read after the edit. What edits call
            generated is the last message, if the assistant says it.
        device: Where the models run; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A projections table: ``checkpoint``, ``prompt``, ``name``, ``hook``, ``projection``
        (residual units), ``n_tokens``; with turns also ``turn`` (from 0) and ``role``. A
        conversation or message without such a token has no row. With edits also ``edit``, "none"
        first.

    Raises:
        SchemaError: No directions, an empty table, repeated names, an unknown position or role, no
            token of these roles at all, a patch, or an edit that is on at no token.
        ModelError: A hook does not exist or has another width, or an edit did not fire exactly once
            on every token.
    """
    schema.check(directions, "directions")
    conversations = table_of(conversations, "documents")
    models, names = distinct_checkpoints(checkpoints), schema.names(conversations)
    where, dtype = as_tuple(where), resolve_dtype(dtype, device)
    outlier = _longest(position, outlier)
    hooks = [str(hook) for hook in directions["hook"].to_numpy()]
    units, groups = _units(directions), {UNEDITED: (), **list_edits(edits)}
    refuse_patches(edit for group in groups.values() for edit in group)
    chats = list(conversations["messages"])
    parts: list[_Part] = []
    hashes = []
    for number, checkpoint in enumerate(
        tqdm(models, desc="projections", delay=2, disable=len(models) < 2)
    ):
        # beside edits, roundings of half precision would count: there all arms take one path
        opened = boot if len(groups) > 1 and dtype != FULL else open_hooked
        bridge = opened(checkpoint, device=device, dtype=dtype)
        if directions.sizes["d_model"] != bridge.cfg.d_model:
            raise SchemaError(
                f"the directions are {directions.sizes['d_model']} wide, {checkpoint.label} is "
                f"{bridge.cfg.d_model}; use directions of this model."
            )
        tokens = encode(bridge.tokenizer, chats)
        check_places(groups, tokens)
        hashes.append(hash_tokens(tokens))
        marks = position_marks(position, tokens, chats, where=where, names=names)
        vectors = {}
        for i, hook in enumerate(hooks):
            vectors[canonical(bridge, hook)] = torch.as_tensor(units[:, i])
        for nth, (name, group) in enumerate(groups.items()):
            if group and nth == 1 and dtype == FULL:
                bridge = boot(checkpoint, device=device, dtype=dtype)
            # a pass ends at the highest hook that is read: not below an edit's
            read = [*vectors, *(canonical(bridge, edit.hook) for edit in group)]
            for row, hook, acts, counted, _ in readings(
                bridge,
                tokens,
                hooks=list(dict.fromkeys(read)),
                marks=marks,
                outlier=outlier,
                batch=batch,
                around=_around(bridge, group, tokens, chats),
            ):
                if hook not in vectors:
                    continue
                # in double precision: differences of projections are small beside the projections
                values = (acts.cpu().double() @ vectors[hook].T).numpy()
                for turn, mask in _turn_masks(tokens, row, counted.cpu().numpy(), turns=turns):
                    role = chats[row][turn]["role"]
                    mean, n_tokens = values[mask].mean(0), int(mask.sum())
                    place = ((number, nth), row, checkpoint.label, name, names[row], hook)
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
    if len(groups) > 1:
        columns[1:1] = ["edit"]
    return schema.check(table[columns], "projections")


def _longest(position: Position, outlier: float) -> float:
    """Longest residual that counts: of one token any, which has no others to be longer than."""
    if position == ALL:
        raise SchemaError(
            "a projection is one number a conversation, or with turns=True a message; residuals of "
            "every token are in record.activations(..., position='all')."
        )
    return math.inf if is_point(position) else outlier


def _around(
    bridge: Any, edits: Sequence[Edit], tokens: Tokens, chats: Sequence[Any]
) -> Callable[[list[int]], AbstractContextManager[None]]:
    """What is on while rows run: these edits."""
    answer = answer_marks(tokens, chats, ("assistant",))

    def on(rows: list[int]) -> AbstractContextManager[None]:
        layout = lay_out([tokens.roles[row] for row in rows], [answer[row] for row in rows])
        return edits_on(bridge, edits, layout)

    return on if edits else lambda rows: nullcontext()


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


def _turn_masks(tokens: Tokens, row: int, counted: Mask, *, turns: bool) -> list[tuple[int, Mask]]:
    """Number and tokens of each message that has any; all together as -1 without ``turns``."""
    if not turns:
        return [(-1, counted)] if counted.any() else []
    # tokens of the chat template belong to no message and have the number -1
    owner = np.asarray(tokens.turns[row])
    present = [int(turn) for turn in np.unique(owner[counted]) if turn >= 0]
    return [(turn, counted & (owner == turn)) for turn in present]
