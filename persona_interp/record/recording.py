"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``reduce_residuals`` runs every checkpoint over every prompt, takes the tokens asked for, reduces
them to numbers and labels those. What ``activations`` and ``features`` add is only the reduction.
Residuals are reduced as they come: beside the result, one batch of them is in memory.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, boot, encode, hash_tokens
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_tuple
from persona_interp.models.outliers import SINK, ordinary
from persona_interp.models.passes import Batch
from persona_interp.models.sites import canonical, is_heads, older_names
from persona_interp.readers import table_of
from persona_interp.record.coordinates import (
    Array,
    checkpoint_coords,
    prompt_coords,
    token_coords,
)
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints
from persona_interp.record.pooling import (
    ALL,
    ANSWER,
    WHERE,
    Mask,
    Position,
    Reading,
    is_point,
    position_marks,
    readings,
)

SCHEMA_VERSION = 1
LARGEST = 8 * 2**30
"""Most bytes of one variable."""

Reduce = Callable[[Tensor], dict[str, Tensor]]


class _Pool:
    """Values of one hook while the prompts are run, and what they left out or took in."""

    def __init__(self, reduce: Reduce, marks: Sequence[Mask], position: Position, most_rows: int):
        self.reduce, self.marks, self.position = reduce, marks, position
        self.most_rows = most_rows  # of the result, over all checkpoints
        self.values: list[dict[int, dict[str, Array]]] = []  # of each checkpoint, by prompt
        self.counted: list[dict[int, Mask]] = []
        self.n_excluded = self.n_sinks = 0

    def add(self, reading: Reading) -> None:
        """Reduce a reading of the latest checkpoint to its values."""
        mark = torch.as_tensor(self.marks[reading.row], device=reading.acts.device)
        counted = reading.counted
        if is_point(self.position):  # nothing is counted there: neither role nor length matters
            acts = reading.acts[mark]
        else:
            self.n_excluded += reading.n_outliers
            self.n_sinks += int((~ordinary(reading.acts[counted].norm(dim=-1))).sum())
            acts = reading.acts[mark if self.position == ALL else counted]
        with torch.inference_mode():
            values = {name: value.cpu().numpy() for name, value in self.reduce(acts).items()}
        if not self.values[0]:
            self._check_size(values["act"])
        self.values[-1][reading.row] = values
        self.counted[-1][reading.row] = counted[mark].cpu().numpy()

    def _check_size(self, act: Array) -> None:
        """Refuse a result that would not fit into memory, before more of it is computed."""
        each = act[0] if self.position == ALL else act
        size = self.most_rows * each.nbytes
        if size > LARGEST:
            raise SchemaError(
                f"{self.most_rows:,} rows of {each.size:,} numbers are {size / 2**30:,.0f} GiB, "
                f"more than the {LARGEST / 2**30:,.0f} GiB that one array may have. Name fewer "
                "prompts or roles (where=), of a dictionary some features (features=[...]), or "
                "another position."
            )

    def keep(self) -> Mask:
        """Which tokens are an outlier in no checkpoint, so that all have the same tokens."""
        rows = [[counted[row] for row in range(len(counted))] for counted in self.counted]
        return np.all([np.concatenate(masks) for masks in rows], axis=0)

    def join(self, name: str) -> Array:
        """Values of a variable, dims (checkpoint, prompt or token, ...)."""
        checkpoints = []
        for values in self.values:
            rows = [values[row][name] for row in range(len(values))]
            if self.position == ALL:
                checkpoints.append(np.concatenate(rows)[self.keep()])
            else:
                checkpoints.append(np.stack(rows))
        return np.stack(checkpoints)


