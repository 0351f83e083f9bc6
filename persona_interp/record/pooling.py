"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``recorded`` runs every checkpoint over every prompt, picks the positions asked for, reduces them to numbers and labels
those. What ``activations`` and ``features`` add is only the reduction.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.dictionaries.harvest import ordinary
from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens, hash_weights, residuals
from persona_interp.models.boot import canonical

SCHEMA_VERSION = 1
CONTENT = ("assistant", "text")
POSITIONS = ("last", "mean")
ALONG_PROMPT = ("context", "persona", "topic", "template", "split", "kind")
BATCH = 64  # prompts

Reduce = Callable[[Tensor], dict[str, Tensor]]


def recorded(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    kind: str,
    hook: str,
    position: str,
    reduce: Reduce,
) -> xr.Dataset:
    """What do the residuals of each prompt reduce to, in each checkpoint?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes table (named by ``prompt``) or a corpus table (named by ``doc``).
        kind: Kind of Dataset, a key of ``schema.DATASETS``; names the variables and their dims.
        hook: Canonical hook name.
        position: "last" or "mean", see ``activations``.
        reduce: From the residuals of a prompt, dims (position, d_model), to each variable, its last dim if any.

    Returns:
        A Dataset of that kind. Coordinates: stage, step, seed, weights along checkpoint; what the table says of each
        prompt along prompt. Attributes: kind, schema_version, hook, token_ids, position, dtype.

    Raises:
        SchemaError: An empty table, repeated names or labels, an unknown position, a prompt without content tokens.
        ModelError: The hook does not exist, or the checkpoints do not share a tokenizer.
    """
    listed, names = _listed(checkpoints), _names(prompts)
    if position not in POSITIONS:
        raise SchemaError(unknown("position", position, POSITIONS))
    per_checkpoint, hashes, dtypes = [], [], []
    for checkpoint in tqdm(listed, desc=kind, delay=2, disable=len(listed) < 2):
        bridge = boot(checkpoint)
        hook = canonical(bridge, hook)
        tokens = encode(bridge.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(tokens))
        dtypes.append(str(bridge.cfg.dtype).removeprefix("torch."))
        per_checkpoint.append(_reduced(bridge, tokens, hook=hook, position=position, reduce=reduce))
    if len(set(hashes)) > 1:
        raise ModelError(f"the checkpoints turn these prompts into different tokens ({hashes}); use one tokenizer.")
    dims = schema.DATASETS[kind]
    data = {name: (dims[name], np.stack([part[name] for part in per_checkpoint])) for name in dims}
    attrs = {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "hook": hook,
        "token_ids": hashes[0],
        "position": position,
        "dtype": dtypes[0],
    }
    last = dims["act"][-1]
    coords: dict[str, Any] = {"prompt": names, last: np.arange(data["act"][1].shape[-1]), **_checkpoint_coords(listed)}
    coords |= {c: ("prompt", prompts[c].to_numpy(object).astype(str)) for c in ALONG_PROMPT if c in prompts}
    return xr.Dataset(data, coords=coords, attrs=attrs)


def _listed(checkpoints: Checkpoint | Iterable[Checkpoint]) -> list[Checkpoint]:
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    labels = [c.label for c in listed]
    if not labels or len(set(labels)) < len(labels):
        raise SchemaError(f"expected checkpoints with distinct labels, got {labels}; record one run at a time.")
    return listed


def _names(prompts: pd.DataFrame) -> np.ndarray:
    column = "prompt" if "prompt" in prompts else "doc"
    schema.check(prompts, "probes" if column == "prompt" else "corpus")
    twice = list(prompts[column][prompts[column].duplicated()])
    if twice:
        raise SchemaError(f"every prompt needs a name of its own; {column} {twice[0]!r} occurs twice.")
    return prompts[column].to_numpy()


def _checkpoint_coords(listed: list[Checkpoint]) -> dict[str, Any]:
    return {
        "checkpoint": [c.label for c in listed],
        "stage": ("checkpoint", [c.stage for c in listed]),
        "step": ("checkpoint", [c.step for c in listed]),
        "seed": ("checkpoint", [c.seed for c in listed]),
        "weights": ("checkpoint", [hash_weights(c) for c in listed]),
    }


@torch.inference_mode()
def _reduced(bridge: Any, tokens: Tokens, *, hook: str, position: str, reduce: Reduce) -> dict[str, np.ndarray]:
    """Each variable of one checkpoint, dims (prompt, ...), float32."""
    rows: dict[int, dict[str, np.ndarray]] = {}
    for row, acts in residuals(bridge, tokens, hook=hook, batch=BATCH):
        picked = (acts[-1:] if position == "last" else acts[_content(tokens, row)]).float()
        if not len(picked):
            raise SchemaError(f"prompt {row} has no assistant or text token to average over; use position='last'.")
        if position == "mean":
            picked = picked[ordinary(picked.norm(dim=-1))]
        rows[row] = {name: value.cpu().numpy() for name, value in reduce(picked).items()}
    return {name: np.stack([rows[i][name] for i in range(len(rows))]) for name in rows[0]}


def _content(tokens: Tokens, row: int) -> Tensor:
    return torch.as_tensor(np.isin(np.asarray(tokens.roles[row]), CONTENT))
