"""How probable is what was answered? Log2 probabilities of the last message of conversations."""

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from persona_interp.errors import SchemaError
from persona_interp.models import Tokens, encode
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO
from persona_interp.models.passes import run_rows
from persona_interp.record.edit import Edit
from persona_interp.record.places import lay_out
from persona_interp.record.pooling import answer_marks
from persona_interp.record.subjects import Subject


def answer_bits(
    subject: Subject,
    chats: Sequence[Any],
    *,
    answers: Sequence[str] | None = None,
    edits: Sequence[Edit] = (),
    batch: Batch = AUTO,
    desc: str = "bits",
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Log2 probability of the answer at the end of each conversation, given what is before it.

    The end of the turn is not counted: an answer may have been cut off.

    Args:
        subject: A model.
        chats: Lists of messages, the last one an assistant's, which is the answer.
        answers: What follows each, where the chats are unfinished and end before it.
        edits: What is on while it reads; the last message is what they call generated.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.
        desc: What the progress bar says.

    Returns:
        log2 of the probability of all its tokens together (bits), and their number, one entry a
        conversation.

    Raises:
        SchemaError: A conversation that does not end in an answer of at least one token, or an
            edit that is on at no token.
        ModelError: An edit did not fire exactly once on every token.
    """
    tokens = encode(subject.tokenizer, chats, answers=answers)
    if answers is None:
        marks = answer_marks(tokens, chats, ("assistant",))
    else:
        marks = [np.arange(stop) >= start for start, stop in tokens.spans]
    n = np.array([mark.sum() for mark in marks])
    if not n.all():
        raise SchemaError(
            f"conversation {int(n.argmin())} does not end in an assistant's answer; leave it out."
        )
    subject.check_places(tokens)
    return token_bits(subject, tokens, marks, edits=edits, batch=batch, desc=desc), n


def token_bits(
    subject: Subject,
    tokens: Tokens,
    marks: Sequence[npt.NDArray[np.bool_]],
    *,
    edits: Sequence[Edit] = (),
    batch: Batch = AUTO,
    desc: str = "bits",
) -> npt.NDArray[np.float64]:
    """Log2 probability of the marked tokens of each row together, given what is before each.

    Args:
        subject: A model.
        tokens: Rows of tokens.
        marks: Which tokens of each row count: at least one, and never the first, which nothing
            predicts.
        edits: What is on while it reads; marked tokens are what they call generated.
        batch: Tokens a forward pass, padding included.
        desc: What the progress bar says.

    Returns:
        Bits, one entry a row.

    Raises:
        ModelError: An edit did not fire exactly once on every token.
    """

    def read(rows: list[int]) -> npt.NDArray[np.float64]:
        own = [marks[row] for row in rows]
        run = partial(_bits, tokens=tokens, rows=rows, marks=own)
        roles = [tokens.roles[row] for row in rows]
        return subject.run(edits, run, layouts=lambda: [lay_out(roles, own)])

    bits = np.empty(len(tokens))
    with tqdm(total=len(tokens), desc=desc, delay=2, leave=False) as bar:
        for rows, values in run_rows(read, tokens.lengths, batch=batch, device=subject.device):
            bits[rows] = values
            bar.update(len(rows))
    return bits


@torch.inference_mode()
def _bits(
    model: Any, *, tokens: Tokens, rows: list[int], marks: list[npt.NDArray[np.bool_]]
) -> npt.NDArray[np.float64]:
    """Log2 probability of the marked tokens of each row together (bits)."""
    ids, mask = (t.to(model.device) for t in tokens.pad(rows=rows))
    # A token is predicted at the one before it. Logits of earlier positions are not asked for where
    # the model can leave them out: over a large vocabulary they take most of the memory.
    first = min(int(mark.argmax()) for mark in marks) - 1
    options = {}
    if "logits_to_keep" in signature(model.forward).parameters:
        options["logits_to_keep"] = ids.shape[1] - first
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False, **options).logits
    n_omitted = ids.shape[1] - logits.shape[1]
    bits = []
    for row, (scores, mark) in enumerate(zip(logits, marks, strict=True)):
        at = torch.as_tensor(np.flatnonzero(mark), device=ids.device)
        # cross entropy with no reduction is minus the log probability of each token
        nats = cross_entropy(scores[at - 1 - n_omitted].float(), ids[row, at], reduction="none")
        bits.append(-float(nats.double().sum()) / np.log(2))
    return np.array(bits)
