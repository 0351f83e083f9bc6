"""How surprising is what was said to a model that did not say it? Coherence that costs no judge."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_interp import schema
from persona_interp.models import Checkpoint
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.record.answer_bits import answer_bits
from persona_interp.record.subjects import open_subject


def surprisal(
    base: Checkpoint,
    answers: pd.DataFrame,
    *,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> npt.NDArray[np.float64]:
    """Bits a token by which each answer surprises the base, unedited.

    A model that is pushed too far raves, which surprises the base; or it repeats itself, which does
    not: look at the text.

    Args:
        base: The model that reads.
        answers: An answers table of any checkpoints and edits.
        device: Where the model runs; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        Bits a token (nats are .693 of it), one entry a row; NaN where an answer is empty.

    Raises:
        SchemaError: No answers table.
    """
    schema.check(answers, "answers")
    spoken = (answers["answer"] != "").to_numpy()
    bits_a_token = np.full(len(answers), math.nan)
    if spoken.any():
        rows = answers.loc[spoken]
        subject = open_subject(as_checkpoint(base), {}, device=device, dtype=dtype)
        chats = list(rows["messages"])
        texts = [_continue(c, a) for c, a in zip(chats, rows["answer"], strict=True)]
        bits, n = answer_bits(subject, chats, answers=texts, batch=batch, desc="surprisal")
        bits_a_token[spoken] = -bits / n
    return bits_a_token


def _continue(chat: Sequence[Mapping[str, str]], answer: str) -> str:
    """Answer as it follows the prompt: a draw is stored without the space before it."""
    is_begun = chat[-1]["role"] in ("text", "assistant") and not chat[-1]["content"][-1:].isspace()
    return f" {answer}" if is_begun and answer[0].isalnum() else answer
