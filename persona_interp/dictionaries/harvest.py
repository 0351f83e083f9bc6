"""Which residuals is a dictionary trained on and judged by?

Those of some roles, by default of all but special tokens such as BOS, and never padding. Attention
sinks, whose residuals are 100 times longer than all others, are left out too (longer than 10 times
the median) and counted.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import (
    ROLES,
    Checkpoint,
    Tokens,
    boot,
    encode,
    hash_tokens,
    hash_weights,
    residuals,
)
from persona_interp.models.boot import canonical
from persona_interp.models.outliers import ordinary
from persona_interp.models.tokens import added_bos

WHERE = tuple(role for role in ROLES if role != "special")
BATCH = 32  # documents


class Harvest(NamedTuple):
    """Residuals of content tokens and where they come from.

    Attributes:
        acts: Residuals, dims (token, d_model).
        hook: Canonical name of the hook.
        provenance: Checkpoints, hashes, documents, tokens kept and tokens left out.
    """

    acts: Tensor
    hook: str
    provenance: dict[str, Any]


def some_tokens(
    tokenizer: Any, corpus: pd.DataFrame, *, n_tokens: int, seed: int, where: Iterable[str] = WHERE
) -> Tokens:
    """Which documents hold about this many tokens of these roles? Drawn without replacement; all when there are fewer.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        corpus: A corpus table.
        n_tokens: Tokens wanted.
        seed: Seed of the draw.
        where: Their roles.

    Returns:
        Tokens of the documents drawn.

    Raises:
        SchemaError: No document has such a token, or a role is unknown.
    """
    documents = list(corpus["messages"].sample(frac=1, random_state=seed))
    trial = encode(tokenizer, documents[:200], complete=True)
    per_document = float(np.mean([marks.sum() for marks in trial.marks(where)]))
    if not per_document:
        raise SchemaError(
            f"this corpus has no tokens of the roles {', '.join(where)}; name roles that it has."
        )
    needed = int(np.ceil(1.1 * n_tokens / per_document))
    return encode(tokenizer, documents[:needed], complete=True)


def harvest(
    checkpoints: Sequence[Checkpoint],
    corpus: pd.DataFrame,
    *,
    hook: str,
    n_tokens: int,
    seed: int,
    where: Iterable[str] = WHERE,
) -> Harvest:
    """Which residuals do these documents leave at the hook?

    Args:
        checkpoints: Where the residuals come from; each gives an equal share of the tokens, from
            documents of its own.
        corpus: A corpus table.
        hook: Hook name.
        n_tokens: Tokens wanted in all.
        seed: Seed of the draw of documents.
        where: Roles of the tokens; all but special tokens by default.

    Returns:
        The residuals, at most ``n_tokens``, with their provenance.

    Raises:
        ModelError: The hook does not exist.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    schema.check(corpus, "corpus")
    where = (where,) if isinstance(where, str) else tuple(where)
    share, parts, hashes, sinks, bos = -(-n_tokens // len(checkpoints)), [], [], 0, []
    for i, checkpoint in enumerate(tqdm(checkpoints, desc="harvest", delay=2)):
        bridge = boot(checkpoint)
        hook = canonical(bridge, hook)
        tokens = some_tokens(bridge.tokenizer, corpus, n_tokens=share, seed=seed + i, where=where)
        marks = tokens.marks(where)
        rows = [
            acts[torch.as_tensor(marks[row])]
            for row, acts in residuals(bridge, tokens, hook=hook, batch=BATCH)
        ]
        acts = torch.cat(rows).float()
        kept = ordinary(acts.norm(dim=-1))
        sinks += int((~kept).sum())
        acts = acts[
            kept
        ]  # rows come sorted by length: cut a random rest, not the longest documents
        parts.append(
            acts[
                torch.randperm(len(acts), generator=torch.Generator().manual_seed(seed + i))[:share]
            ]
        )
        hashes.append(hash_tokens(tokens))
        bos.append(added_bos(bridge.tokenizer) is not None)
    acts = torch.cat(parts)[:n_tokens]
    provenance = {
        "checkpoints": [c.label for c in checkpoints],
        "weights": [hash_weights(c) for c in checkpoints],
        "token_ids": hashes,
        "n_tokens": len(acts),
        "n_excluded_sinks": sinks,
        "adds_bos": bos,
        "where": list(where),
    }
    return Harvest(acts, hook, provenance)
