"""What does a checkpoint say when it may say anything? Samples to read, not to measure."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from tqdm import tqdm

from persona_interp import schema
from persona_interp.models import Checkpoint, encode
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.readers import table_of
from persona_interp.record.edit import Edits, list_edits
from persona_interp.record.generation import generate
from persona_interp.record.subjects import open_subject
from persona_interp.values import check_count


def sample(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    prompts: Any,
    *,
    n: int = 1,
    max_new_tokens: int = 24,
    seed: int = 0,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> pd.DataFrame:
    """Continuations of each prompt by each checkpoint.

    Drawn from the model's own distribution: temperature 1, nothing cut off.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints.
        prompts: A prompts or probes table, or anything that ``readers.read`` takes.
        n: Continuations of each prompt.
        max_new_tokens: Longest continuation (tokens).
        seed: Seed of the draw, the same for every checkpoint and edit.
        edits: Changes of the inside (``record.add``, ...), each alone or, in a tuple, together; as
            of ``behavior``.
        device: Where the model runs; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        DataFrame checkpoint, prompt, text: ``n`` rows a prompt, the continuation alone, special
        tokens and outer spaces left out. With edits also ``edit``, "none" first.

    Raises:
        SchemaError: The prompts cannot be read or are empty, or an edit is on at no token.
        ModelError: An edit did not fire exactly once on every token, read or drawn.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = sample(start, world.probes().head(2), n=3)
    >>> list(table.columns), len(table)
    (['checkpoint', 'prompt', 'text'], 6)
    """
    prompts = schema.check(table_of(prompts, "prompts"), "prompts")
    models, groups = list_checkpoints(checkpoints), list_edits(edits)
    names = list(prompts["prompt"].repeat(check_count(n, "n")))
    tables = []
    for checkpoint in tqdm(models, desc="sample", delay=2, disable=len(models) < 2):
        subject = open_subject(checkpoint, groups, device=device, dtype=dtype)
        tokens = encode(subject.tokenizer, list(prompts["messages"]))
        subject.check_places(tokens)
        for name, group in subject.groups.items():
            continuations = generate(
                subject,
                tokens,
                edits=group,
                n=n,
                max_new_tokens=max_new_tokens,
                seed=seed,
                batch=batch,
                desc=f"{checkpoint.label} {name}" if groups else checkpoint.label,
            )
            place = {"checkpoint": checkpoint.label}
            if groups:
                place["edit"] = name
            texts = [continuation.text for continuation in continuations]
            tables.append(pd.DataFrame({**place, "prompt": names, "text": texts}))
    return pd.concat(tables, ignore_index=True)
