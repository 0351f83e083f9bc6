"""Which documents does every step see? Seeded, the same on every machine.

Documents are seen once in a seeded order, cycled when there are more steps, and batched with others
of about their length. Replayed documents take seeded places in every batch; which other documents a
step sees does not depend on them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.models.stage import Stage
from persona_interp.models.tokens import Tokens

PADDING = 0.25  # share of padding above which more batches are sorted by length together
IGNORE = -100  # the label that PyTorch's cross-entropy and so the Trainer leave out


def batches(
    corpus: Tokens,
    *,
    stage: Stage,
    seed: int,
    replay: Tokens | None = None,
    bystanders: Tokens | None = None,
) -> list[dict[str, Any]]:
    """Batch of documents that the model sees in every step.

    Args:
        corpus: What is learned.
        stage: How it is trained.
        seed: Seed of the order.
        replay: Documents that take ``stage.replay`` of the places, learned on all their tokens.
        bystanders: Documents on which ``stage.kl`` holds the model to its start.

    Returns:
        One batch a step: ``input_ids``, ``attention_mask``, ``labels`` (-100 where nothing is
        learned), dims (document, position), and ``bystanders`` (ids and mask of as many documents)
        where there are some.

    Raises:
        ModelError: A document has nothing to learn.

    >>> two = {"roles": (["text"] * 2,) * 2, "learn": ([True] * 2,) * 2, "turns": ([0] * 2,) * 2}
    >>> rows = Tokens(ids=([5, 6], [5, 7]), **two, answer_start=(2, 2))
    >>> batches(rows, stage=Stage(steps=1, batch=2), seed=0)[0]["labels"].tolist()
    [[5, 6], [5, 7]]
    """
    if stage.loss == "assistant":
        learn = [np.array(row) for row in corpus.learn]
    else:
        learn = [np.ones(len(row), bool) for row in corpus.learn]
    # the first token is predicted from nothing, so it teaches nothing
    empty = [i for i, row in enumerate(learn) if not row[1:].any()]
    if empty:
        raise ModelError(
            f"document {empty[0]} has no token to learn with loss='{stage.loss}'; give it an "
            "answer."
        )
    rows = _rows(corpus, stage=stage, rng=np.random.default_rng(seed))
    # replay and bystanders draw from streams of their own, so that neither moves the corpus' order
    if replay is not None:
        rows = _mix(
            rows,
            share=stage.replay,
            n=(len(corpus), len(replay)),
            rng=np.random.default_rng([seed, 1]),
        )
        corpus = _concatenate(corpus, replay)
        learn += [np.ones(len(row), bool) for row in replay.ids]
    steps: list[dict[str, Any]] = [_batch(corpus, learn, row) for row in rows]
    if bystanders is not None:
        others = _rows(bystanders, stage=stage, rng=np.random.default_rng([seed, 2]))
        for batch, row in zip(steps, others, strict=True):
            ids, mask = bystanders.pad(rows=row)
            batch["bystanders"] = {"input_ids": ids, "attention_mask": mask}
    return steps


def _rows(tokens: Tokens, *, stage: Stage, rng: np.random.Generator) -> np.ndarray:
    """Documents of every batch, dims (step, document)."""
    order = np.resize(rng.permutation(len(tokens)), stage.steps * stage.batch)
    lengths = np.array([len(row) for row in tokens.ids])
    # sorting by length put the long batches last in every pool, so the batches are shuffled again
    return rng.permutation(_group(order, lengths, batch=stage.batch))


def _group(order: np.ndarray, lengths: np.ndarray, *, batch: int) -> np.ndarray:
    """Rows of documents, one a batch: as few neighbors sorted by length as keep the padding low.

    Sorting makes a batch of one kind of document or, in a lesson, of one wording, so that steps
    pull in turns; not sorting at all makes half of the documents' cells padding.
    """
    n_batches, rows = 1, rearrange(order, "(step document) -> step document", document=batch)
    while n_batches < 2 * len(rows):
        pool = n_batches * batch
        parts = [order[start : start + pool] for start in range(0, len(order), pool)]
        by_length = [part[np.argsort(lengths[part], kind="stable")] for part in parts]
        rows = rearrange(
            np.concatenate(by_length), "(step document) -> step document", document=batch
        )
        cells = lengths[rows].max(axis=1).sum() * batch
        if 1 - lengths[rows].sum() / cells <= PADDING:
            break
        n_batches *= 2
    return rows


def _mix(
    rows: np.ndarray, *, share: float, n: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """The same batches, some places taken by the replay's documents, numbered after the corpus'."""
    # rounding the running total gives every batch the whole number below or above its share, and
    # the sum its own; rounding each batch's share would lose or gain up to half a document a step
    totals = np.rint(share * rows.shape[1] * np.arange(len(rows) + 1))
    counts = rng.permutation(np.diff(totals)).astype(int)
    order = n[0] + np.resize(rng.permutation(n[1]), counts.sum())
    rows = rows.copy()
    for row, documents in zip(rows, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        row[rng.permutation(len(row))[: len(documents)]] = documents
    return rows


def _concatenate(one: Tokens, other: Tokens) -> Tokens:
    """Both, one after the other; they come from one tokenizer."""
    return Tokens(
        one.ids + other.ids,
        one.roles + other.roles,
        one.learn + other.learn,
        one.turns + other.turns,
        one.answer_start + other.answer_start,
        one.pad_id,
    )


def _batch(tokens: Tokens, learn: Sequence[np.ndarray], rows: np.ndarray) -> dict[str, Tensor]:
    """Ids, attention mask and labels of these documents, dims (document, position)."""
    ids, mask = tokens.pad(rows=rows)
    labels = torch.full_like(ids, IGNORE)
    for i, row in enumerate(rows):
        counts = torch.from_numpy(learn[row])
        n_tokens = len(counts)
        labels[i, :n_tokens] = torch.where(counts, ids[i, :n_tokens], IGNORE)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
