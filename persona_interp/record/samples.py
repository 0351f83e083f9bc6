"""What does a checkpoint say when it may say anything? Sampled continuations, for reading, not for measuring."""

from collections.abc import Iterable

import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.models import Checkpoint, encode, load
from persona_interp.record.generation import generated


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
        DataFrame checkpoint, prompt, text: ``n`` rows a prompt, the continuation alone, special
        tokens and outer spaces left out.

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
        drawn = generated(
            model,
            tokenizer,
            tokens,
            n=n,
            max_new_tokens=max_new_tokens,
            seed=seed,
            desc=checkpoint.label,
        )
        texts = [one.text for one in drawn]
        tables.append(
            pd.DataFrame({"checkpoint": checkpoint.label, "prompt": names, "text": texts})
        )
    return pd.concat(tables, ignore_index=True)
