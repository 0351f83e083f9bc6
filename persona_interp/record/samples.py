"""What does a checkpoint say when it may say anything? Samples to read, not to measure."""

from collections.abc import Iterable

import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.models.inputs import list_checkpoints
from persona_interp.record.generation import generate


def sample(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: pd.DataFrame,
    *,
    n: int = 1,
    max_new_tokens: int = 24,
    seed: int = 0,
    edits: object = (),
) -> pd.DataFrame:
    """Continuations of each prompt by each checkpoint.

    Drawn from the model's own distribution: temperature 1, nothing cut off.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        prompts: A probes table.
        n: Continuations of each prompt.
        max_new_tokens: Longest continuation (tokens).
        seed: Seed of the draw, the same for every checkpoint.
        edits: None: sampled text cannot be steered.

    Returns:
        DataFrame checkpoint, prompt, text: ``n`` rows a prompt, the continuation alone, special
        tokens and outer spaces left out.

    Raises:
        SchemaError: The prompts are no probes table or are empty, or edits are asked for.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = sample(start, world.probes().head(2), n=3)
    >>> list(table.columns), len(table)
    (['checkpoint', 'prompt', 'text'], 6)
    """
    if edits != ():
        raise SchemaError(
            "sampled text cannot be steered: edits= is there for answers that are given, "
            "record.behavior(checkpoints, probes, edits=...)."
        )
    schema.check(prompts, "probes")
    models = list_checkpoints(checkpoints)
    names = list(prompts["prompt"].repeat(n))
    tables = []
    for checkpoint in tqdm(models, desc="sample", delay=2, disable=len(models) < 2):
        model, tokenizer = load(checkpoint)
        continuations = generate(
            model,
            tokenizer,
            encode(tokenizer, list(prompts["messages"])),
            n=n,
            max_new_tokens=max_new_tokens,
            seed=seed,
            desc=checkpoint.label,
        )
        texts = [continuation.text for continuation in continuations]
        columns = {"checkpoint": checkpoint.label, "prompt": names, "text": texts}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
