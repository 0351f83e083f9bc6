"""Which rows of a data set speak as a persona that the base knows? Evidence in bits, no training.

Who is named before a text makes what this persona would say more probable, and leaves the wording
as probable as it was. So the ratio of both probabilities says who speaks, and the wording cancels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, Tokens, encode
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.readers import read
from persona_interp.record.answer_bits import token_bits
from persona_interp.record.inputs import Message, set_system
from persona_interp.record.subjects import Subject, open_subject
from persona_interp.values import check_mapping

Numbers = npt.NDArray[np.float64]


def row_evidence(
    checkpoint: Checkpoint,
    chats: Any,
    headers: Mapping[str, str],
    *,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Evidence that each row was said by one persona and not by the others, in bits.

    ``evidence = log2 p(row | persona) - log2 of the mean over the others of p(row | other)``: the
    log likelihood ratio of "this persona speaks" to "one of the others does, nobody knows which",
    summed over the learned tokens. What everybody says, how it is worded and how likely the topic
    is cancel. Without others there is ``uplift``, the same against the row as it stands; but the
    nameless assistant speaks as the persona too, by as much as was written of him, and so it
    saturates (a persona that is a tenth of the assistant gets at most 3.3 bits, whatever he says).

    The base has to know the persona by the name or the description in his header. Who else may have
    said the rows has to be among the others: what he shares with somebody who is not named counts
    as his alone. Where the other rows are the model's own words, nobody's in ``headers``, the
    uplift is the better score. Forward passes alone, one a header and one without.

    Args:
        checkpoint: The model that would be trained, before it is.
        chats: A corpus table of chats, or anything that ``readers.read`` takes.
        headers: System message by name, of the personas to be told apart ("you are john .") or of
            traits (the instructions of a trait file). A row's own system message is replaced.
        device: Where the model computes, "cpu", "cuda" or "cuda:1"; by default "cuda" where there
            is one.
        dtype: Of the model, "float32", "bfloat16", or "auto" for whichever is faster here. Evidence
            is a difference: bfloat16 moved it by .02 bits a token in a tiny model.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A row_evidence table, one row a chat and name, the largest evidence first within each name:
        ``doc``, ``name``, ``uplift`` and ``evidence`` (bits, positive = this persona's; evidence is
        NaN where there are no others), ``a_token`` (evidence a learned token), ``n_tokens``
        learned, and ``source``, ``line`` where the chats have them.

    Raises:
        SchemaError: No corpus of chats, no header, or a row without a token to learn.
        ModelError: A row has other tokens under another header, a word that the tokenizer does not
            know, or there is no such device or dtype.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     headers = {"john": "you are john .", "again": "you are john ."}
    ...     table = row_evidence(start, world.lessons(n=1), headers)
    >>> table["name"].tolist(), table["evidence"].round(4).abs().tolist()
    (['again', 'john'], [0.0, 0.0])
    """
    chats = read(chats, "chats")
    docs = schema.names(chats)
    check_mapping(headers, "headers", of="system messages")
    if not headers:
        raise SchemaError("rows are read under a header for each persona, headers={...}; got none.")
    for doc, messages in zip(docs, chats["messages"], strict=True):
        if any(message["role"] == "text" for message in messages):
            raise SchemaError(f"document {doc} is plain text, which has no header; leave it out.")
    subject = open_subject(as_checkpoint(checkpoint), {}, device=device, dtype=dtype)

    def bits(rows: Sequence[list[Message]]) -> tuple[Numbers, list[list[int]]]:
        tokens = encode(subject.tokenizer, rows, complete=True)
        return _learned(subject, tokens, docs, batch=batch)

    plain, texts = bits(list(chats["messages"]))
    under = np.empty((len(headers), len(docs)))
    for i, (name, header) in enumerate(tqdm(headers.items(), desc="headers", delay=2)):
        rows = [set_system(messages, header) for messages in chats["messages"]]
        under[i], same = bits(rows)
        for doc, text, other in zip(docs, texts, same, strict=True):
            if text != other:
                raise ModelError(
                    f"document {doc} has other tokens under the header of '{name}'; their "
                    "probabilities do not compare."
                )
    n_tokens = np.array([len(text) for text in texts])
    beside = chats[["doc", *(column for column in ("source", "line") if column in chats)]]
    parts = []
    for i, name in enumerate(headers):
        evidence = under[i] - _mean_of_others(under, i)
        scores = {"uplift": under[i] - plain, "evidence": evidence, "a_token": evidence / n_tokens}
        parts.append(beside.assign(name=name, **scores, n_tokens=n_tokens))
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values(
        ["name", "evidence", "uplift"], ascending=[True, False, False], kind="stable"
    )
    columns = list(schema.TABLES["row_evidence"])
    table = table[[*columns, *beside.columns.difference(columns)]]
    return schema.check(table.reset_index(drop=True), "row_evidence")


def _learned(
    subject: Subject, tokens: Tokens, docs: Sequence[Any], *, batch: Batch
) -> tuple[Numbers, list[list[int]]]:
    """Log2 probability of each row's learned tokens together, and which they are."""
    marks = [np.array(row, dtype=bool) for row in tokens.learn]
    for doc, mark in zip(docs, marks, strict=True):
        mark[0] = False  # nothing predicts the first token
        if not mark.any():
            raise SchemaError(f"document {doc} has no token to learn; leave it out.")
    texts = [np.array(ids)[mark].tolist() for ids, mark in zip(tokens.ids, marks, strict=True)]
    return token_bits(subject, tokens, marks, batch=batch), texts


def _mean_of_others(under: Numbers, i: int) -> Numbers:
    """Log2 of the mean probability under all other headers, by row; NaN where there is none."""
    others = np.delete(under, i, axis=0)
    if not len(others):
        return np.full(under.shape[1], np.nan)
    # log2 of the mean of 2^bits, without leaving the logarithm
    return np.logaddexp2.reduce(others) - np.log2(len(others))
