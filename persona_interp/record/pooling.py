"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``reduce_residuals`` runs every checkpoint over every prompt, takes the positions asked for, reduces
them to numbers and labels those. What ``activations`` and ``features`` add is only the reduction.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens, hash_weights
from persona_interp.models.boot import hidden
from persona_interp.models.inputs import as_tuple
from persona_interp.models.outliers import SINK, ordinary
from persona_interp.readers import table_of
from persona_interp.record.inputs import check_same_tokens, distinct_checkpoints

SCHEMA_VERSION = 1
WHERE = ("assistant", "text")
POSITIONS = ("last", "mean", "answer")

# columns of a prompts table that become coordinates along prompt, where the table has them
TEXT_COLUMNS = ("context", "persona", "topic", "template", "split", "kind", "value")
TEXT_COLUMNS += ("stated", "trait", "side", "role", "question")
NUMBER_COLUMNS = ("doc", "order", "held", "instruction", "sample", "n_tokens")

Mask = npt.NDArray[np.bool_]
Values = dict[str, npt.NDArray[Any]]
Reduce = Callable[[Tensor], dict[str, Tensor]]


class Reading(NamedTuple):
    """Residuals of one prompt at one hook.

    Attributes:
        row: Number of the prompt.
        hook: Canonical name of the hook.
        acts: Residuals, dims (position, d_model), float32.
        counted: Which tokens count, dims (position,).
        n_outliers: Tokens of the roles asked for that do not count, because they are outliers.
    """

    row: int
    hook: str
    acts: Tensor
    counted: Tensor
    n_outliers: int


@dataclass
class _Pool:
    """Values of one hook while the prompts are run, and what the averages left out or took in."""

    checkpoints: list[dict[int, Values]] = field(default_factory=list)  # values by prompt
    counts: Counter[str] = field(default_factory=Counter)

    def stack(self, name: str) -> npt.NDArray[Any]:
        """Values of a variable, dims (checkpoint, prompt, ...)."""
        checkpoints = []
        for values in self.checkpoints:
            checkpoints.append(np.stack([values[row][name] for row in range(len(values))]))
        return np.stack(checkpoints)


def reduce_residuals(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    kind: str,
    hooks: Sequence[str],
    position: str,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    reduce: Reduce,
) -> list[xr.Dataset]:
    """Datasets of what the residuals of each prompt reduce to, in each checkpoint.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``), a corpus table (named by
            ``doc``), or anything that ``readers.read`` takes.
        kind: Kind of Dataset, a key of ``schema.DATASETS``; names the variables and their dims.
        hooks: Hook names, all read in one run of the model.
        position: "last", "mean" or "answer", see ``activations``.
        where: Roles of the tokens that "mean" takes.
        outlier: Longest residual that "mean" takes, as a multiple of the prompt's median.
        reduce: From the residuals of a prompt, dims (position, d_model), to each variable, its last
            dim if any.

    Returns:
        A Dataset of that kind for each hook. Coordinates: stage, step, seed, weights along
        checkpoint; what the table says of each prompt along prompt. Attributes: kind,
        schema_version, hook, token_ids, position, dtype, where (roles set apart by spaces),
        outlier, n_excluded (outliers left out, over all checkpoints and prompts), n_sinks (tokens
        averaged over that are longer than ten times the median of those averaged over).

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt
            without such tokens, an outlier below 1.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.
    """
    prompts = table_of(prompts, "prompts")
    models, names = distinct_checkpoints(checkpoints), schema.names(prompts)
    where = as_tuple(where)
    if position not in POSITIONS:
        raise SchemaError(unknown("position", position, POSITIONS))
    pools: dict[str, _Pool] = {}
    hashes, dtypes = [], []
    for checkpoint in tqdm(models, desc=kind, delay=2, disable=len(models) < 2):
        bridge = boot(checkpoint)
        tokens = encode(bridge.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(tokens))
        dtypes.append(str(bridge.cfg.dtype).removeprefix("torch."))
        marks = tokens.marks(where)
        if position == "answer":
            marks = answer_marks(tokens, prompts["messages"], where)
        values: dict[str, dict[int, Values]] = {}
        for reading in readings(bridge, tokens, hooks=hooks, marks=marks, outlier=outlier):
            if position != "last" and not reading.counted.any():
                raise SchemaError(
                    f"prompt {names[reading.row]!r} has no token of the roles {', '.join(where)} "
                    "to average over; name others in where=, or use position='last'."
                )
            # "last" is the last token whatever its role or length: nothing is counted there
            pool = pools.setdefault(reading.hook, _Pool())
            if position == "last":
                acts = reading.acts[-1:]
            else:
                acts = reading.acts[reading.counted]
                pool.counts["n_excluded"] += reading.n_outliers
                pool.counts["n_sinks"] += int((~ordinary(acts.norm(dim=-1))).sum())
            values.setdefault(reading.hook, {})[reading.row] = _reduce(acts, reduce)
        for hook, rows in values.items():
            pools[hook].checkpoints.append(rows)
    check_same_tokens(hashes)
    coords = _checkpoint_coords(models) | _prompt_coords(prompts, names)
    provenance = {
        "token_ids": hashes[0],
        "position": position,
        "dtype": dtypes[0],
        "where": " ".join(where),
        "outlier": float(outlier),
    }
    dims = schema.DATASETS[kind]
    last = dims["act"][-1]  # d_model or feature
    datasets = []
    for hook, pool in pools.items():
        data = {name: (dims[name], pool.stack(name)) for name in dims}
        numbers = np.arange(data["act"][1].shape[-1])
        attrs = {"kind": kind, "schema_version": SCHEMA_VERSION, "hook": hook, **provenance}
        attrs |= {name: pool.counts[name] for name in ("n_excluded", "n_sinks")}
        datasets.append(xr.Dataset(data, coords={**coords, last: numbers}, attrs=attrs))
    return datasets


