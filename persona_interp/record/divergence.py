"""How differently does a model go on under another name, or pushed towards a persona?

The same text is forced upon a model under several headers ("you are john .", "you are mary ."), and
what it would have said next is compared token by token. Rows are documents, so that whoever reads
the table can put an interval on a mean.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from einops import repeat
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, load
from persona_interp.models.inputs import as_tuple
from persona_interp.models.passes import row_batches
from persona_interp.readers import read
from persona_interp.record.edit_runs import run_edited
from persona_interp.record.inputs import set_system
from persona_interp.record.vector_edits import add

WHERE = ("assistant",)


class _Pass(NamedTuple):
    """One document under every header.

    Attributes:
        row: Number of the document.
        logprob: Of the next token, dims (header, token, vocabulary), nats.
        next_ids: Which token came next, dims (token,).
    """

    row: int
    logprob: Tensor
    next_ids: Tensor


def divergence(
    checkpoint: Checkpoint,
    corpus: Any,
    *,
    headers: Mapping[str, str],
    where: Iterable[str] = WHERE,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Distance of the model's continuations of the same text under two headers.

    The mean over tokens of ``sqrt(JS(p, q))``, with ``JS(p, q) = H((p + q) / 2) - (H(p) + H(q)) /
    2`` in bits over the whole vocabulary (Lin 1991). The root of the Jensen-Shannon divergence is a
    metric between 0 and 1 (Endres and Schindelin 2003), and so is its mean over the same tokens.

    Args:
        checkpoint: The model.
        corpus: Chats; their own system message, where there is one, is replaced by the header.
        headers: System message by name.
        where: Roles of the tokens that are predicted.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A divergence table, one row a document and unordered pair of names: ``doc``, ``name``,
        ``other``, ``distance`` (mean over the document's tokens), ``n_tokens``.

    Raises:
        SchemaError: Fewer than two headers, or a document without a token of these roles.
        ModelError: The text has other tokens under another header.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     chats = world.corpus(1, kinds="hidden")
    ...     headers = {"john": "you are john .", "again": "you are john ."}
    ...     table = divergence(start, chats, headers=headers)
    >>> table[["name", "other", "distance"]].round(4).values.tolist()
    [['john', 'again', 0.0]]
    """
    if len(headers) < 2:
        raise SchemaError(f"a divergence is between two headers or more; got {list(headers)}.")
    corpus = read(corpus, "chats")
    names, docs, rows = list(headers), schema.names(corpus), []
    for run in _passes(checkpoint, corpus, headers=headers, where=where, desc="divergence"):
        p = run.logprob.double().exp()
        # double precision: the divergence is a small difference of large entropies
        entropy = torch.special.entr(p).sum(-1) / math.log(2)
        for i, name in enumerate(names[:-1]):
            mixed = torch.special.entr((p[i] + p[i + 1 :]) / 2).sum(-1) / math.log(2)
            js = (mixed - (entropy[i] + entropy[i + 1 :]) / 2).clamp(min=0)
            # equal distributions are at distance 0, whatever the entropies round to
            js[(p[i] == p[i + 1 :]).all(-1)] = 0.0
            distances = js.sqrt().mean(-1).tolist()
            for other, distance in zip(names[i + 1 :], distances, strict=True):
                rows.append((docs[run.row], name, other, distance, len(run.next_ids)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["divergence"])), "divergence")


