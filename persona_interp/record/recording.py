"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``reduce_residuals`` runs every checkpoint over every prompt, takes the tokens asked for, reduces
them to numbers and labels those. What ``activations`` and ``features`` add is only the reduction.
Residuals are reduced as they come: one batch of them is in memory, and the result at most twice.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, boot, encode, hash_tokens
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import SINK, ordinary
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
from persona_interp.values import as_tuple

SCHEMA_VERSION = 1
LARGEST = 8 * 2**30
"""Most bytes of one variable."""

Reduce = Callable[[Tensor], dict[str, Tensor]]


class _Pool:
    """Values of one hook while the prompts are run, and what they left out or took in."""

    def __init__(
        self, bridge: Any, hook: str, reduce: Reduce, position: Position, most_rows: int
    ) -> None:
        self.hook, self.reduce, self.position = hook, reduce, position
        self.n_heads = bridge.cfg.n_heads if is_heads(hook) else 0
        self.most_rows = most_rows  # of the result, over all checkpoints
        self.values: list[dict[int, dict[str, Array]]] = []  # of each checkpoint, by prompt
        self.counted: list[dict[int, Mask]] = []
        self.n_excluded = self.n_sinks = 0
        self.attrs = {
            "hook": hook,
            "older_names": " ".join(older_names(bridge, hook)),
            "dtype": str(bridge.cfg.dtype).removeprefix("torch."),
            "device": str(bridge.original_model.device),
        }

    def start(self) -> None:
        """Begin with the next checkpoint."""
        self.values.append({})
        self.counted.append({})

    def add(self, reading: Reading, mark: Mask) -> None:
        """Reduce a reading of the latest checkpoint to its values."""
        counted, taken = reading.counted, torch.as_tensor(mark, device=reading.acts.device)
        # of a token named by its place neither role nor length matters
        if not is_point(self.position):
            self.n_excluded += reading.n_outliers
            self.n_sinks += int((~ordinary(reading.acts[counted].norm(dim=-1))).sum())
            taken = taken if self.position == ALL else counted
        with torch.inference_mode():
            reduced = self.reduce(reading.acts[taken])
        values = {name: value.cpu().numpy() for name, value in reduced.items()}
        if not self.values[0]:
            self._check_size(values["act"])
        self.values[-1][reading.row] = values
        self.counted[-1][reading.row] = counted.cpu().numpy()[mark]

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

    def dataset(self, kind: str, units: dict[str, Array]) -> xr.Dataset:
        """Variables of the hook with the coordinates of its prompts or tokens."""
        if kind == "activations" and self.n_heads:
            kind = "heads"
        keep, n_excluded = None, self.n_excluded
        if self.position == ALL:
            kind, keep = f"token_{kind}", self._ordinary_everywhere()
            units = {name: values[keep] for name, values in units.items()}
            n_excluded = int((~keep).sum()) * len(self.values)
        dims = schema.DATASETS[kind]
        arrays = {name: self._stack(name, keep) for name in dims}
        if kind.endswith("heads"):
            arrays["act"] = arrays["act"].reshape(*arrays["act"].shape[:2], self.n_heads, -1)
        coords: dict[str, Any] = {name: (dims["act"][1], v) for name, v in units.items()}
        for dim, size in zip(dims["act"][2:], arrays["act"].shape[2:], strict=True):
            coords[dim] = np.arange(size)
        attrs = {"kind": kind, "schema_version": SCHEMA_VERSION, **self.attrs}
        attrs |= {"n_excluded": n_excluded, "n_sinks": self.n_sinks}
        data = {name: (dims[name], array) for name, array in arrays.items()}
        return xr.Dataset(data, coords=coords, attrs=attrs)

    def _stack(self, name: str, keep: Mask | None) -> Array:
        """Values of a variable, dims (checkpoint, prompt or token, ...)."""
        checkpoints = []
        for values in self.values:
            rows = [values[row].pop(name) for row in range(len(values))]
            checkpoints.append(np.stack(rows) if keep is None else np.concatenate(rows)[keep])
        return np.stack(checkpoints)

    def _ordinary_everywhere(self) -> Mask:
        """Which tokens are an outlier in no checkpoint, so that all have the same tokens."""
        rows = [[counted[row] for row in range(len(counted))] for counted in self.counted]
        return np.all([np.concatenate(masks) for masks in rows], axis=0)


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
    table = table_of(prompts, "documents" if position == ANSWER else "prompts")
    models, names = distinct_checkpoints(checkpoints), schema.names(table)
    where, chats = as_tuple(where), list(table["messages"])
    columns = prompt_coords(table)
    if isinstance(prompts, pd.DataFrame) and len(prompts) == len(table):
        columns = prompt_coords(prompts) | columns  # what the readers did not need
    pools: dict[str, _Pool] = {}
    hashes: list[str] = []
    order: list[str] = []
    units: dict[str, Array] = {}
    for checkpoint in tqdm(models, desc=kind, delay=2, disable=len(models) < 2):
        bridge = boot(checkpoint, device=device, dtype=dtype)
        tokens = encode(bridge.tokenizer, chats)
        hashes.append(hash_tokens(tokens))
        check_same_tokens(hashes)
        marks = position_marks(position, tokens, chats, where=where, names=names)
        if not pools:
            n_rows = sum(int(m.sum()) for m in marks) if position == ALL else len(marks)
            order = [canonical(bridge, hook) for hook in hooks]
            for hook in order:
                pools[hook] = _Pool(bridge, hook, reduce, position, n_rows * len(models))
            units = {"prompt": np.asarray(names), **columns}
            if position == ALL:
                units = _token_units(units, token_coords(bridge.tokenizer, tokens, marks))
        for pool in pools.values():
            pool.start()
        for reading in readings(
            bridge, tokens, hooks=order, marks=marks, outlier=outlier, batch=batch
        ):
            if not at_point and not reading.counted.any():
                raise SchemaError(
                    f"prompt {names[reading.row]!r} has no token of the roles {', '.join(where)} "
                    "to average over; name others in where=, or use position='last'."
                )
            pools[reading.hook].add(reading, marks[reading.row])
    attrs: dict[str, Any] = {
        "token_ids": hashes[0],
        "position": str(position),
        "where": " ".join(where),
        "outlier": float(outlier),
    }
    coords = checkpoint_coords(models)
    return [
        pools[hook].dataset(kind, units).assign_coords(coords).assign_attrs(attrs) for hook in order
    ]


def _token_units(units: dict[str, Array], places: dict[str, Array]) -> dict[str, Array]:
    """Coordinates of every token: those of its prompt and its own."""
    rows = places.pop("row")
    return {**{name: values[rows] for name, values in units.items()}, **places}
