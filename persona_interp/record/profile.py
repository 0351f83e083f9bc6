"""In which layer, on whose tokens, did a model change? One number for every hook and role."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import (
    ROLES,
    Checkpoint,
    Tokens,
    encode,
    hash_tokens,
    open_hooked,
    residuals,
)
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import SINK, ordinary
from persona_interp.models.sites import canonical
from persona_interp.readers import table_of
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints
from persona_interp.record.intervals import t_interval
from persona_interp.values import as_tuple

KEPT = 2**30
"""Most bytes of the first checkpoint's residuals that are kept for a series."""
_Rows = Iterable[tuple[int, Tensor]]
"""Row and its residuals, as of ``residuals``."""


def profile(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    hooks: Iterable[str],
    directions: xr.DataArray | None = None,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Shift of the residual at each hook, on the tokens of each role.

    With v a direction, h a residual and h0 that of the first checkpoint at the same token: one
    checkpoint gives ``<h, v> / <v, v>``; several give the change ``<h - h0, v> / <v, v>`` of every
    one after the first (0 = it stays, 1 = it moves as far as the vector is long; negative = away).
    Without directions the change of any direction, ``|h - h0| / |h0|``.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels;
            the first is what the others are compared with.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        hooks: Hook names, in the order of the rows.
        directions: Directions, dims (name, hook, d_model), residual units, that have these hooks.
        outlier: Longest residual that counts in the first checkpoint, as a multiple of the median
            over the prompt's tokens of the same role: attention sinks are left out.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A profile table (see ``schema.TABLES``), checkpoints x hooks x roles that occur x names. A
        prompt's number is the mean over its tokens of the role; ``estimate`` is the mean over the
        ``n`` prompts that have such tokens, ``lo`` and ``hi`` its 95 % t interval, which takes
        prompts as independent (NaN for one prompt).

    Raises:
        SchemaError: An empty table, repeated names or labels, one checkpoint without directions,
            directions that lack a hook or have another width.
        ModelError: A hook does not exist, or the checkpoints do not share a tokenizer.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> axis = xr.DataArray(np.eye(1, 64)[None], dims=("name", "hook", "d_model"))
    >>> hooks = ["blocks.0.hook_out"]
    >>> axis = axis.assign_coords(name=["first"], hook=hooks)
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     probes = world.probes(contexts="nameless")
    ...     table = profile(start, probes, hooks=hooks, directions=axis)
    >>> table["role"].tolist(), table["name"].unique().tolist(), table["n"].unique().tolist()
    (['system', 'user', 'assistant', 'special'], ['first'], [50])
    """
    checkpoints = distinct_checkpoints(checkpoints)
    prompts = table_of(prompts, "prompts")
    schema.names(prompts)  # refuses names that are there twice
    if directions is None and len(checkpoints) < 2:
        raise SchemaError(
            "one checkpoint has not changed; give the one before it first, or directions to "
            "project on."
        )
    start, later = checkpoints[0], checkpoints[1:]
    first = open_hooked(start, device=device, dtype=dtype)
    hooks = [canonical(first, hook) for hook in as_tuple(hooks)]
    vectors = {hook: _vectors(directions, hook, first.cfg.d_model) for hook in hooks}
    labels = [""]
    if directions is not None:
        labels = [str(name) for name in directions["name"].to_numpy()]
    tokens = encode(first.tokenizer, list(prompts["messages"]))
    base: dict[str, _Rows] = {}
    size = 4 * sum(tokens.lengths) * first.cfg.d_model * len(hooks)
    if len(later) > 1 and size <= KEPT:
        # the same for every checkpoint of a series: it is run once
        for hook in hooks:
            read = residuals(first, tokens, hook=hook, batch=batch)
            base[hook] = [(row, acts.cpu()) for row, acts in read]
    rows: list[tuple[Any, ...]] = []
    for checkpoint in tqdm(later or [start], desc="profile", delay=2, disable=len(later) < 2):
        models = [first]
        if checkpoint is not start:
            models.append(open_hooked(checkpoint, device=device, dtype=dtype))
        hashes = []
        for model in models:
            hashes.append(hash_tokens(encode(model.tokenizer, list(prompts["messages"]))))
        check_same_tokens(hashes)
        for hook in hooks:
            values: dict[str, list[npt.NDArray[np.float64]]] = {role: [] for role in ROLES}
            runs = [
                base[hook]
                if model is first and hook in base
                else residuals(model, tokens, hook=hook, batch=batch)
                for model in models
            ]
            for role, value in _values(runs, tokens, vectors=vectors[hook], outlier=outlier):
                values[role].append(value)
            for role in ROLES:
                # by prompt, not by token: tokens of a prompt are no independent draws. A role that
                # no prompt has gives no column, and so no row.
                for label, column in zip(labels, zip(*values[role], strict=True), strict=False):
                    interval = t_interval(np.array(column))
                    rows.append((checkpoint.label, hook, role, label, *interval, len(column)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["profile"])), "profile")


@torch.inference_mode()
def _values(
    runs: list[_Rows],
    tokens: Tokens,
    *,
    vectors: Tensor | None,
    outlier: float,
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Role and mean over its tokens, dims (name,), for every prompt and every role it has."""
    marks = {role: tokens.marks(role) for role in ROLES}
    for readings in zip(*runs, strict=True):
        row, before = readings[0][0], readings[0][1].to(readings[-1][1].device).double()
        shift = before
        if len(readings) > 1:
            # token by token: both models read the same ones
            shift = readings[1][1].double() - before
        norms = before.norm(dim=-1)
        if vectors is None:
            value = (shift.norm(dim=-1) / norms)[:, None]
        else:
            value = shift @ vectors.to(shift).T
        for role in ROLES:
            mark = torch.as_tensor(marks[role][row], device=norms.device)
            counted = mark & ordinary(norms, mark, outlier=outlier)
            if counted.any():
                yield role, value[counted].mean(0).cpu().numpy()


def _vectors(directions: xr.DataArray | None, hook: str, d_model: int) -> Tensor | None:
    """Directions at a hook over their squared length, dims (name, d_model)."""
    if directions is None:
        return None
    dims = {"name", "hook", "d_model"}
    if set(directions.dims) != dims or directions.sizes["d_model"] != d_model:
        raise SchemaError(
            f"directions have dims name, hook, d_model={d_model}; got {dict(directions.sizes)}."
        )
    hooks = [str(h) for h in directions["hook"].to_numpy()]
    if hook not in hooks:
        raise SchemaError(unknown("hook of these directions:", hook, hooks))
    vectors = directions.sel(hook=hook).transpose("name", "d_model").to_numpy()
    v = torch.as_tensor(vectors.astype(np.float64))
    # <h, v> / <v, v> is 1 where the residual moved as far as the vector is long
    return v / v.pow(2).sum(-1, keepdim=True)
