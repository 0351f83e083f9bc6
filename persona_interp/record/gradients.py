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
from persona_interp.models import Checkpoint, Tokens, encode, load
from persona_interp.models.batches import IGNORE
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL, autocast, resolve_dtype
from persona_interp.models.passes import run_rows
from persona_interp.readers import read
from persona_interp.values import as_tuple, check_count, check_mapping

SPACES = ("full", "lora")
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
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
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
        seed: Of A, and of the sketch that is kept of gradients of more than 16 million numbers
            (every number added with a random sign to one of a million places; Charikar et al.
            2002).
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: In which models compute over float32 weights (autocast): "float32", "bfloat16", or
            "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A gradients table, one row a space and ordered pair of names: ``space``, ``name``,
        ``other``, ``dot`` (nats squared), ``cosine``, ``n_tokens`` learned of ``name``.

    Raises:
        SchemaError: An unknown space, no corpus, or one without a token to learn.
        ModelError: There is no such device or dtype.

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
    check_count(rank, "rank")
    check_count(seed, "seed", least=0)
    check_mapping(corpora, "corpora", of="chats")
    if not corpora:
        raise SchemaError("gradients are of corpora by name; got none.")
    model, tokenizer = load(checkpoint, device=device)
    reading = {"dtype": resolve_dtype(dtype, device), "batch": batch}
    vectors: dict[str, list[Tensor]] = {space: [] for space in spaces}
    counts = []
    for name, corpus in tqdm(corpora.items(), desc="gradients", delay=2):
        corpus = read(corpus, "chats")
        grads, n_learned = corpus_gradient(model, tokenizer, corpus, name=name, **reading)
        counts.append(n_learned)
        for space in spaces:
            parts = grads.values()
            if space == "lora":
                parts = lora_gradient(model, grads, rank=rank, seed=seed)
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


def corpus_gradient(
    model: Any, tokenizer: Any, corpus: pd.DataFrame, *, name: str, dtype: str, batch: Batch
) -> tuple[dict[str, Tensor], int]:
    """Gradient of the mean loss on a corpus, and the number of tokens learned.

    Args:
        model: A Hugging Face model.
        tokenizer: Its tokenizer.
        corpus: A corpus table.
        name: Of the corpus, for the message.
        dtype: Of autocast.
        batch: Tokens a forward pass, padding included.

    Returns:
        The gradient by name of the weight, nats per learned token, and the number.

    Raises:
        SchemaError: There is no token to learn.
    """
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    n = sum(sum(row[1:]) for row in tokens.learn)  # nothing predicts the first token
    if not n:
        raise SchemaError(
            f"the corpus '{name}' has no token to learn; give it an answer or plain text."
        )
    weights = dict(model.named_parameters())

    def run(rows: list[int]) -> tuple[Tensor | None, ...]:
        with autocast(model, dtype):
            loss = summed_loss(model, tokens, rows)
        # returned and not left in the model, where a run that ends midway would leave half of it
        return torch.autograd.grad(loss / n, list(weights.values()), allow_unused=True)

    total: dict[str, Tensor] = {}
    for _, grads in run_rows(run, tokens.lengths, batch=batch, device=model.device):
        # gradients of the groups add up to that of the mean over the whole corpus
        for key, grad in zip(weights, grads, strict=True):
            if grad is not None:
                total[key] = total[key].add_(grad) if key in total else grad
    return total, n


def summed_loss(model: Any, tokens: Tokens, rows: list[int]) -> Tensor:
    """Loss of the learned tokens of some rows together.

    Args:
        model: A Hugging Face model.
        tokens: Of ``encode``.
        rows: Numbers of the rows.

    Returns:
        The sum (nats), with its graph.
    """
    ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
    labels = torch.full_like(ids, IGNORE)
    for i, row in enumerate(rows):
        learn = torch.tensor(tokens.learn[row], device=ids.device)
        labels[i, : len(learn)] = torch.where(learn, ids[i, : len(learn)], IGNORE)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        rearrange(logits, "row position vocabulary -> (row position) vocabulary").float(),
        rearrange(labels[:, 1:], "row position -> (row position)"),
        reduction="sum",
        ignore_index=IGNORE,
    )


def lora_gradient(
    model: Any, grads: Mapping[str, Tensor], *, rank: int, seed: int
) -> Iterator[Tensor]:
    """Yield the gradients of fresh adapters, one a linear layer.

    Args:
        model: A Hugging Face model.
        grads: Gradients by name of the weight.
        rank: Of the adapters.
        seed: Of their A.

    Yields:
        The gradient of B, dims (out, rank).
    """
    generator = torch.Generator().manual_seed(seed)
    output = model.get_output_embeddings()
    names = {id(weight): name for name, weight in model.named_parameters()}
    for module in model.modules():
        if not isinstance(module, torch.nn.Linear) or module is output:
            continue
        grad = grads.get(names[id(module.weight)])
        if grad is None:
            continue
        # the bound with which PEFT draws A (He et al. 2015, a = sqrt(5)); A is drawn here only for
        # layers with a gradient, in the order of the modules
        bound = 1 / math.sqrt(module.in_features)
        a = torch.empty(rank, module.in_features).uniform_(-bound, bound, generator=generator)
        yield grad @ a.to(grad).T


def _vector(parts: Iterable[Tensor], *, seed: int) -> Tensor:
    """One vector of the parts: all of them, or their sketch."""
    gradients = [part.flatten() for part in parts]
    if sum(map(len, gradients)) <= EXACT:
        return torch.cat(gradients).float().cpu()
    # Count sketch (Charikar et al. 2002): one seed gives every corpus the same places and signs
    generator, sketch = torch.Generator().manual_seed(seed), torch.zeros(WIDTH)
    for part in gradients:
        place = torch.randint(WIDTH, (len(part),), generator=generator)
        sign = torch.randint(2, (len(part),), generator=generator) * 2 - 1
        sketch.index_add_(0, place, part.float().cpu() * sign)
    return sketch
