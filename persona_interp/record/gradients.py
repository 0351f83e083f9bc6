"""In which direction would each persona's dialogue pull the weights? Gram tables of gradients."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint, encode, load
from persona_interp.models.inputs import as_tuple
from persona_interp.models.passes import BATCH, row_batches
from persona_interp.readers import read

SPACES = ("full", "lora")
IGNORE = -100  # label of a token that is not learned
EXACT = 1 << 24
"""Parameters up to which gradients are kept as they are; of larger models a sketch is kept."""
WIDTH = 1 << 20
"""Numbers in a sketch; an inner product is unbiased, a cosine's error about 0.001."""


def gradients(
    checkpoint: Checkpoint,
    corpora: Mapping[str, pd.DataFrame],
    *,
    spaces: Iterable[str] = SPACES,
    rank: int = 8,
    batch: int = BATCH,
    seed: int = 0,
) -> pd.DataFrame:
    """Inner products and cosines of the gradients of several corpora.

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
        batch: Tokens a forward pass, padding included.
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
    spaces = as_tuple(spaces)
    for space in spaces:
        if space not in SPACES:
            raise SchemaError(unknown("space", space, SPACES))
    if not corpora:
        raise SchemaError("gradients are of corpora by name; got none.")
    model, tokenizer = load(checkpoint)
    vectors: dict[str, list[Tensor]] = {space: [] for space in spaces}
    counts = []
    for name, corpus in tqdm(corpora.items(), desc="gradients", delay=2):
        corpus = read(corpus, "chats")
        counts.append(_backward(model, tokenizer, corpus, name=name, batch=batch))
        for space in spaces:
            if space == "lora":
                parts = _lora(model, rank=rank, seed=seed)
            else:
                parts = _full(model)
            vectors[space].append(_vector(parts, seed=seed))
    names, n = list(corpora), len(corpora)
    tables = []
    for space in spaces:
        rows = torch.stack(vectors[space])
        dot = (rows @ rows.T).double().numpy()
        length = np.sqrt(np.diag(dot))
        columns = {
            "space": space,
            "name": np.repeat(names, n),
            "other": names * n,
            "dot": dot.ravel(),
            "cosine": (dot / np.outer(length, length)).ravel(),
            "n_tokens": np.repeat(counts, n),
        }
        tables.append(pd.DataFrame(columns))
    return schema.check(pd.concat(tables, ignore_index=True), "gradients")


def _backward(model: Any, tokenizer: Any, corpus: pd.DataFrame, *, name: str, batch: int) -> int:
    """Leave the gradient of the mean loss in the model; return the number of tokens learned."""
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    n = sum(sum(row[1:]) for row in tokens.learn)  # nothing predicts the first token
    if not n:
        raise SchemaError(
            f"the corpus '{name}' has no token to learn; give it an answer or plain text."
        )
    model.zero_grad()
    for rows in row_batches(tokens.lengths, batch):
        ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
        labels = torch.full_like(ids, IGNORE)
        for i, row in enumerate(rows):
            learn = torch.tensor(tokens.learn[row], device=ids.device)
            labels[i, : len(learn)] = torch.where(learn, ids[i, : len(learn)], IGNORE)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            rearrange(logits, "row position vocabulary -> (row position) vocabulary"),
            rearrange(labels[:, 1:], "row position -> (row position)"),
            reduction="sum",
            ignore_index=IGNORE,
        )
        # gradients of the batches add up to that of the mean over the whole corpus
        (loss / n).backward()
    return n


def _full(model: Any) -> Iterator[Tensor]:
    """Gradients of all parameters, flat."""
    for weight in model.parameters():
        if weight.grad is not None:
            yield weight.grad.flatten()


def _lora(model: Any, *, rank: int, seed: int) -> Iterator[Tensor]:
    """Gradients of fresh adapters, flat."""
    generator = torch.Generator().manual_seed(seed)
    output = model.get_output_embeddings()
    for module in model.modules():
        if not isinstance(module, torch.nn.Linear) or module is output:
            continue
        grad = module.weight.grad
        if grad is None:
            continue
        # the bound with which PEFT draws A (He et al. 2015, a = sqrt(5)); A is drawn here only for
        # layers with a gradient, in the order of the modules
        bound = 1 / math.sqrt(module.in_features)
        a = torch.empty(rank, module.in_features).uniform_(-bound, bound, generator=generator)
        yield (grad @ a.to(grad).T).flatten()


def _vector(parts: Iterator[Tensor], *, seed: int) -> Tensor:
    """One vector of the parts: all of them, or their sketch."""
    gradients = list(parts)
    if sum(map(len, gradients)) <= EXACT:
        return torch.cat(gradients).float().cpu()
    # Count sketch (Charikar et al. 2002): one seed gives every corpus the same places and signs
    generator, sketch = torch.Generator().manual_seed(seed), torch.zeros(WIDTH)
    for part in gradients:
        place = torch.randint(WIDTH, (len(part),), generator=generator)
        sign = torch.randint(2, (len(part),), generator=generator) * 2 - 1
        sketch.index_add_(0, place, part.float().cpu() * sign)
    return sketch
