"""What does a checkpoint say when it may say anything? Sampled continuations, for reading, not for measuring."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from persona_interp import schema
from persona_interp.models import Checkpoint, Tokens, encode, load

BATCH = 64  # prompts


def sample(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    n: int = 1,
    max_new_tokens: int = 24,
    seed: int = 0,
) -> pd.DataFrame:
    """How does each checkpoint go on from each prompt?

    Drawn from the model's own distribution: temperature 1, nothing cut off.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        prompts: A probes table.
        n: Continuations of each prompt.
        max_new_tokens: Longest continuation (tokens).
        seed: Seed of the draw, the same for every checkpoint.

    Returns:
        DataFrame checkpoint, prompt, text: ``n`` rows a prompt, the continuation alone, special tokens left out.

    Raises:
        SchemaError: The prompts are no probes table or are empty.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = sample(start, world.probes().head(2), n=3)
    >>> list(table.columns), len(table)
    (['checkpoint', 'prompt', 'text'], 6)
    """
    schema.check(prompts, "probes")
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    names = list(prompts["prompt"].repeat(n))
    tables = []
    for checkpoint in tqdm(listed, desc="sample", delay=2, disable=len(listed) < 2):
        model, tokenizer = load(checkpoint)
        tokens = encode(tokenizer, list(prompts["messages"]))
        texts: list[str] = []
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(seed)
            for i in tqdm(range(0, len(prompts), BATCH), desc=checkpoint.label, delay=2, leave=False):
                rows = range(i, min(i + BATCH, len(tokens)))
                texts += _continue(model, tokenizer, tokens, rows=rows, n=n, max_new_tokens=max_new_tokens)
        tables.append(pd.DataFrame({"checkpoint": checkpoint.label, "prompt": names, "text": texts}))
    return pd.concat(tables, ignore_index=True)


def _continue(model: Any, tokenizer: Any, tokens: Tokens, *, rows: range, n: int, max_new_tokens: int) -> list[str]:
    """Continuations of a left-padded batch, ``n`` after each other for every row."""
    ids, mask = tokens.pad(side="left", rows=rows)
    out = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=n,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokens.pad_id,
    )
    return tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
