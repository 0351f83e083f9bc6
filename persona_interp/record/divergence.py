"""How differently does a model go on under another name, or pushed towards a persona?

The same text is forced upon a model under several headers ("you are john .", "you are mary ."), and
what it would have said next is compared token by token. Rows are documents, so that whoever reads
the table can put an interval on a mean.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

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
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.passes import run_rows
from persona_interp.readers import read
from persona_interp.record.edit_runs import run_edited
from persona_interp.record.inputs import set_system
from persona_interp.record.places import lay_out
from persona_interp.record.vector_edits import add
from persona_interp.values import as_tuple, check_mapping

WHERE = ("assistant",)
T = TypeVar("T")


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
        ModelError: The text has other tokens under another header, or there is no such device or
            dtype.

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
    names, docs = list(headers), schema.names(corpus)

    def distances(run: _Pass) -> list[tuple[Any, ...]]:
        p, rows = run.logprob.exp(), []
        # double precision: the divergence is a small difference of large entropies
        entropy = torch.special.entr(p).sum(-1) / math.log(2)
        for i, name in enumerate(names[:-1]):
            mixed = torch.special.entr((p[i] + p[i + 1 :]) / 2).sum(-1) / math.log(2)
            js = (mixed - (entropy[i] + entropy[i + 1 :]) / 2).clamp(min=0)
            # equal distributions are at distance 0, whatever the entropies round to
            js[(p[i] == p[i + 1 :]).all(-1)] = 0.0
            means = js.sqrt().mean(-1).tolist()
            for other, distance in zip(names[i + 1 :], means, strict=True):
                rows.append((docs[run.row], name, other, distance, len(run.next_ids)))
        return rows

    rows = _under_headers(
        distances,
        checkpoint,
        corpus,
        headers=headers,
        where=where,
        device=device,
        dtype=dtype,
        batch=batch,
        desc="divergence",
    )
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
        ModelError: The text has other tokens under another header, or there is no such device or
            dtype.

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
    docs, personas = schema.names(corpus), list(corpus["persona"])

    def likelihoods(run: _Pass) -> list[tuple[Any, ...]]:
        next_ids = repeat(run.next_ids, "token -> header token 1", header=len(headers))
        bits = run.logprob.gather(-1, next_ids).sum((1, 2)) / math.log(2)
        about = (docs[run.row], personas[run.row])
        pairs = zip(headers, bits.tolist(), strict=True)
        return [(*about, name, logprob, len(run.next_ids)) for name, logprob in pairs]

    rows = _under_headers(
        likelihoods,
        checkpoint,
        corpus,
        headers=headers,
        where=where,
        device=device,
        dtype=dtype,
        batch=batch,
        desc="likelihood",
    )
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
        ModelError: The hook does not exist or has another width, or there is no such device or
            dtype.
    """
    schema.check(directions, "directions")
    if directions.sizes["hook"] != 1:
        raise SchemaError(
            f"directions are added at one hook; got {list(directions['hook'].values)}. Select one."
        )
    corpus = read(corpus, "documents")
    hook, docs = str(directions["hook"].item()), schema.names(corpus)
    bridge = boot(checkpoint, device=device, dtype=dtype)
    place = bridge.original_model.device
    edits = {}
    for name in directions["name"].values:
        edits[str(name)] = add(directions.sel(name=[name]), hook=hook, absolute=1.0)
    tokens = encode(bridge.tokenizer, corpus["messages"], complete=True)
    marks = _marks(tokens, as_tuple(where))

    def run(group: list[int]) -> list[tuple[Any, ...]]:
        ids, mask = (t.to(place) for t in tokens.pad(rows=group))
        read = partial(_next_logprobs, ids=ids, mask=mask, marks=[marks[row] for row in group])
        roles = [tokens.roles[row] for row in group]
        layout = lay_out(roles, [[False] * len(row) for row in roles])
        plain, rows = read(bridge.original_model), []
        for name, edit in edits.items():
            edited = run_edited(bridge, edit, read, layouts=[layout])
            for row, p, q in zip(group, plain, edited, strict=True):
                kl = (p.exp() * (p - q)).sum(-1).clamp(min=0).mean() / math.log(2)
                rows.append((row, name, float(kl), len(p)))
        return rows

    groups = run_rows(run, tokens.lengths, batch=batch, device=place)
    rows = [row for _, part in tqdm(groups, desc="added kl", delay=2) for row in part]
    # in the order of the documents, whatever ran together
    rows = [(docs[row], *rest) for row, *rest in sorted(rows, key=lambda row: row[0])]
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["added_kl"])), "added_kl")


@torch.inference_mode()
def _next_logprobs(
    model: Any, *, ids: Tensor, mask: Tensor, marks: list[np.ndarray]
) -> list[Tensor]:
    """Log probabilities at the marked tokens, by document, dims (token, vocabulary), nats."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return [_logprob(scores, mark) for scores, mark in zip(logits, marks, strict=True)]


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
def _under_headers(
    reduce: Callable[[_Pass], list[T]],
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    headers: Mapping[str, str],
    where: Iterable[str],
    device: object,
    dtype: str,
    batch: Batch,
    desc: str,
) -> list[T]:
    """What every document, run once under all headers, reduces to; in order of the documents."""
    for messages in corpus["messages"]:
        if any(message["role"] == "text" for message in messages):
            raise SchemaError(
                "only chats stand under a header; plain text has none. Choose dialogues, "
                "kinds='hidden'."
            )
    check_mapping(headers, "headers", of="system messages")
    model, tokenizer = load(checkpoint, device=device, dtype=dtype)
    chats, n = [], len(headers)
    for messages in corpus["messages"]:
        chats += [set_system(messages, header) for header in headers.values()]
    tokens = encode(tokenizer, chats, complete=True)
    marks = _marks(tokens, as_tuple(where))
    texts = [_same_text(tokens, marks, document, n=n) for document in range(len(corpus))]

    def run(documents: list[int]) -> list[list[T]]:
        rows = [document * n + header for document in documents for header in range(n)]
        ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        parts = []
        for document, scores in zip(documents, logits.split(n), strict=True):
            own_marks = marks[document * n : document * n + n]
            # headers differ in length, so that the same text stands at other positions
            pairs = zip(scores, own_marks, strict=True)
            logprob = torch.stack([_logprob(row, mark) for row, mark in pairs])
            next_ids = torch.tensor(texts[document], device=model.device)
            parts.append(reduce(_Pass(document, logprob, next_ids)))
        return parts

    lengths = [n * max(tokens.lengths[i * n : i * n + n]) for i in range(len(corpus))]
    groups = run_rows(run, lengths, batch=batch, device=model.device)
    by_document: dict[int, list[T]] = {}
    for documents, parts in tqdm(groups, desc=desc, delay=2):
        by_document |= zip(documents, parts, strict=True)
    return [row for document in range(len(corpus)) for row in by_document[document]]


def _same_text(tokens: Tokens, marks: list[np.ndarray], document: int, *, n: int) -> list[int]:
    """Tokens of a document that are predicted, the same under each of its headers."""
    rows = range(document * n, document * n + n)
    texts = [np.array(tokens.ids[row])[marks[row]].tolist() for row in rows]
    if any(text != texts[0] for text in texts):
        raise ModelError(
            f"document {document} has other tokens under another header; its continuations "
            "do not compare."
        )
    return texts[0]


def _logprob(scores: Tensor, mark: np.ndarray) -> Tensor:
    """Log probabilities (nats) of the marked tokens of a row, dims (token, vocabulary)."""
    # a token is predicted at the one before it
    return scores[np.flatnonzero(mark) - 1].double().log_softmax(-1)
