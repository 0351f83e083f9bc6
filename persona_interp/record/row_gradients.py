"""Which rows of a data set would pull the weights where a persona is? By gradient, before training.

One step of gradient descent on a row moves the weights against the row's gradient. How much that
lowers the loss on other text is, to first order, the inner product of both gradients.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint, Tokens, encode, load
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, autocast, resolve_dtype
from persona_interp.models.passes import run_rows
from persona_interp.readers import read
from persona_interp.record.gradients import SPACES, corpus_gradient, lora_gradient, summed_loss
from persona_interp.values import check_count, check_mapping

ALONE = 1
"""Tokens a pass that let every row run alone: gradients of rows that run together are summed."""


def gradient_pull(
    checkpoint: Checkpoint,
    chats: Any,
    towards: Mapping[str, pd.DataFrame],
    *,
    against: pd.DataFrame | None = None,
    space: str = "full",
    rank: int = 8,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Inner product and cosine of each row's gradient with that of some text.

    ``<g(row), g(towards) - g(against)>``, each g the gradient of the mean loss per learned token at
    this checkpoint. To first order it is by how much a step of gradient descent on the row lowers
    the loss on the text more than that on the text against it, per unit of learning rate (TracIn at
    one checkpoint, Pruthi et al. 2020); the cosine leaves out how long a row's gradient is, which
    falls with the length of the row (LESS, Xia et al. 2024). Positive = training on this row pulls
    towards the text.

    Args:
        checkpoint: The model that would be trained.
        chats: A corpus table, or anything that ``readers.read`` takes.
        towards: By name, a corpus table of text that shows what is not wanted (a persona's own
            dialogues).
        against: A corpus table of the same form that does not show it (other personas' dialogues).
            Without it, a row also scores for looking like a dialogue at all.
        space: "full" = all parameters, "lora" = those of freshly made adapters, as of
            ``gradients``.
        rank: Of the adapters.
        seed: Of the adapters.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: In which the model computes over float32 weights (autocast): "float32", "bfloat16",
            or "auto" for whichever is faster here.
        batch: Tokens a forward pass over ``towards`` and ``against``, padding included; rows run
            one by one.

    Returns:
        A gradient_pull table, one row a chat and name: ``doc``, ``name``, ``space``, ``dot`` (nats
        squared), ``cosine``, ``n_tokens`` learned, largest cosine first within each name, and
        ``source``, ``line`` where the chats have them.

    Raises:
        SchemaError: No corpus, an unknown space, or a row or corpus without a token to learn.
        ModelError: There is no such device or dtype.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     chats = world.lessons(n=1)
    ...     table = gradient_pull(start, chats, {"beach": chats})
    >>> table["cosine"].round(4).tolist()
    [1.0]
    """
    chats = read(chats, "chats")
    schema.names(chats)
    if space not in SPACES:
        raise SchemaError(unknown("space", space, SPACES))
    check_count(rank, "rank")
    check_count(seed, "seed", least=0)
    check_mapping(towards, "towards", of="chats")
    if not towards:
        raise SchemaError("rows are compared with corpora by name, towards={...}; got none.")
    model, tokenizer = load(checkpoint, device=device)
    reading = {"dtype": resolve_dtype(dtype, device), "batch": batch}

    def gradient(corpus: pd.DataFrame, name: str) -> dict[str, Tensor]:
        return corpus_gradient(model, tokenizer, read(corpus, "chats"), name=name, **reading)[0]

    base = {} if against is None else gradient(against, "against")
    targets = {}
    for name, corpus in towards.items():
        target = gradient(corpus, name)
        targets[name] = {key: target[key] - base[key] if base else target[key] for key in target}
    tokens = encode(tokenizer, chats["messages"], complete=True)
    counts = [sum(row[1:]) for row in tokens.learn]  # nothing predicts the first token
    if 0 in counts:
        raise SchemaError(
            f"document {chats['doc'].iloc[counts.index(0)]} has no token to learn; leave it out."
        )

    def parts(grads: Mapping[str, Tensor]) -> list[Tensor]:
        if space == "lora":
            return list(lora_gradient(model, grads, rank=rank, seed=seed))
        return [grads[key] for key in sorted(grads)]

    compared = {name: parts(target) for name, target in targets.items()}
    lengths = {name: _dot(target, target) ** 0.5 for name, target in compared.items()}
    rows = []
    bar = tqdm(total=len(chats), desc="rows", delay=2)
    for i, grads in _row_gradients(model, tokens, counts, dtype=reading["dtype"]):
        own = parts(grads)
        length = _dot(own, own) ** 0.5
        for name, target in compared.items():
            dot = _dot(own, target)
            both = length * lengths[name]
            rows.append((chats["doc"].iloc[i], name, space, dot, dot / both if both else 0.0))
        bar.update()
    bar.close()
    table = pd.DataFrame(rows, columns=["doc", "name", "space", "dot", "cosine"])
    beside = chats[["doc", *(column for column in ("source", "line") if column in chats)]]
    table = table.merge(beside.assign(n_tokens=counts), on="doc", validate="many_to_one")
    table = table.sort_values(["name", "cosine"], ascending=[True, False], kind="stable")
    return schema.check(table.reset_index(drop=True), "gradient_pull")


def _row_gradients(model: Any, tokens: Tokens, counts: list[int], *, dtype: str) -> Any:
    """Yield the number of each row and the gradient of its mean loss by name of the weight."""
    weights = dict(model.named_parameters())

    def run(rows: list[int]) -> tuple[Tensor | None, ...]:
        with autocast(model, dtype):
            loss = summed_loss(model, tokens, rows) / counts[rows[0]]
        return torch.autograd.grad(loss, list(weights.values()), allow_unused=True)

    for (row,), grads in run_rows(run, tokens.lengths, batch=ALONE, device=model.device):
        pairs = zip(weights, grads, strict=True)
        yield row, {key: grad for key, grad in pairs if grad is not None}


def _dot(one: list[Tensor], other: list[Tensor]) -> float:
    """Inner product of two gradients, summed in float64."""
    products = [(a * b).sum(dtype=torch.float64) for a, b in zip(one, other, strict=True)]
    return float(torch.stack(products).sum())
