"""How far has a checkpoint's next token drifted from its base's, on whose words?"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.models import ROLES, Checkpoint, encode, hash_tokens, load
from persona_interp.record.pooling import same_tokens

BATCH = 8  # conversations


def drift(
    base: Checkpoint, checkpoints: Checkpoint | Iterable[Checkpoint], conversations: pd.DataFrame
) -> pd.DataFrame:
    """How differently does each checkpoint go on from its base, token by token, in the same conversations?

    ``KL(base || checkpoint)`` of the next token, in bits, over the whole vocabulary; by role of the
    token that comes next. Where a checkpoint has learned new tokens, over those that both know.

    Args:
        base: The model before.
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        conversations: A prompts or corpus table of complete conversations, for example
            ``said(answers)``.

    Returns:
        A drift table, checkpoints x conversations x roles that occur: ``kl`` (bits a token, mean
        over the tokens of the role), ``n_tokens``. A base against itself gives exactly 0.

    Raises:
        SchemaError: An empty table, or repeated names.
        ModelError: Base and checkpoint turn the text into different tokens.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = drift(start, start, world.corpus(1, kinds="hidden"))
    >>> float(table["kl"].max()), sorted(table["role"])[:2]
    (0.0, ['assistant', 'special'])
    """
    names = schema.names(conversations)
    before, tokenizer = load(base)
    tokens = encode(tokenizer, list(conversations["messages"]), complete=True)
    order = sorted(range(len(tokens)), key=lambda row: len(tokens.ids[row]))
    rows = []
    for checkpoint in [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints):
        after, reader = load(checkpoint)
        same_tokens(
            [
                hash_tokens(tokens),
                hash_tokens(encode(reader, list(conversations["messages"]), complete=True)),
            ]
        )
        for at in tqdm(
            range(0, len(order), BATCH), desc=f"drift {checkpoint.label}", delay=2, leave=False
        ):
            part = order[at : at + BATCH]
            ids, mask = (t.to(before.device) for t in tokens.pad(rows=part))
            for row, bits in zip(part, _kl(before, after, ids, mask), strict=True):
                roles = np.array(tokens.roles[row][1:])
                kl = bits[: len(roles)]
                rows += [
                    (
                        checkpoint.label,
                        names[row],
                        role,
                        kl[roles == role].mean(),
                        int((roles == role).sum()),
                    )
                    for role in ROLES
                    if (roles == role).any()
                ]
    return schema.check(pd.DataFrame(rows, columns=list(schema.TABLES["drift"])), "drift")


@torch.inference_mode()
def _kl(
    before: torch.nn.Module, after: torch.nn.Module, ids: Tensor, mask: Tensor
) -> list[np.ndarray]:
    """KL (bits) at every token but the last, by row; what padding says is cut off by the caller."""
    logits = [
        model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        for model in (before, after)
    ]
    known = min(part.shape[-1] for part in logits)
    found = []
    for one, other in zip(*logits, strict=True):
        p, q = (x.float().log_softmax(-1)[:, :known] for x in (one, other))
        found.append((p.exp() * (p - q)).double().sum(-1).clamp(min=0).cpu().numpy() / math.log(2))
    return found
