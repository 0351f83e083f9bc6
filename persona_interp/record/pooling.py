"""How do residuals become labelled numbers? The one place where torch ends and xarray begins.

``recorded`` runs every checkpoint over every prompt, picks the positions asked for, reduces them to
numbers and labels those. What ``activations`` and ``features`` add is only the reduction.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError, unknown
from persona_interp.models import Checkpoint, Tokens, boot, encode, hash_tokens, hash_weights
from persona_interp.models.boot import hidden
from persona_interp.models.outliers import SINK, ordinary

SCHEMA_VERSION = 1
WHERE = ("assistant", "text")
POSITIONS = ("last", "mean", "answer")
WORDS = (
    "context",
    "persona",
    "topic",
    "template",
    "split",
    "kind",
    "value",
)  # columns kept along prompt
WORDS += ("trait", "side", "role", "question")
NUMBERS = ("doc", "order", "held", "instruction", "sample", "n_tokens")
BATCH = 64  # prompts

Reduce = Callable[[Tensor], dict[str, Tensor]]


def recorded(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    kind: str,
    hooks: Sequence[str],
    position: str,
    where: Iterable[str] = WHERE,
    outlier: float = SINK,
    reduce: Reduce,
) -> list[xr.Dataset]:
    """What do the residuals of each prompt reduce to, in each checkpoint?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints with distinct labels.
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by
            ``doc``).
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
    listed, names = distinct(checkpoints), schema.names(prompts)
    where = (where,) if isinstance(where, str) else tuple(where)
    if position not in POSITIONS:
        raise SchemaError(unknown("position", position, POSITIONS))
    per_hook: dict[str, list[dict[str, np.ndarray]]] = {}
    hashes, dtypes, n_excluded, n_sinks = [], [], Counter[str](), Counter[str]()
    for checkpoint in tqdm(listed, desc=kind, delay=2, disable=len(listed) < 2):
        bridge = boot(checkpoint)
        tokens = encode(bridge.tokenizer, list(prompts["messages"]))
        hashes.append(hash_tokens(tokens))
        dtypes.append(str(bridge.cfg.dtype).removeprefix("torch."))
        marks = (
            answer_marks(tokens, prompts["messages"], where)
            if position == "answer"
            else tokens.marks(where)
        )
        rows: dict[str, dict[int, dict[str, np.ndarray]]] = {}
        for row, hook, acts, counted, n_outliers in readings(
            bridge, tokens, hooks=hooks, marks=marks, outlier=outlier
        ):
            if position != "last" and not counted.any():
                raise SchemaError(
                    f"prompt {names[row]!r} has no token of the roles {', '.join(where)} to "
                    "average over; name "
                    "others in where=, or use position='last'."
                )
            with torch.inference_mode():
                reduced = reduce(acts[-1:] if position == "last" else acts[counted])
            rows.setdefault(hook, {})[row] = {
                name: value.cpu().numpy() for name, value in reduced.items()
            }
            if position != "last":
                n_excluded[hook] += n_outliers
                n_sinks[hook] += int((~ordinary(acts[counted].norm(dim=-1))).sum())
        for hook, at in rows.items():
            whole = {name: np.stack([at[i][name] for i in range(len(at))]) for name in at[0]}
            per_hook.setdefault(hook, []).append(whole)
    same_tokens(hashes)
    said = {
        "token_ids": hashes[0],
        "position": position,
        "dtype": dtypes[0],
        "where": " ".join(where),
    }
    along = {"prompt": names, **_checkpoint_coords(listed)}
    along |= {c: ("prompt", prompts[c].to_numpy(object).astype(str)) for c in WORDS if c in prompts}
    along |= {c: ("prompt", prompts[c].to_numpy()) for c in NUMBERS if c in prompts}
    made = []
    for hook, parts in per_hook.items():
        attrs = {
            "kind": kind,
            "schema_version": SCHEMA_VERSION,
            "hook": hook,
            **said,
            "outlier": float(outlier),
        }
        attrs |= {"n_excluded": n_excluded[hook], "n_sinks": n_sinks[hook]}
        dims = schema.DATASETS[kind]
        data = {name: (dims[name], np.stack([part[name] for part in parts])) for name in dims}
        last = dims["act"][-1]
        coords = {**along, last: np.arange(data["act"][1].shape[-1])}
        made.append(xr.Dataset(data, coords=coords, attrs=attrs))
    return made


def readings(
    bridge: Any,
    tokens: Tokens,
    *,
    hooks: Sequence[str],
    marks: Sequence[np.ndarray],
    outlier: float,
) -> Iterator[tuple[int, str, Tensor, Tensor, int]]:
    """What is the residual at every token of every prompt, and which tokens count?

    Args:
        bridge: A booted model.
        tokens: Tokens of ``encode``.
        hooks: Hook names, all read in one run.
        marks: Which tokens of each row may count, of ``Tokens.marks``.
        outlier: Longest residual that counts, as a multiple of the median over the row's marked
            tokens.

    Yields:
        Row index; canonical name of the hook; residuals, dims (position, d_model), float32; which
        count, dims (position,); how many of those marked do not, because they are outliers.

    Raises:
        SchemaError: An outlier below 1.
        ModelError: A hook does not exist or did not fire.
    """
    if not outlier >= 1:
        raise SchemaError(
            f"outlier is a multiple of the median norm, at least 1; got {outlier}. math.inf keeps "
            "all."
        )
    for row, found in hidden(bridge, tokens, hooks=hooks, batch=BATCH):
        for hook, acts in found.items():
            acts = acts.float()
            marked = torch.as_tensor(marks[row], device=acts.device)
            counted = marked & ordinary(acts.norm(dim=-1), marked, outlier=outlier)
            yield row, hook, acts, counted, int(marked.sum() - counted.sum())


def answer_marks(tokens: Tokens, chats: Iterable[Any], where: Iterable[str]) -> list[np.ndarray]:
    """Which tokens have these roles and belong to the last message?

    Args:
        tokens: Tokens of these chats.
        chats: Lists of messages.
        where: Roles.

    Returns:
        Booleans of every row.
    """
    rows = zip(tokens.marks(where), tokens.turns, chats, strict=True)
    return [mark & (np.asarray(turns) == len(messages) - 1) for mark, turns, messages in rows]


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
        raise SchemaError(
            f"expected checkpoints with distinct labels, got {labels}; record one run at a time."
        )
    return listed


def same_tokens(hashes: list[str]) -> None:
    """Do all checkpoints read the same tokens?

    Args:
        hashes: ``hash_tokens`` of every checkpoint's tokens.

    Raises:
        ModelError: They do not.
    """
    if len(set(hashes)) > 1:
        raise ModelError(
            f"the checkpoints turn these prompts into different tokens ({hashes}); use one "
            "tokenizer."
        )


def _checkpoint_coords(listed: list[Checkpoint]) -> dict[str, Any]:
    return {
        "checkpoint": [c.label for c in listed],
        "stage": ("checkpoint", [c.stage for c in listed]),
        "step": ("checkpoint", [c.step for c in listed]),
        "seed": ("checkpoint", [c.seed for c in listed]),
        "weights": ("checkpoint", [hash_weights(c) for c in listed]),
    }
