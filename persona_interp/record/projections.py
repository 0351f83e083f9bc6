"""How far along a direction are a model's residuals: in whole conversations, turn by turn, at the last token?"""

import math
from collections.abc import Iterable
from typing import Any

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
from persona_interp.models.outliers import SINK
from persona_interp.record.pooling import answer_marks, distinct, readings, same_tokens


def projections(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    conversations: pd.DataFrame,
    directions: xr.DataArray,
    *,
    where: Iterable[str] = ("assistant",),
    turns: bool = False,
    outlier: float = SINK,
) -> pd.DataFrame:
    """How far along each direction are the residuals of each conversation?

    ``mean over tokens of <h, v / |v|>``. Positive = towards what the direction stands for; without
    a reference the zero means nothing, so compare checkpoints, turns or prompts.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        conversations: A prompts table, such as ``record.conversations`` makes, or a corpus table.
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
    listed, names = distinct(checkpoints), schema.names(conversations)
    where = (where,) if isinstance(where, str) else tuple(where)
    hooks = [str(hook) for hook in directions["hook"].to_numpy()]
    unit = directions.to_numpy().astype(np.float64)
    unit = np.divide(
        unit, length := np.linalg.norm(unit, axis=-1, keepdims=True), where=length > 0, out=0 * unit
    )
    parts, hashes = [], []
    for checkpoint in tqdm(listed, desc="projections", delay=2, disable=len(listed) < 2):
        bridge = boot(checkpoint)
        if directions.sizes["d_model"] != bridge.cfg.d_model:
            raise SchemaError(
                f"the directions are {directions.sizes['d_model']} wide, {checkpoint.label} is "
                f"{bridge.cfg.d_model}; "
                "use directions of this model."
            )
        tokens = encode(bridge.tokenizer, list(conversations["messages"]))
        hashes.append(hash_tokens(tokens))
        at = {canonical(bridge, hook): torch.as_tensor(unit[:, i]) for i, hook in enumerate(hooks)}
        for row, hook, acts, counted, _ in readings(
            bridge,
            tokens,
            hooks=list(at),
            marks=_marks(tokens, conversations, where),
            outlier=math.inf if where == ("last",) else outlier,
        ):
            found = (acts.cpu().double() @ at[hook].T).numpy()
            for turn, mask in _turns(tokens, row, counted.cpu().numpy(), turns=turns):
                parts.append(
                    (checkpoint.label, row, hook, turn, found[mask].mean(0), int(mask.sum()))
                )
    same_tokens(hashes)
    if not parts:
        raise SchemaError(
            f"no conversation has a token of the roles {', '.join(where)}; name others in where=."
        )
    parts.sort(key=lambda part: ([c.label for c in listed].index(part[0]), part[1]))
    table = _table(parts, [str(name) for name in directions["name"].to_numpy()])
    chats = list(conversations["messages"])
    if turns:
        table["role"] = [
            chats[row][turn]["role"] for row, turn in zip(table["row"], table["turn"], strict=True)
        ]
    else:
        table = table.drop(columns="turn")
    table.insert(1, "prompt", [names[row] for row in table["row"]])
    return schema.check(table.drop(columns="row"), "projections")


def _table(parts: list[tuple[Any, ...]], labels: list[str]) -> pd.DataFrame:
    """One row a reading and direction."""
    columns = list(zip(*parts, strict=True))
    n = len(labels)
    whole = {
        key: np.repeat(columns[i], n)
        for i, key in ((0, "checkpoint"), (1, "row"), (2, "hook"), (3, "turn"))
    }
    table = pd.DataFrame(
        {"checkpoint": whole["checkpoint"], "row": whole["row"], "name": labels * len(parts)}
    )
    table = table.assign(
        hook=whole["hook"], turn=whole["turn"], projection=np.concatenate(columns[4])
    )
    return table.assign(n_tokens=np.repeat(columns[5], n))


def _marks(
    tokens: Tokens, conversations: pd.DataFrame, where: tuple[str, ...]
) -> list[npt.NDArray[np.bool_]]:
    """Which tokens of every row are averaged over."""
    if where == ("last",):
        return [np.arange(len(ids)) == len(ids) - 1 for ids in tokens.ids]
    if where == ("answer",):
        return answer_marks(tokens, conversations["messages"], ("assistant",))
    return tokens.marks(where)


def _turns(
    tokens: Tokens, row: int, counted: npt.NDArray[np.bool_], *, turns: bool
) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    """Number and tokens of each message that has any; all together as -1 without ``turns``."""
    if not turns:
        return [(-1, counted)] if counted.any() else []
    owner = np.asarray(tokens.turns[row])
    present = [int(turn) for turn in np.unique(owner[counted]) if turn >= 0]
    return [(turn, counted & (owner == turn)) for turn in present]
