"""Which residuals do several checkpoints leave of the very same tokens?

The tokens are asserted, not assumed: every checkpoint's tokenizer must give the same ids. A token
that is an attention sink at any checkpoint is left out of all, so that row i is one token
everywhere.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.blocks import as_blocks
from persona_interp.dictionaries.harvest import CONTENT_ROLES, read_marked, sample_tokens
from persona_interp.dictionaries.recordings import Recordings
from persona_interp.dictionaries.scratch import room, take
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Tokens, hash_tokens, hash_weights, open_hooked
from persona_interp.models.boot import canonical
from persona_interp.models.inputs import list_checkpoints
from persona_interp.models.outliers import ordinary
from persona_interp.models.tokens import added_bos
from persona_interp.readers import read
from persona_interp.values import as_tuple

UNIQUE = 0.1
"""Share of the documents that must be different from all others; fewer are copies of a few."""
Checkpoints = Any
"""Checkpoints in any form that ``list_checkpoints`` takes, labels, or None."""


class SameTokens(NamedTuple):
    """Residuals of several checkpoints on the same tokens.

    Attributes:
        residuals: Dims (checkpoint, token, d_model); a tensor, in a file if it is large
            (``scratch``), or recordings on the disk that are indexed as one.
        documents: Document of every token, dims (token,); all alike where nobody said it.
        hook: Canonical name of the hook.
        provenance: Labels of the checkpoints, and where the residuals come from.
    """

    residuals: Any
    documents: np.ndarray
    hook: str
    provenance: dict[str, Any]


def same_tokens(
    checkpoints: Checkpoints = None,
    corpus: Any = None,
    *,
    hook: str = "",
    residuals: Any = None,
    documents: Any = None,
    n_tokens: int = 150_000,
    seed: int = 0,
    where: Iterable[str] = CONTENT_ROLES,
) -> SameTokens:
    """Residuals that several checkpoints leave of the same tokens at a hook.

    Args:
        checkpoints: Checkpoints in order, or a trajectory; beside ``residuals`` their labels.
        corpus: A corpus table, or anything that ``readers.read`` takes.
        hook: Hook name.
        residuals: Residuals instead of checkpoints and corpus, dims (checkpoint, token, d_model);
            or a recording of each checkpoint (``keep_activations``), all on the same tokens, which
            stay on the disk.
        documents: Beside ``residuals``: document of every token; recordings know theirs.
        n_tokens: Tokens of the corpus, at most.
        seed: Seed of the draw of documents.
        where: Roles of the tokens; all but special tokens by default.

    Returns:
        The residuals with their documents.

    Raises:
        ModelError: Neither or both of corpus and residuals; checkpoints whose tokenizers differ,
            recordings of other tokens, hooks or orders; labels or documents that do not match the
            residuals.
        SchemaError: No document has a token of these roles, a role is unknown, or the documents
            drawn are copies of each other.

    >>> same_tokens(["base", "tuned"], residuals=torch.zeros(2, 5, 3)).provenance["checkpoints"]
    ['base', 'tuned']
    """
    if (residuals is None) == (corpus is None):
        raise ModelError(
            "give either checkpoints and a corpus, or residuals= of dims (checkpoint, token, "
            "d_model); got " + ("both." if corpus is not None else "neither.")
        )
    if residuals is None:
        where = as_tuple(where)
        return _harvest(checkpoints, corpus, hook=hook, n_tokens=n_tokens, seed=seed, where=where)
    blocks = as_blocks(residuals)
    facts: dict[str, Any] = {"n_tokens": blocks.shape[1], "residuals": "given"}
    names: Iterable[Any] = range(len(blocks))
    if isinstance(blocks, Recordings):
        facts, hook = blocks.provenance, blocks.hook
        names = facts["checkpoints"]
        documents = blocks.documents if documents is None else documents
    labels = [str(getattr(one, "label", one)) for one in checkpoints or names]
    documents = np.zeros(blocks.shape[1], int) if documents is None else np.asarray(documents)
    for name, got, wanted in (
        ("labels of checkpoints", len(labels), len(blocks)),
        ("documents=", len(documents), blocks.shape[1]),
    ):
        if got != wanted:
            raise ModelError(
                f"residuals= of shape {tuple(blocks.shape)} take {wanted} {name}; got {got}."
            )
    return SameTokens(blocks, documents, hook, facts | {"checkpoints": labels})


def _harvest(
    checkpoints: Checkpoints,
    corpus: Any,
    *,
    hook: str,
    n_tokens: int,
    seed: int,
    where: tuple[str, ...],
) -> SameTokens:
    """Residuals of documents at each checkpoint."""
    corpus = read(corpus, "documents")
    several = list_checkpoints(checkpoints)
    labels = [checkpoint.label for checkpoint in several]
    tokens: Tokens | None = None
    ids, adds_bos = "", False
    marks: list[np.ndarray] = []
    parts: list[Tensor] = []
    for checkpoint in tqdm(several, desc="harvest", delay=2):
        model = open_hooked(checkpoint)
        hook = canonical(model, hook)
        own = sample_tokens(model.tokenizer, corpus, n_tokens=n_tokens, seed=seed, where=where)
        if tokens is None:
            tokens, ids = own, hash_tokens(own)
            marks = tokens.marks(where)
            adds_bos = added_bos(model.tokenizer) is not None
        if hash_tokens(own) != ids:
            raise ModelError(
                f"{checkpoint.label} does not read the same tokens as {labels[0]}: its tokenizer "
                "or chat template differs. Only checkpoints of one model can share features."
            )
        del own  # before the next are made, or three copies are in memory at once
        parts.append(read_marked(model, tokens, hook=hook, where=where, in_order=True))
    assert tokens is not None
    n_unique = len({tuple(row) for row in tokens.ids})
    if n_unique < UNIQUE * len(tokens.ids):
        raise SchemaError(
            f"{len(tokens.ids)} documents were drawn, only {n_unique} of them different; give a "
            "corpus without copies."
        )
    documents = np.concatenate([np.full(row.sum(), i) for i, row in enumerate(marks)])
    no_sink = torch.stack([ordinary(acts.norm(dim=-1)) for acts in parts]).all(dim=0)
    keep = torch.nonzero(no_sink)[:n_tokens, 0]
    provenance = {
        "checkpoints": labels,
        "weights": [hash_weights(checkpoint) for checkpoint in several],
        "token_ids": [ids],
        "n_tokens": len(keep),
        "n_documents": len(tokens.ids),
        "n_unique": n_unique,
        "n_excluded_sinks": int((~no_sink).sum()),
        "adds_bos": [adds_bos],
        "where": list(where),
    }
    kept = room(len(parts), len(keep), parts[0].shape[1])
    for i in range(len(parts)):
        take(parts[i], keep, into=kept[i])
        # one checkpoint after the other is let go, so that there are never two copies of all
        parts[i] = torch.empty(0)
    return SameTokens(kept, documents[keep.numpy()], hook, provenance)
