"""In which layer, on whose tokens, did a model change? One number for every hook and role."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from scipy import stats
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import ROLES, Checkpoint, Tokens, boot, encode, hash_tokens, residuals
from persona_interp.models.boot import canonical
from persona_interp.models.outliers import SINK, ordinary
from persona_interp.record.pooling import BATCH, distinct, same_tokens


def profile(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    hooks: Iterable[str],
    directions: xr.DataArray | None = None,
    outlier: float = SINK,
) -> pd.DataFrame:
    """How far did the residual move, at each hook and on the tokens of each role?

    With v a direction, h a residual and h0 that of the first checkpoint at the same token: one
    checkpoint gives ``<h, v> / <v, v>``; several give the change ``<h - h0, v> / <v, v>`` of every
    one after the first (0 = it stays, 1 = it moves as far as the vector is long; negative = away).
    Without directions the change of any direction, ``|h - h0| / |h0|``.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels;
            the first is what the others are compared with.
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by
            ``doc``).
        hooks: Hook names, in the order of the rows.
        directions: Directions, dims (name, hook, d_model), residual units, that have these hooks.
        outlier: Longest residual that counts in the first checkpoint, as a multiple of the median
            over the prompt's tokens of the same role: attention sinks are left out.

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
    >>> axis = axis.assign_coords(name=["first"], hook=["blocks.0.hook_out"])
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = profile(start, world.probes(contexts="nameless"), hooks=["blocks.0.hook_out"], directions=axis)
    >>> table[["role", "name", "n"]].values.tolist()
    [['system', 'first', 50], ['user', 'first', 50], ['assistant', 'first', 50], ['special', 'first', 50]]
    """
    listed = distinct(checkpoints)
    schema.names(prompts)  # refuses a table of another kind
    if directions is None and len(listed) < 2:
        raise SchemaError(
            "one checkpoint has not changed; give the one before it first, or directions to "
            "project on."
        )
    first = boot(listed[0])
    hooks = [canonical(first, hook) for hook in hooks]
    vectors = {hook: _vectors(directions, hook, first.cfg.d_model) for hook in hooks}
    labels = [""] if directions is None else [str(name) for name in directions["name"].to_numpy()]
    tokens = encode(first.tokenizer, list(prompts["messages"]))
    rows: list[tuple[Any, ...]] = []
    for checkpoint in tqdm(listed[1:] or listed, desc="profile", delay=2, disable=len(listed) < 3):
        models = [first] if checkpoint is listed[0] else [first, boot(checkpoint)]
        same_tokens(
            [hash_tokens(encode(model.tokenizer, list(prompts["messages"]))) for model in models]
        )
        for hook in hooks:
            found: dict[str, list[npt.NDArray[np.float64]]] = {role: [] for role in ROLES}
            for role, value in _values(
                models, tokens, hook=hook, vectors=vectors[hook], outlier=outlier
            ):
                found[role].append(value)
            for role, values in found.items():
                for label, column in zip(labels, zip(*values, strict=True), strict=False):
                    rows.append(
                        (
                            checkpoint.label,
                            hook,
                            role,
                            label,
                            *_interval(np.array(column)),
                            len(column),
                        )
                    )
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["profile"])), "profile")


@torch.inference_mode()
def _values(
    models: list[Any], tokens: Tokens, *, hook: str, vectors: Tensor | None, outlier: float
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Role and mean over its tokens, dims (name,), for every prompt and every role it has."""
    marks = {role: tokens.marks(role) for role in ROLES}
    for read in zip(
        *(residuals(model, tokens, hook=hook, batch=BATCH) for model in models), strict=True
    ):
        row, before = read[0][0], read[0][1].double()
        moved = read[1][1].double() - before if len(read) > 1 else before
        norms = before.norm(dim=-1)
        value = (
            (moved.norm(dim=-1) / norms)[:, None]
            if vectors is None
            else moved @ vectors.to(moved).T
        )
        for role in ROLES:
            marked = torch.as_tensor(marks[role][row], device=norms.device)
            counted = marked & ordinary(norms, marked, outlier=outlier)
            if counted.any():
                yield role, value[counted].mean(0).cpu().numpy()


def _vectors(directions: xr.DataArray | None, hook: str, d_model: int) -> Tensor | None:
    """Directions at a hook over their squared length, dims (name, d_model)."""
    if directions is None:
        return None
    if (
        set(directions.dims) != {"name", "hook", "d_model"}
        or directions.sizes["d_model"] != d_model
    ):
        raise SchemaError(
            f"directions have dims name, hook, d_model={d_model}; got {dict(directions.sizes)}."
        )
    hooks = [str(h) for h in directions["hook"].to_numpy()]
    if hook not in hooks:
        raise SchemaError(unknown("hook of these directions:", hook, hooks))
    v = torch.as_tensor(
        directions.sel(hook=hook).transpose("name", "d_model").to_numpy().astype(np.float64)
    )
    return v / v.pow(2).sum(-1, keepdim=True)


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % t interval."""
    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return mean, mean - half, mean + half
