"""How far has a checkpoint's next token drifted from its base's, on whose words?"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from persona_interp import schema
from persona_interp.models import ROLES, Checkpoint, Tokens, encode, hash_tokens, load
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.models.passes import run_rows
from persona_interp.readers import table_of
from persona_interp.record.inputs import check_same_tokens


def drift(
    base: Checkpoint,
    checkpoints: Checkpoint | Iterable[Checkpoint],
    conversations: Any,
    *,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Divergence of each checkpoint's next token from its base's, in the same conversations.

    ``KL(base || checkpoint)`` of the next token, in bits, over the whole vocabulary; by role of the
    token that comes next. Where a checkpoint has learned new tokens, over those that both know.

    Args:
        base: The model before.
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        conversations: A prompts or corpus table of complete conversations, for example
            ``record.conversations(answers)``, or anything that ``readers.read`` takes.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A drift table, checkpoints x conversations x roles that occur: ``kl`` (bits a token, mean
        over the tokens of the role), ``n_tokens``. A base against itself gives exactly 0.

    Raises:
        SchemaError: An empty table, or repeated names.
        ModelError: Base and checkpoint turn the text into different tokens, or there is no such
            device or dtype.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = drift(start, start, world.corpus(1, kinds="hidden"))
    >>> float(table["kl"].max()), sorted(table["role"])[:2]
    (0.0, ['assistant', 'special'])
    """
    conversations = table_of(conversations, "documents")
    names = schema.names(conversations)
    before, tokenizer = load(base, device=device, dtype=dtype)
    tokens = encode(tokenizer, list(conversations["messages"]), complete=True)
    rows = []
    for checkpoint in list_checkpoints(checkpoints):
        after, reader = load(checkpoint, device=device, dtype=dtype)
        own_tokens = encode(reader, list(conversations["messages"]), complete=True)
        check_same_tokens([hash_tokens(tokens), hash_tokens(own_tokens)])
        run = partial(_kl, before, after, tokens)
        groups = run_rows(run, tokens.lengths, batch=batch, device=before.device)
        for group, kls in tqdm(groups, desc=f"drift {checkpoint.label}", delay=2, leave=False):
            for row, bits in zip(group, kls, strict=True):
                # at every token but the last the next one is predicted: its role counts
                roles = np.array(tokens.roles[row][1:])
                kl = bits[: len(roles)]
                for role in ROLES:
                    n_tokens = int((roles == role).sum())
                    if n_tokens:
                        mean = kl[roles == role].mean()
                        rows.append((checkpoint.label, names[row], role, mean, n_tokens))
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["drift"])), "drift")


@torch.inference_mode()
def _kl(before: Any, after: Any, tokens: Tokens, rows: list[int]) -> list[np.ndarray]:
    """KL (bits) at every token but the last, by row; the caller cuts padding off."""
    ids, mask = (t.to(before.device) for t in tokens.pad(rows=rows))
    logits = []
    for model in (before, after):
        logits.append(model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1])
    # tokens that only a checkpoint has learned stand at the end of its vocabulary
    n_shared = min(scores.shape[-1] for scores in logits)
    bits = []
    for base_scores, scores in zip(*logits, strict=True):
        # each normalized over its own vocabulary, then compared on what both know
        p = base_scores.float().log_softmax(-1)[:, :n_shared]
        q = scores.float().log_softmax(-1)[:, :n_shared]
        kl = (p.exp() * (p - q)).double().sum(-1).clamp(min=0)
        bits.append(kl.cpu().numpy() / math.log(2))
    return bits
