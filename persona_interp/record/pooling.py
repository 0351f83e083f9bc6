"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``recorded`` runs every checkpoint over every prompt, picks the positions asked for, reduces them to numbers and labels
those. What ``activations`` and ``features`` add is only the reduction.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.harvest import SINK, ordinary
from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens, hash_weights, residuals
from persona_interp.models.boot import canonical

SCHEMA_VERSION = 1
WHERE = ("assistant", "text")
POSITIONS = ("last", "mean")
WORDS = ("context", "persona", "topic", "template", "split", "kind", "value")  # columns kept along prompt
NUMBERS = ("doc", "order", "held")
BATCH = 64  # prompts

Reduce = Callable[[Tensor], dict[str, Tensor]]


def recorded(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    kind: str,
    hook: str,
    position: str,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    reduce: Reduce,
) -> xr.Dataset:
    """What do the residuals of each prompt reduce to, in each checkpoint?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by ``doc``).
        kind: Kind of Dataset, a key of ``schema.DATASETS``; names the variables and their dims.
        hook: Canonical hook name.
        position: "last" or "mean", see ``activations``.
        where: Roles of the tokens that "mean" takes.
        outlier: Longest residual that "mean" takes, as a multiple of the prompt's median.
        reduce: From the residuals of a prompt, dims (position, d_model), to each variable, its last dim if any.

    Returns:
        A Dataset of that kind. Coordinates: stage, step, seed, weights along checkpoint; what the table says of each
        prompt along prompt. Attributes: kind, schema_version, hook, token_ids, position, dtype, where (roles set
        apart by spaces), outlier, n_excluded (outliers left out, over all checkpoints and prompts).

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position or role, a prompt without
            such tokens, an outlier below 1.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.
    """
    listed, names = distinct(checkpoints), schema.names(prompts)
    where = (where,) if isinstance(where, str) else tuple(where)
    if position not in POSITIONS:
        raise SchemaError(unknown("position", position, POSITIONS))
    per_checkpoint, hashes, dtypes, n_excluded = [], [], [], 0
    for checkpoint in tqdm(listed, desc=kind, delay=2, disable=len(listed) < 2):
        bridge = boot(checkpoint)
        hook = canonical(bridge, hook)
        tokens = encode(bridge.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(tokens))
        dtypes.append(str(bridge.cfg.dtype).removeprefix("torch."))
        rows: dict[int, dict[str, np.ndarray]] = {}
        for row, acts, counted, n_outliers in readings(bridge, tokens, hook=hook, where=where, outlier=outlier):
            if position == "mean" and not counted.any():
                raise SchemaError(
                    f"prompt {names[row]!r} has no token of the roles {', '.join(where)} to average over; name "
                    "others in where=, or use position='last'."
                )
            with torch.inference_mode():
                reduced = reduce(acts[-1:] if position == "last" else acts[counted])
            rows[row] = {name: value.cpu().numpy() for name, value in reduced.items()}
            n_excluded += n_outliers if position == "mean" else 0
        per_checkpoint.append({name: np.stack([rows[i][name] for i in range(len(rows))]) for name in rows[0]})
    same_tokens(hashes)
    dims = schema.DATASETS[kind]
    data = {name: (dims[name], np.stack([part[name] for part in per_checkpoint])) for name in dims}
    attrs = {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "hook": hook,
        "token_ids": hashes[0],
        "position": position,
        "dtype": dtypes[0],
        "where": " ".join(where),
        "outlier": float(outlier),
        "n_excluded": n_excluded,
    }
    last = dims["act"][-1]
    coords: dict[str, Any] = {"prompt": names, last: np.arange(data["act"][1].shape[-1]), **_checkpoint_coords(listed)}
    coords |= {c: ("prompt", prompts[c].to_numpy(object).astype(str)) for c in WORDS if c in prompts}
    coords |= {c: ("prompt", prompts[c].to_numpy()) for c in NUMBERS if c in prompts}
    return xr.Dataset(data, coords=coords, attrs=attrs)


def readings(
    bridge: Any, tokens: Tokens, *, hook: str, where: Iterable[str], outlier: float
) -> Iterator[tuple[int, Tensor, Tensor, int]]:
    """What is the residual at every token of every prompt, and which tokens count?

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hook: Hook name.
        where: Roles of the tokens that count.
        outlier: Longest residual that counts, as a multiple of the median over the prompt's tokens of these roles.

    Yields:
        Row index; residuals, dims (position, d_model), float32; which count, dims (position,); how many tokens of
        these roles do not, because they are outliers.

    Raises:
        SchemaError: An unknown role, or an outlier below 1.
        ModelError: The hook does not exist or did not fire.
    """
    if not outlier >= 1:
        raise SchemaError(f"outlier is a multiple of the median norm, at least 1; got {outlier}. math.inf keeps all.")
    marks = tokens.marks(where)
    for row, acts in residuals(bridge, tokens, hook=hook, batch=BATCH):
        acts = acts.float()
        marked = torch.as_tensor(marks[row], device=acts.device)
        counted = marked & ordinary(acts.norm(dim=-1), marked, outlier=outlier)
        yield row, acts, counted, int(marked.sum() - counted.sum())


def distinct(checkpoints: Checkpoint | Iterable[Checkpoint]) -> list[Checkpoint]:
    """Which checkpoints are these? At least one, with distinct labels.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.

    Returns:
        Them as a list.

    Raises:
        SchemaError: There is none, or two share a label.
    """
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    labels = [c.label for c in listed]
    if not labels or len(set(labels)) < len(labels):
        raise SchemaError(f"expected checkpoints with distinct labels, got {labels}; record one run at a time.")
    return listed


def same_tokens(hashes: list[str]) -> None:
    """Do all checkpoints read the same tokens?

    Args:
        hashes: ``hash_tokens`` of every checkpoint's tokens.

    Raises:
        ModelError: They do not.
    """
    if len(set(hashes)) > 1:
        raise ModelError(f"the checkpoints turn these prompts into different tokens ({hashes}); use one tokenizer.")


def _checkpoint_coords(listed: list[Checkpoint]) -> dict[str, Any]:
    return {
        "checkpoint": [c.label for c in listed],
        "stage": ("checkpoint", [c.stage for c in listed]),
        "step": ("checkpoint", [c.step for c in listed]),
        "seed": ("checkpoint", [c.seed for c in listed]),
        "weights": ("checkpoint", [hash_weights(c) for c in listed]),
    }