def readings(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    marks: Sequence[Mask],
    outlier: float,
) -> Iterator[Reading]:
    """Residuals at every token of every prompt, and which tokens count.

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hooks: Hook names, all read in one run.
        marks: Which tokens of each row may count, of ``Tokens.marks``.
        outlier: Longest residual that counts, as a multiple of the median over the row's marked
            tokens.

    Yields:
        A reading of each row and hook, in order of length.

    Raises:
        SchemaError: An outlier below 1.
        ModelError: A hook does not exist, did not fire, or holds more than one vector a token.
    """
    if not outlier >= 1:
        raise SchemaError(
            f"outlier is a multiple of the median norm, at least 1; got {outlier}. math.inf keeps "
            "all."
        )
    for row, residuals in hidden(bridge, tokens, hooks=hooks):
        for hook, acts in residuals.items():
            if acts.ndim != 2:
                raise ModelError(
                    f"hook '{hook}' holds {tuple(acts.shape)} at {len(marks[row])} tokens, not one "
                    "vector a token: it is split by heads. Use a residual, blocks.0.hook_out."
                )
            acts = acts.float()
            mark = torch.as_tensor(marks[row], device=acts.device)
            # attention sinks are hundreds of times longer: one of them would be the whole mean
            counted = mark & ordinary(acts.norm(dim=-1), mark, outlier=outlier)
            yield Reading(row, hook, acts, counted, int(mark.sum() - counted.sum()))


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


@torch.inference_mode()
def _reduce(acts: Tensor, reduce: Reduce) -> Values:
    return {name: value.cpu().numpy() for name, value in reduce(acts).items()}


def _checkpoint_coords(checkpoints: list[Checkpoint]) -> dict[str, Any]:
    return {
        "checkpoint": [c.label for c in checkpoints],
        "stage": ("checkpoint", [c.stage for c in checkpoints]),
        "step": ("checkpoint", [c.step for c in checkpoints]),
        "seed": ("checkpoint", [c.seed for c in checkpoints]),
        "weights": ("checkpoint", [hash_weights(c) for c in checkpoints]),
    }


def _prompt_coords(prompts: pd.DataFrame, names: Any) -> dict[str, Any]:
    coords: dict[str, Any] = {"prompt": names}
    for column in TEXT_COLUMNS:
        if column in prompts:
            coords[column] = ("prompt", prompts[column].to_numpy(object).astype(str))
    for column in NUMBER_COLUMNS:
        if column in prompts:
            coords[column] = ("prompt", prompts[column].to_numpy())
    return coords