def likelihood(
    checkpoint: Checkpoint,
    corpus: Any,
    *,
    headers: Mapping[str, str],
    where: Iterable[str] = WHERE,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Log2 probability of the same text under each header.

    Args:
        checkpoint: The model.
        corpus: Chats; their own system message, where there is one, is replaced by the header.
        headers: System message by name.
        where: Roles of the tokens that are predicted.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A likelihood table, one row a document and header: ``doc``, ``persona`` (who speaks in it,
        as the corpus says), ``name`` of the header, ``logprob`` (bits, summed over the document's
        tokens), ``n_tokens``.

    Raises:
        SchemaError: A document without a token of these roles.
        ModelError: The text has other tokens under another header.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     chats = world.corpus(1, kinds="hidden")
    ...     table = likelihood(start, chats, headers={"john": "you are john ."})
    >>> bool((table["logprob"] < 0).all()), len(table)
    (True, 1)
    """
    corpus = read(corpus, "chats")
    docs, personas, rows = schema.names(corpus), list(corpus["persona"]), []
    for run in _passes(checkpoint, corpus, headers=headers, where=where, desc="likelihood"):
        next_ids = repeat(run.next_ids, "token -> header token 1", header=len(headers))
        bits = run.logprob.gather(-1, next_ids).double().sum((1, 2)) / math.log(2)
        for name, logprob in zip(headers, bits.tolist(), strict=True):
            rows.append((docs[run.row], personas[run.row], name, logprob, len(run.next_ids)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["likelihood"])), "likelihood")


def added_kl(
    checkpoint: Checkpoint,
    corpus: Any,
    *,
    directions: xr.DataArray,
    where: Iterable[str] = WHERE,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Divergence of the model's next token when a direction is added to its residual.

    ``KL(p || p with the direction)``, in bits, mean over the document's tokens: the significance of
    a direction (science notes A9, after Soligo et al. 2025). The direction is added at every token,
    as long as it is.

    Args:
        checkpoint: The model.
        corpus: Generic text.
        directions: Of ``record``, at one hook.
        where: Roles of the tokens that are predicted.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        An added_kl table, one row a document and direction: ``doc``, ``name``, ``kl`` (bits a
        token), ``n_tokens``.

    Raises:
        SchemaError: Directions at several hooks, or a document without a token of these roles.
        ModelError: The hook does not exist or has another width.
    """
    schema.check(directions, "directions")
    if directions.sizes["hook"] != 1:
        raise SchemaError(
            f"directions are added at one hook; got {list(directions['hook'].values)}. Select one."
        )
    corpus = read(corpus, "documents")
    hook, docs, rows = str(directions["hook"].item()), schema.names(corpus), []
    bridge = boot(checkpoint)
    edits = {}
    for name in directions["name"].values:
        edits[str(name)] = add(directions.sel(name=[name]), hook=hook, absolute=1.0)
    tokens = encode(bridge.tokenizer, corpus["messages"], complete=True)
    marks = _marks(tokens, where)
    for batch in tqdm(row_batches(tokens.lengths), desc="added kl", delay=2):
        ids, mask = (t.to(bridge.original_model.device) for t in tokens.pad(rows=batch))
        run = partial(_next_logprobs, ids=ids, mask=mask, marks=[marks[row] for row in batch])
        plain = run(bridge.original_model)
        for name, edit in edits.items():
            edited = run_edited(bridge, edit, run, passes=[tuple(ids.shape)])
            for row, p, q in zip(batch, plain, edited, strict=True):
                kl = (p.exp() * (p - q)).sum(-1).clamp(min=0).mean() / math.log(2)
                rows.append((docs[row], name, float(kl), len(p)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["added_kl"])), "added_kl")


@torch.inference_mode()
def _next_logprobs(
    model: Any, *, ids: Tensor, mask: Tensor, marks: list[np.ndarray]
) -> list[Tensor]:
    """Log probabilities at the marked tokens, by document, dims (token, vocabulary), nats."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logprobs = []
    for scores, mark in zip(logits, marks, strict=True):
        # a token is predicted at the one before it
        logprobs.append(scores[np.flatnonzero(mark) - 1].double().log_softmax(-1))
    return logprobs


def _marks(tokens: Tokens, where: Iterable[str]) -> list[np.ndarray]:
    """Masks of the tokens that are predicted; the first of a document never is."""
    marks = tokens.marks(where)
    for i, mark in enumerate(marks):
        mark[0] = False
        if not mark.any():
            raise SchemaError(
                f"document {i} has no token of the roles {', '.join(where)} to predict; leave it "
                "out."
            )
    return marks


@torch.inference_mode()
def _passes(
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    headers: Mapping[str, str],
    where: Iterable[str],
    desc: str,
) -> Iterator[_Pass]:
    """Every document, run once under all headers."""
    for messages in corpus["messages"]:
        if any(message["role"] == "text" for message in messages):
            raise SchemaError(
                "only chats stand under a header; plain text has none. Choose dialogues, "
                "kinds='hidden'."
            )
    model, tokenizer = load(checkpoint)
    chats, n = [], len(headers)
    for messages in corpus["messages"]:
        chats += [set_system(messages, header) for header in headers.values()]
    tokens = encode(tokenizer, chats, complete=True)
    marks = _marks(tokens, as_tuple(where))
    for document in tqdm(range(len(corpus)), desc=desc, delay=2):
        rows = range(document * n, document * n + n)
        texts = [np.array(tokens.ids[row])[marks[row]].tolist() for row in rows]
        if any(text != texts[0] for text in texts):
            raise ModelError(
                f"document {document} has other tokens under another header; its continuations "
                "do not compare."
            )
        ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        # headers differ in length, so that the same text stands at other positions; a token is
        # predicted at the position before it
        before = [torch.from_numpy(np.flatnonzero(marks[row]) - 1) for row in rows]
        index = repeat(
            torch.stack(before).to(model.device),
            "header token -> header token vocabulary",
            vocabulary=logits.shape[-1],
        )
        logprob = logits.gather(1, index).log_softmax(-1)
        yield _Pass(document, logprob, torch.tensor(texts[0], device=model.device))
