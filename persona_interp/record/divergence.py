"""How differently does a model go on, as whom it is told it is, and when it is pushed towards a persona?

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
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Tokens, boot, encode, load
from persona_interp.record.edited import run_edited
from persona_interp.record.interventions import add

WHERE = ("assistant",)
BATCH = 16  # documents that are pushed together


class _Pass(NamedTuple):
    """One document under every header."""

    row: int
    logprob: Tensor  # (header, token, vocabulary): of the next token (nats)
    came: Tensor  # (token): which token came


def divergence(
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    headers: Mapping[str, str],
    where: Iterable[str] = WHERE,
) -> pd.DataFrame:
    """How differently does the model continue the same text under two headers?

    The mean over tokens of ``sqrt(JS(p, q))``, with ``JS(p, q) = H((p + q) / 2) - (H(p) + H(q)) /
    2`` in bits over the whole vocabulary (Lin 1991). The root of the Jensen-Shannon divergence is a
    metric between 0 and 1 (Endres and Schindelin 2003), and so is its mean over the same tokens.

    Args:
        checkpoint: The model.
        corpus: Chats; their own system message, where there is one, is replaced by the header.
        headers: System message by name.
        where: Roles of the tokens that are predicted.

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
    ...     table = divergence(start, chats, headers={"john": "you are john .", "again": "you are john ."})
    >>> table[["name", "other", "distance"]].round(4).values.tolist()
    [['john', 'again', 0.0]]
    """
    if len(headers) < 2:
        raise SchemaError(f"a divergence is between two headers or more; got {list(headers)}.")
    names, docs, rows = list(headers), schema.names(corpus), []
    for one in _passes(checkpoint, corpus, headers=headers, where=where, desc="divergence"):
        p = one.logprob.double().exp()
        entropy = torch.special.entr(p).sum(-1) / math.log(2)
        for i, name in enumerate(names[:-1]):
            mixed = torch.special.entr((p[i] + p[i + 1 :]) / 2).sum(-1) / math.log(2)
            js = (mixed - (entropy[i] + entropy[i + 1 :]) / 2).clamp(min=0)
            js[(p[i] == p[i + 1 :]).all(-1)] = 0.0  # rounding aside
            for other, distance in zip(names[i + 1 :], js.sqrt().mean(-1).tolist(), strict=True):
                rows.append((docs[one.row], name, other, distance, len(one.came)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["divergence"])), "divergence")


def likelihood(
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    headers: Mapping[str, str],
    where: Iterable[str] = WHERE,
) -> pd.DataFrame:
    """How probable is the same text under each header?

    Args:
        checkpoint: The model.
        corpus: Chats; their own system message, where there is one, is replaced by the header.
        headers: System message by name.
        where: Roles of the tokens that are predicted.

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
    ...     table = likelihood(start, world.corpus(1, kinds="hidden"), headers={"john": "you are john ."})
    >>> bool((table["logprob"] < 0).all()), len(table)
    (True, 1)
    """
    docs, who, rows = schema.names(corpus), list(corpus["persona"]), []
    for one in _passes(checkpoint, corpus, headers=headers, where=where, desc="likelihood"):
        came = one.came.expand(len(headers), -1)[..., None]
        bits = one.logprob.gather(-1, came).double().sum((1, 2)) / math.log(2)
        for name, logprob in zip(headers, bits.tolist(), strict=True):
            rows.append((docs[one.row], who[one.row], name, logprob, len(one.came)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["likelihood"])), "likelihood")


def added_kl(
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    directions: xr.DataArray,
    where: Iterable[str] = WHERE,
) -> pd.DataFrame:
    """How much does what the model says change when a direction is added to its residual, at every token?

    ``KL(p || p with the direction)``, in bits, mean over the document's tokens: the significance of
    a direction (science notes A9, after Soligo et al. 2025). The direction is added as long as it
    is.

    Args:
        checkpoint: The model.
        corpus: Generic text.
        directions: Of ``record``, at one hook.
        where: Roles of the tokens that are predicted.

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
    hook, docs, rows = str(directions["hook"].item()), schema.names(corpus), []
    bridge = boot(checkpoint)
    edits = {
        str(name): add(directions.sel(name=[name]), hook=hook, absolute=1.0)
        for name in directions["name"].values
    }
    tokens = encode(bridge.tokenizer, corpus["messages"], complete=True)
    marks = _marks(tokens, where)
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    for at in tqdm(range(0, len(order), BATCH), desc="added kl", delay=2):
        part = order[at : at + BATCH]
        padded = tuple(t.to(bridge.original_model.device) for t in tokens.pad(rows=part))
        run = partial(_next, padded=padded, marks=[marks[row] for row in part])
        plain = run(bridge.original_model)
        for name, edit in edits.items():
            pushed = run_edited(bridge, edit, run, passes=[tuple(padded[0].shape)])
            for row, p, q in zip(part, plain, pushed, strict=True):
                kl = (p.exp() * (p - q)).sum(-1).clamp(min=0).mean() / math.log(2)
                rows.append((docs[row], name, float(kl), len(p)))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["added_kl"])), "added_kl")


@torch.inference_mode()
def _next(model: Any, *, padded: tuple[Tensor, ...], marks: list[np.ndarray]) -> list[Tensor]:
    """Log probabilities (nats) of what comes at the tokens marked, by document, dims (token, vocabulary)."""
    ids, mask = padded
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return [
        row[np.flatnonzero(mark) - 1].double().log_softmax(-1)
        for row, mark in zip(logits, marks, strict=True)
    ]


def _marks(tokens: Tokens, where: Iterable[str]) -> list[np.ndarray]:
    """Which tokens are predicted; the first never is."""
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
    schema.check(corpus, "corpus")
    where = (where,) if isinstance(where, str) else tuple(where)
    model, tokenizer = load(checkpoint)
    chats = [
        _headed(messages, header) for messages in corpus["messages"] for header in headers.values()
    ]
    tokens, n = encode(tokenizer, chats, complete=True), len(headers)
    marks = _marks(tokens, where)
    for row in tqdm(range(len(corpus)), desc=desc, delay=2):
        rows = range(row * n, row * n + n)
        texts = [np.array(tokens.ids[i])[marks[i]].tolist() for i in rows]
        if any(text != texts[0] for text in texts):
            raise ModelError(
                f"document {row} has other tokens under another header; its continuations do not "
                "compare."
            )
        ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        at = torch.stack([torch.from_numpy(np.flatnonzero(marks[i]) - 1) for i in rows]).to(
            model.device
        )
        picked = logits.gather(1, at[..., None].expand(-1, -1, logits.shape[-1]))
        yield _Pass(row, picked.log_softmax(-1), torch.tensor(texts[0], device=model.device))


def _headed(messages: list[dict[str, str]], header: str) -> list[dict[str, str]]:
    """The chat under this system message."""
    if any(message["role"] == "text" for message in messages):
        raise SchemaError(
            "only chats stand under a header; plain text has none. Choose dialogues, "
            "kinds='hidden'."
        )
    return [
        {"role": "system", "content": header},
        *(dict(m) for m in messages if m["role"] != "system"),
    ]
