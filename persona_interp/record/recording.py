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
from persona_interp.models import Checkpoint, encode, hash_tokens, open_hooked
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import SINK, ordinary_rows
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
    Group,
    Mask,
    Position,
    group_readings,
    is_point,
    position_marks,
    sum_rows,
)
from persona_interp.values import as_tuple

SCHEMA_VERSION = 1
LARGEST = 8 * 2**30
"""Most bytes of one variable."""

Reduce = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""From residuals of the tokens taken, dims (token, d_model), prompt behind prompt, and how many
each prompt has, to variables of dims (prompt, ...), or (token, ...) at position "all"."""


class _Pool:
    """Values of one hook while the prompts are run, and what they left out or took in."""

    def __init__(
        self, model: Any, hook: str, reduce: Reduce, position: Position, most_rows: int
    ) -> None:
        self.hook, self.reduce, self.position = hook, reduce, position
        self.n_heads = model.cfg.n_heads if is_heads(hook) else 0
        self.most_rows = most_rows  # of the result, over all checkpoints
        self.values: list[dict[int, dict[str, Array]]] = []  # of each checkpoint, by prompt
        self.counted: list[dict[int, Mask]] = []
        self.n_excluded = self.n_sinks = 0
        self.attrs = {
            "hook": hook,
            "older_names": " ".join(older_names(model, hook)),
            "dtype": str(model.cfg.dtype).removeprefix("torch."),
            "device": str(model.original_model.device),
        }

    def start(self) -> None:
        """Begin with the next checkpoint."""
        self.values.append({})
        self.counted.append({})

    @torch.inference_mode()
    def add(self, group: Group) -> None:
        """Reduce a group of prompts of the latest checkpoint to their values, where they are."""
        mark, taken = group.mark, group.mark
        # of a token named by its place neither role nor length matters
        if not is_point(self.position):
            taken = taken if self.position == ALL else group.counted
            norms = group.acts.norm(dim=-1)
            sinks = group.counted & ~ordinary_rows(norms, group.counted, group.sizes)
            self.n_excluded += int((mark & ~group.counted).sum())
            self.n_sinks += int(sinks.sum())
        sizes = sum_rows(taken.float(), group.sizes).long()
        reduced = self.reduce(group.acts[taken], sizes)
        values = {name: value.cpu().numpy() for name, value in reduced.items()}
        if not self.values[0]:
            self._check_size(values["act"])
        if self.position != ALL:
            for i, row in enumerate(group.rows):
                self.values[-1][row] = {name: array[i] for name, array in values.items()}
            return
        stops = np.cumsum(sizes.tolist())
        counted = group.counted[mark].cpu().numpy()
        for row, start, stop in zip(group.rows, [0, *stops], stops, strict=False):
            self.values[-1][row] = {name: array[start:stop] for name, array in values.items()}
            self.counted[-1][row] = counted[start:stop]

    def _check_size(self, act: Array) -> None:
        """Refuse a result that would not fit into memory, before more of it is computed."""
        each = act[0]
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
    reads: Sequence[tuple[str, Reduce]],
    position: Position,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
    open_model: Callable[..., Any] | None = None,
) -> list[xr.Dataset]:
    """Datasets of what the residuals of each prompt reduce to, in each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        kind: "activations" or "features"; with hook and position it is the kind of Dataset.
        reads: Hook names, all read in one run of the model, and what is made of each.
        position: See ``activations``.
        where: Roles of the tokens taken.
        outlier: Longest residual taken, as a multiple of the prompt's median.
        device: Where to compute; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.
        open_model: Gives the model of a checkpoint, ready to be read, where it is open already.
            By default each is opened (``open_hooked``).

    Returns:
        A Dataset for each of ``reads``, as ``activations`` says.

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
    pools: list[_Pool] = []
    hashes: list[str] = []
    units: dict[str, Array] = {}
    for checkpoint in tqdm(models, desc=kind, delay=2, disable=len(models) < 2):
        model = (open_model or open_hooked)(checkpoint, device=device, dtype=dtype)
        tokens = encode(model.tokenizer, chats)
        hashes.append(hash_tokens(tokens))
        check_same_tokens(hashes)
        marks = position_marks(position, tokens, chats, where=where, names=names)
        if not pools:
            n_rows = sum(int(m.sum()) for m in marks) if position == ALL else len(marks)
            for hook, reduce in reads:
                hook = canonical(model, hook)
                pools.append(_Pool(model, hook, reduce, position, n_rows * len(models)))
            units = {"prompt": np.asarray(names), **columns}
            if position == ALL:
                units = _token_units(units, token_coords(model.tokenizer, tokens, marks))
        if not at_point:
            _check_marked(marks, names, where)
        for pool in pools:
            pool.start()
        hooks = list(dict.fromkeys(pool.hook for pool in pools))
        for group in group_readings(
            model, tokens, hooks=hooks, marks=marks, outlier=outlier, batch=batch
        ):
            for pool in pools:
                if pool.hook == group.hook:
                    pool.add(group)
    attrs: dict[str, Any] = {
        "token_ids": hashes[0],
        "position": str(position),
        "where": " ".join(where),
        "outlier": float(outlier),
    }
    coords = checkpoint_coords(models)
    return [pool.dataset(kind, units).assign_coords(coords).assign_attrs(attrs) for pool in pools]


def _check_marked(marks: Sequence[Mask], names: Sequence[Any], where: tuple[str, ...]) -> None:
    """Refuse a prompt that has nothing to average over."""
    for name, mark in zip(names, marks, strict=True):
        if not mark.any():
            raise SchemaError(
                f"prompt {name!r} has no token of the roles {', '.join(where)} to average over; "
                "name others in where=, or use position='last'."
            )


def _token_units(units: dict[str, Array], places: dict[str, Array]) -> dict[str, Array]:
    """Coordinates of every token: those of its prompt and its own."""
    rows = places.pop("row")
    return {**{name: values[rows] for name, values in units.items()}, **places}
