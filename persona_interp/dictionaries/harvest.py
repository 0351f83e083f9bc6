"""Which residuals is a dictionary trained on and judged by?

Those of some roles, by default of all but special tokens such as BOS, and never padding. Attention
sinks, whose residuals are 100 times longer than all others, are left out too (longer than 10 times
the median) and counted.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.scratch import put_together, room, take
from persona_interp.errors import SchemaError
from persona_interp.models import (
    ROLES,
    Checkpoint,
    Tokens,
    encode,
    hash_tokens,
    hash_weights,
    open_hooked,
)
from persona_interp.models.boot import hidden
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.outliers import ordinary
from persona_interp.models.sites import canonical
from persona_interp.models.tokens import added_bos
from persona_interp.readers import read
from persona_interp.values import as_tuple, check_count

CONTENT_ROLES = tuple(role for role in ROLES if role != "special")
TRIAL = 200
"""Documents that are tokenized to learn how many tokens a document has."""


class Harvest(NamedTuple):
    """Residuals of content tokens and where they come from.

    Attributes:
        acts: Residuals, dims (token, d_model), float32 on the CPU; large ones lie on the disk
            (``scratch``).
        hook: Canonical name of the hook.
        provenance: Checkpoints, hashes, roles, number of tokens and of attention sinks left out.
    """

    acts: Tensor
    hook: str
    provenance: dict[str, Any]


def sample_tokens(
    tokenizer: Any,
    corpus: Any,
    *,
    n_tokens: int,
    seed: int,
    where: Iterable[str] = CONTENT_ROLES,
) -> Tokens:
    """Tokens of documents that hold about this many of these roles; of all where there are fewer.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        corpus: A corpus table.
        n_tokens: How many tokens of these roles.
        seed: Seed of the draw, which is without replacement.
        where: Their roles.

    Returns:
        Tokens of the documents, all roles included.

    Raises:
        SchemaError: No document has such a token, or a role is unknown.
    """
    check_count(n_tokens, "n_tokens")
    documents = list(corpus["messages"].sample(frac=1, random_state=seed))
    trial = encode(tokenizer, documents[:TRIAL], complete=True)
    per_document = float(np.mean([marks.sum() for marks in trial.marks(where)]))
    if not per_document:
        raise SchemaError(
            f"this corpus has no tokens of the roles {', '.join(where)}; name roles that it has."
        )
    # a tenth more, since the documents after the trial may be shorter
    n_documents = int(np.ceil(1.1 * n_tokens / per_document))
    return encode(tokenizer, documents[:n_documents], complete=True)


def harvest(
    checkpoints: Sequence[Checkpoint],
    corpus: Any,
    *,
    hook: str,
    n_tokens: int,
    seed: int,
    where: Iterable[str] = CONTENT_ROLES,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> Harvest:
    """Residuals that documents leave at a hook, one row a token.

    Args:
        checkpoints: Where the residuals come from; each gives an equal share of the tokens, from
            documents of its own.
        corpus: A corpus table, or anything that ``readers.read`` takes.
        hook: Hook name.
        n_tokens: Tokens in all, at most.
        seed: Seed of the draw of documents.
        where: Roles of the tokens; all but special tokens by default.
        device: Where the models compute; by default "cuda" where there is one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        The residuals, at most ``n_tokens``, with their provenance.

    Raises:
        ModelError: The hook does not exist, or there is no such device or dtype.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    corpus = read(corpus, "documents")
    where = as_tuple(where)
    share = math.ceil(n_tokens / len(checkpoints))
    parts: list[Tensor] = []
    hashes: list[str] = []
    adds_bos: list[bool] = []
    n_sinks = 0
    for i, checkpoint in enumerate(tqdm(checkpoints, desc="harvest", delay=2)):
        model = open_hooked(checkpoint, device=device, dtype=dtype)
        hook = canonical(model, hook)
        tokens = sample_tokens(model.tokenizer, corpus, n_tokens=share, seed=seed + i, where=where)
        acts = read_marked(model, tokens, hook=hook, where=where, batch=batch)
        no_sink = ordinary(acts.norm(dim=-1))
        n_sinks += int((~no_sink).sum())
        rows = torch.nonzero(no_sink)[:, 0]
        # rows come sorted by length: what is over is cut at random, or the longest documents go
        generator = torch.Generator().manual_seed(seed + i)
        parts.append(take(acts, rows[torch.randperm(len(rows), generator=generator)[:share]]))
        hashes.append(hash_tokens(tokens))
        adds_bos.append(added_bos(model.tokenizer) is not None)
    acts = put_together(parts)[:n_tokens]
    provenance = {
        "checkpoints": [checkpoint.label for checkpoint in checkpoints],
        "weights": [hash_weights(checkpoint) for checkpoint in checkpoints],
        "token_ids": hashes,
        "n_tokens": len(acts),
        "n_excluded_sinks": n_sinks,
        "adds_bos": adds_bos,
        "where": list(where),
    }
    return Harvest(acts, hook, provenance)


def read_marked(
    model: Any,
    tokens: Tokens,
    *,
    hook: str,
    where: Iterable[str],
    batch: Batch = AUTO,
    in_order: bool = False,
) -> Tensor:
    """Residuals of the tokens of some roles.

    Args:
        model: A model of ``open_hooked``, or a booted one.
        tokens: Tokens of ``encode``.
        hook: Hook name.
        where: Roles of the tokens.
        batch: Tokens a forward pass; "auto": what fits into memory.
        in_order: Whether rows come in the order of their numbers, not as they are read.

    Returns:
        Dims (token, d_model), float32 on the CPU: a device has no room for many of them.
    """
    read = hidden(model, tokens, hooks=[hook], batch=batch)
    rows = ((row, next(iter(acts.values()))) for row, acts in read)
    return gather(rows, tokens.marks(where), in_order=in_order)


def gather(
    rows: Iterable[tuple[int, Tensor]], marks: Sequence[np.ndarray], *, in_order: bool = False
) -> Tensor:
    """Residuals of marked tokens, put together.

    Args:
        rows: Row and its residuals, dims (position, d_model).
        marks: Which tokens of each row.
        in_order: Whether rows come in the order of their numbers, not as they are read.

    Returns:
        Dims (token, d_model), float32 on the CPU.

    >>> rows, marks = [(1, torch.ones(1, 2)), (0, torch.zeros(2, 2))], [[True, False], [True]]
    >>> gather(rows, [np.array(mark) for mark in marks], in_order=True).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    sizes = [int(mark.sum()) for mark in marks]
    starts = [0, *np.cumsum(sizes).tolist()]
    kept = torch.empty(0)
    done = 0
    for row, acts in rows:
        if not len(kept):
            # of all tokens at once: parts that are put together later are in memory twice
            kept = room(starts[-1], acts.shape[1])
        start = starts[row] if in_order else done
        mark = torch.as_tensor(marks[row], device=acts.device)
        kept[start : start + sizes[row]] = acts if sizes[row] == len(acts) else acts[mark]
        done += sizes[row]
    return kept