def reduce_residuals(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    kind: str,
    hooks: Sequence[str],
    position: Position,
    reduce: Reduce,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> list[xr.Dataset]:
    """Datasets of what the residuals of each prompt reduce to, in each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        kind: "activations" or "features"; with hook and position it is the kind of Dataset.
        hooks: Hook names, all read in one run of the model.
        position: See ``activations``.
        reduce: From the residuals of the tokens taken of a prompt, dims (position, d_model), to
            each variable, its last dim if any; at position "all" with position before it.
        where: Roles of the tokens taken.
        outlier: Longest residual taken, as a multiple of the prompt's median.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A Dataset for each hook, as ``activations`` says.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1, or an array of more than 8 GiB.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.
    """
    at_point = is_point(position)
    # a prompt waits for its answer: where answers are read, chats keep theirs
    prompts = table_of(prompts, "documents" if position == ANSWER else "prompts")
    models, names = distinct_checkpoints(checkpoints), schema.names(prompts)
    where, chats = as_tuple(where), list(prompts["messages"])
    pools: dict[str, _Pool] = {}
    hashes: list[str] = []
    for checkpoint in tqdm(models, desc=kind, delay=2, disable=len(models) < 2):
        bridge = boot(checkpoint, device=device, dtype=dtype)
        tokens = encode(bridge.tokenizer, chats)
        hashes.append(hash_tokens(tokens))
        check_same_tokens(hashes)
        marks = position_marks(position, tokens, chats, where=where, names=names)
        n_rows = sum(int(mark.sum()) for mark in marks) if position == ALL else len(marks)
        order = [canonical(bridge, hook) for hook in hooks]
        for hook in dict.fromkeys(order):
            pool = pools.setdefault(hook, _Pool(reduce, marks, position, n_rows * len(models)))
            pool.values.append({})
            pool.counted.append({})
        for reading in readings(
            bridge, tokens, hooks=order, marks=marks, outlier=outlier, batch=batch
        ):
            if not at_point and not reading.counted.any():
                raise SchemaError(
                    f"prompt {names[reading.row]!r} has no token of the roles {', '.join(where)} "
                    "to average over; name others in where=, or use position='last'."
                )
            pools[reading.hook].add(reading)
    columns = prompt_coords(prompts)
    units = {"prompt": np.asarray(names), **columns}
    if position == ALL:
        places = token_coords(bridge.tokenizer, tokens, marks, names)
        rows = places.pop("row")
        units = {**{name: values[rows] for name, values in columns.items()}, **places}
    provenance = {
        "token_ids": hashes[0],
        "position": str(position),
        "dtype": str(bridge.cfg.dtype).removeprefix("torch."),
        "device": str(bridge.original_model.device),
        "where": " ".join(where),
        "outlier": float(outlier),
    }
    datasets = []
    for hook in order:
        attrs = {"hook": hook, "older_names": " ".join(older_names(bridge, hook)), **provenance}
        own = _kind(kind, hook, position)
        data = _dataset(pools[hook], own, units, n_heads=bridge.cfg.n_heads)
        data = data.assign_coords(checkpoint_coords(models))
        datasets.append(data.assign_attrs(kind=own, schema_version=SCHEMA_VERSION, **attrs))
    return datasets


def _kind(kind: str, hook: str, position: Position) -> str:
    """Kind of Dataset that one of these activations or features is."""
    if kind == "activations" and is_heads(hook):
        kind = "heads"
    return f"token_{kind}" if position == ALL else kind


def _dataset(pool: _Pool, kind: str, units: dict[str, Array], *, n_heads: int) -> xr.Dataset:
    """Variables of a hook with the coordinates of its prompts or tokens."""
    dims = schema.DATASETS[kind]
    unit = dims["act"][1]  # prompt or token
    arrays = {name: pool.join(name) for name in dims}
    if "head" in dims["act"]:
        arrays["act"] = arrays["act"].reshape(*arrays["act"].shape[:2], n_heads, -1)
    n_excluded = pool.n_excluded
    if unit == "token":
        keep = pool.keep()
        units = {name: values[keep] for name, values in units.items()}
        n_excluded = int((~keep).sum()) * len(pool.values)
    coords: dict[str, Any] = {name: (unit, values) for name, values in units.items()}
    for dim, size in zip(dims["act"][2:], arrays["act"].shape[2:], strict=True):
        coords[dim] = np.arange(size)
    data = xr.Dataset({name: (dims[name], array) for name, array in arrays.items()}, coords)
    return data.assign_attrs(n_excluded=n_excluded, n_sinks=pool.n_sinks)
