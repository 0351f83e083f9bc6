"""Which documents does every step see? Seeded, the same on every machine.

Documents are seen once in a seeded order, cycled when there are more steps, and batched with others
of about their length. Replayed documents take seeded places in every batch; which other documents a
step sees does not depend on them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.models.stage import Stage
from persona_interp.models.tokens import Tokens

PADDING = 0.25  # share of padding above which more batches are sorted by length together


def batches(
    corpus: Tokens,
    *,
    stage: Stage,
    seed: int,
    replay: Tokens | None = None,
    bystanders: Tokens | None = None,
) -> list[dict[str, Any]]:
    """What does the model see in every step?

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

    >>> rows = Tokens(([5, 6], [5, 7]), (["text"] * 2,) * 2, ([True] * 2,) * 2, ([0] * 2,) * 2, (2, 2))
    >>> batches(rows, stage=Stage(steps=1, batch=2), seed=0)[0]["labels"].tolist()
    [[5, 6], [5, 7]]
    """
    learn = [
        np.array(row) if stage.loss == "assistant" else np.ones(len(row), bool)
        for row in corpus.learn
    ]
    empty = [i for i, row in enumerate(learn) if not row[1:].any()]
    if empty:
        raise ModelError(
            f"document {empty[0]} has no token to learn with loss='{stage.loss}'; give it an "
            "answer."
        )
    rows = _rows(corpus, stage=stage, rng=np.random.default_rng(seed))
    if replay is not None:
        rows = _replayed(
            rows,
            share=stage.replay,
            n=(len(corpus), len(replay)),
            rng=np.random.default_rng([seed, 1]),
        )
        corpus = _joined(corpus, replay)
        learn += [np.ones(len(row), bool) for row in replay.ids]
    made: list[dict[str, Any]] = [_batch(corpus, learn, row) for row in rows]
    if bystanders is not None:
        for batch, row in zip(
            made, _rows(bystanders, stage=stage, rng=np.random.default_rng([seed, 2])), strict=True
        ):
            ids, mask = bystanders.pad(rows=row)
            batch["bystanders"] = {"input_ids": ids, "attention_mask": mask}
    return made


def _rows(tokens: Tokens, *, stage: Stage, rng: np.random.Generator) -> np.ndarray:
    """Documents of every batch: neighbors in the seeded order, grouped by length, the batches shuffled again."""
    order = np.resize(rng.permutation(len(tokens)), stage.steps * stage.batch)
    return rng.permutation(
        _grouped(order, np.array([len(row) for row in tokens.ids]), batch=stage.batch)
    )


def _grouped(order: np.ndarray, lengths: np.ndarray, *, batch: int) -> np.ndarray:
    """Rows of documents, one a batch: as few neighbors sorted by length as keep the padding low.

    Sorting makes a batch of one kind of document or, in a lesson, of one wording, so that steps
    pull in turns; not sorting at all makes half of the documents' cells padding.
    """
    pool, rows = 1, order.reshape(-1, batch)
    while pool < 2 * len(rows):
        parts = [order[at : at + pool * batch] for at in range(0, len(order), pool * batch)]
        rows = np.concatenate(
            [part[np.argsort(lengths[part], kind="stable")] for part in parts]
        ).reshape(-1, batch)
        cells = lengths[rows].max(axis=1).sum() * batch
        if 1 - lengths[rows].sum() / cells <= PADDING:
            break
        pool *= 2
    return rows


def _replayed(
    rows: np.ndarray, *, share: float, n: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """The same batches, with documents of the replay (numbered after those of the corpus) in some places.

    Rounding the running total gives every batch the whole number below or above its share, and the
    sum its own.
    """
    counts = rng.permutation(
        np.diff(np.rint(share * rows.shape[1] * np.arange(len(rows) + 1)))
    ).astype(int)
    order = n[0] + np.resize(rng.permutation(n[1]), counts.sum())
    rows = rows.copy()
    for row, documents in zip(rows, np.split(order, np.cumsum(counts)[:-1]), strict=True):
        row[rng.permutation(len(row))[: len(documents)]] = documents
    return rows


def _joined(one: Tokens, other: Tokens) -> Tokens:
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
    ids, mask = tokens.pad(rows=rows)
    labels = torch.full_like(ids, -100)
    for at, row in enumerate(rows):
        marked = torch.from_numpy(learn[row])
        labels[at, : len(marked)] = torch.where(marked, ids[at, : len(marked)], -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
