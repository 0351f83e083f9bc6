"""In which direction would each persona's dialogue pull the weights? Gram tables of gradients."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint, encode, load

SPACES = ("full", "lora")
EXACT = 1 << 24
"""Parameters up to which gradients are kept as they are; of larger models a sketch is kept."""
WIDTH = 1 << 20
"""Numbers in a sketch. An inner product of sketches is unbiased; a cosine's error is about 0.001."""


def gradients(
    checkpoint: Checkpoint,
    corpora: Mapping[str, pd.DataFrame],
    *,
    spaces: Iterable[str] = SPACES,
    rank: int = 8,
    batch: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Would two texts pull the weights the same way?

    The gradient of the mean loss (nats per learned token: assistant answers, plain text) of each
    corpus at this checkpoint, and all inner products: the tangent kernel between the corpora (Jacot
    et al. 2018), the cosine of which is Charpiat et al.'s (2019) similarity of inputs from the
    network's point of view. In "lora" space gradients are those of freshly made adapters on all
    linear layers but the output: their B is 0, so A has no gradient and B's is ``G A^T`` with G the
    gradient of the layer's weight and A drawn as PEFT draws it.

    Args:
        checkpoint: The model.
        corpora: A corpus table by name.
        spaces: "full" = all parameters, and "lora"; both are read from one backward pass.
        rank: Of the adapters.
        batch: Documents run together; bounds the memory.
        seed: Of A, and of the sketch that is kept of gradients of more than 16 million numbers
            (every number added with a random sign to one of a million places; Charikar et al.
            2002).

    Returns:
        A gradients table, one row a space and ordered pair of names: ``space``, ``name``,
        ``other``, ``dot`` (nats squared), ``cosine``, ``n_tokens`` learned of ``name``.

    Raises:
        SchemaError: An unknown space, no corpus, or one without a token to learn.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     chats = world.lessons(n=2)
    ...     table = gradients(start, {"a": chats, "b": chats})
    >>> len(table), table["cosine"].round(6).unique().tolist()
    (8, [1.0])
    """
    spaces = (spaces,) if isinstance(spaces, str) else tuple(spaces)
    for space in spaces:
        if space not in SPACES:
            raise SchemaError(unknown("space", space, SPACES))
    if not corpora:
        raise SchemaError("gradients are of corpora by name; got none.")
    model, tokenizer = load(checkpoint)
    kept: dict[str, list[Tensor]] = {space: [] for space in spaces}
    counts = []
    for name, corpus in tqdm(corpora.items(), desc="gradients", delay=2):
        counts.append(
            _backward(model, tokenizer, schema.check(corpus, "corpus"), name=name, batch=batch)
        )
        for space, vectors in kept.items():
            parts = _lora(model, rank=rank, seed=seed) if space == "lora" else _full(model)
            vectors.append(_kept(parts, seed=seed))
    names, tables = list(corpora), []
    pairs = {"name": np.repeat(names, len(names)), "other": names * len(names)}
    for space, vectors in kept.items():
        dot = (torch.stack(vectors) @ torch.stack(vectors).T).double().numpy()
        length = np.sqrt(np.diag(dot))
        values = {"dot": dot.ravel(), "cosine": (dot / np.outer(length, length)).ravel()}
        tables.append(
            pd.DataFrame(
                {"space": space, **pairs, **values, "n_tokens": np.repeat(counts, len(names))}
            )
        )
    return schema.check(pd.concat(tables, ignore_index=True), "gradients")


def _backward(model: Any, tokenizer: Any, corpus: pd.DataFrame, *, name: str, batch: int) -> int:
    """Leaves the gradient of the mean loss in the model; returns the number of tokens learned."""
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    n = sum(sum(row[1:]) for row in tokens.learn)
    if not n:
        raise SchemaError(
            f"the corpus '{name}' has no token to learn; give it an answer or plain text."
        )
    model.zero_grad()
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
        labels = torch.full_like(ids, -100)
        for i, row in enumerate(rows):
            learn = torch.tensor(tokens.learn[row], device=ids.device)
            labels[i, : len(learn)] = torch.where(learn, ids[i, : len(learn)], -100)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )
        (loss / n).backward()
    return n


def _full(model: Any) -> Iterator[Tensor]:
    """Gradients of all parameters, flat."""
    for weight in model.parameters():
        if weight.grad is not None:
            yield weight.grad.flatten()


def _lora(model: Any, *, rank: int, seed: int) -> Iterator[Tensor]:
    """Gradients of fresh adapters, flat."""
    drawn = torch.Generator().manual_seed(seed)
    output = model.get_output_embeddings()
    for module in model.modules():
        if (
            isinstance(module, torch.nn.Linear)
            and module is not output
            and module.weight.grad is not None
        ):
            bound = 1 / math.sqrt(module.in_features)
            a = torch.empty(rank, module.in_features).uniform_(-bound, bound, generator=drawn)
            yield (module.weight.grad @ a.to(module.weight.grad).T).flatten()


def _kept(parts: Iterator[Tensor], *, seed: int) -> Tensor:
    """One vector of the parts: all of them, or their sketch."""
    listed = list(parts)
    if sum(map(len, listed)) <= EXACT:
        return torch.cat(listed).float().cpu()
    drawn, sketch = torch.Generator().manual_seed(seed), torch.zeros(WIDTH)
    for part in listed:
        place = torch.randint(WIDTH, (len(part),), generator=drawn)
        sign = torch.randint(2, (len(part),), generator=drawn) * 2 - 1
        sketch.index_add_(0, place, part.float().cpu() * sign)
    return sketch
