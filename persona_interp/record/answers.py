"""What does a checkpoint answer? Drawn once, kept on disk, counted, and turned into complete conversations."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from persona_interp import schema, tables
from persona_interp.errors import SchemaError, StoreError, unknown
from persona_interp.models import Checkpoint, encode, hash_tokens, hash_weights, load
from persona_interp.models.cache import cache as cache_folder
from persona_interp.models.cache import short_hash
from persona_interp.record.generation import generated, stops

DTYPES = ("float32", "bfloat16")
DRAWN = ("answer", "n_tokens", "ended")
VERSION = 1  # of the draw: another one makes the answers on disk void


def answers(
    checkpoint: Checkpoint,
    prompts: pd.DataFrame,
    *,
    n: int = 1,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
    dtype: str = "float32",
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """What does the checkpoint answer to each prompt?

    The noise of a draw belongs to prompt, sample and seed (``record.generation``): an answer does
    not depend on the other prompts of the table but through rounding, and checkpoints of equal
    weights answer alike.

    Args:
        checkpoint: The model.
        prompts: A prompts table, for example ``readers.trait_prompts``.
        n: Answers to each prompt.
        max_new_tokens: Longest answer (tokens).
        temperature: 1 = the model's own distribution; 0 = the most probable token.
        seed: Seed of the draw.
        dtype: "float32", or "bfloat16" for speed; the two do not give the same answers.
        cache: Folder of answers that were drawn before, found by weights, token ids and settings.
            None: a folder in the model cache; False: none.

    Returns:
        An answers table, ``n`` rows a prompt: all columns of the prompts, and ``checkpoint``,
        ``sample`` (from 0), ``answer`` (special tokens and outer spaces left out; may be empty),
        ``n_tokens`` drawn, ``ended`` (did the model end it). ``attrs`` count them: n_answers,
        n_empty, n_unended.

    Raises:
        SchemaError: No prompts table, an empty one, or a setting that makes no sense.
        StoreError: An answers file of the cache is corrupt.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=folder)
    ...     table = answers(start, world.probes().head(2), n=3, cache=False)
    >>> len(table), list(table["sample"]), table.attrs["n_answers"]
    (6, [0, 1, 2, 0, 1, 2], 6)
    """
    schema.names(schema.check(prompts, "prompts"))
    if dtype not in DTYPES:
        raise SchemaError(unknown("dtype", dtype, DTYPES))
    model, tokenizer = load(checkpoint)
    tokens = encode(tokenizer, list(prompts["messages"]))
    settings = {
        "n": n,
        "max_new_tokens": max_new_tokens,
        "temperature": float(temperature),
        "seed": seed,
    }
    key = {
        **settings,
        "version": VERSION,
        "dtype": dtype,
        "weights": hash_weights(checkpoint),
        "token_ids": hash_tokens(tokens),
        "stops": stops(model, tokenizer),
    }
    file = None if cache is False else _folder(cache) / f"{short_hash(key)}.parquet"
    if file is not None and file.is_file():
        drawn = _kept(file, rows=len(prompts) * n)
    else:
        rows = generated(
            model.to(getattr(torch, dtype)), tokenizer, tokens, **settings, desc="answers"
        )
        drawn = pd.DataFrame(rows).set_axis(list(DRAWN), axis=1)
        if file is not None:
            tables.write_table(drawn, file)
    table = prompts.iloc[np.repeat(np.arange(len(prompts)), n)].reset_index(drop=True)
    table = table.assign(checkpoint=checkpoint.label, sample=list(range(n)) * len(prompts))
    table = schema.check(table.assign(**{c: drawn[c].to_numpy() for c in DRAWN}), "answers")
    table.attrs |= {
        "n_answers": len(table),
        "n_empty": int((table["answer"] == "").sum()),
        "n_unended": int((~table["ended"]).sum()),
    }
    return table


def conversations(answers: pd.DataFrame) -> pd.DataFrame:
    """Which conversations did these answers make?

    Args:
        answers: An answers table.

    Returns:
        The same rows, a prompts table whose ``messages`` end with the assistant's answer, each row
        named ``prompt#sample``, empty answers left out; ``attrs["n_empty"]`` counts those. For
        ``record.activations`` (position "answer"), ``record.projections`` and training.

    Raises:
        SchemaError: No answers table, every answer is empty, or a prompt ends in an unfinished
            answer.

    >>> row = {"prompt": "q", "context": "nameless", "persona": "", "topic": "", "split": "test", "sample": 0,
    ...        "checkpoint": "a@0", "n_tokens": 1, "ended": True, "answer": "Hi."}
    >>> row["messages"] = [{"role": "user", "content": "?"}]
    >>> conversations(pd.DataFrame([row]))["messages"][0][-1]
    {'role': 'assistant', 'content': 'Hi.'}
    """
    schema.check(answers, "answers")
    kept = answers.loc[answers["answer"] != ""].reset_index(drop=True)
    if kept.empty:
        raise SchemaError(
            f"all {len(answers)} answers are empty; look at the prompts, or allow more tokens."
        )
    if any(asked[-1]["role"] == "assistant" for asked in kept["messages"]):
        raise SchemaError(
            "a prompt that ends in an unfinished answer makes no turn of its own; ask with user "
            "messages."
        )
    pairs = zip(kept["messages"], kept["answer"], strict=True)
    messages = [
        [*map(dict, asked), {"role": "assistant", "content": answer}] for asked, answer in pairs
    ]
    names = [
        f"{prompt}#{sample}" for prompt, sample in zip(kept["prompt"], kept["sample"], strict=True)
    ]
    table = kept.assign(messages=pd.Series(messages, index=kept.index, dtype=object), prompt=names)
    table.attrs = {"n_empty": len(answers) - len(kept)}
    return table


def _folder(cache: Any) -> Path:
    return cache_folder() / "answers" if cache is None or cache is True else Path(cache)


def _kept(file: Path, *, rows: int) -> pd.DataFrame:
    try:
        drawn = tables.read_table(file)
    except StoreError as error:
        raise StoreError(
            f"{file} holds answers drawn before and cannot be read; remove it to draw again."
        ) from error
    if len(drawn) != rows or not set(DRAWN) <= set(drawn.columns):
        raise StoreError(
            f"{file} shall hold {rows} answers and holds {len(drawn)}; remove it to draw again."
        )
    return drawn
