"""What does a checkpoint answer? Drawn once, stored on disk, counted, made conversations."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema, tables
from persona_interp.errors import SchemaError, StoreError
from persona_interp.models import (
    Checkpoint,
    encode,
    hash_tokens,
    hash_weights,
    load,
    resolve_dtype,
)
from persona_interp.models.cache import cache as cache_folder
from persona_interp.models.cache import short_hash
from persona_interp.readers import read
from persona_interp.record.generation import generate, stop_tokens

ANSWER_COLUMNS = ("answer", "n_tokens", "ended")  # in the order of generation.Continuation
VERSION = 2  # of the draw: another one makes the answers on disk void


def answers(
    checkpoint: Checkpoint,
    prompts: Any,
    *,
    n: int = 1,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
    dtype: str = "float32",
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """Answers of the checkpoint to each prompt.

    The noise of a draw belongs to prompt, sample and seed (``record.generation``): an answer does
    not depend on the other prompts of the table but through rounding, and checkpoints of equal
    weights answer alike.

    Args:
        checkpoint: The model.
        prompts: A prompts table, for example ``readers.trait_prompts``, or anything that
            ``readers.read`` takes.
        n: Answers to each prompt.
        max_new_tokens: Longest answer (tokens).
        temperature: 1 = the model's own distribution; 0 = the most probable token.
        seed: Seed of the draw.
        dtype: "float32", "bfloat16" for speed, or "auto" for whichever is faster here; the two do
            not give the same answers.
        cache: Folder of answers that were drawn before, found by weights, token ids and settings.
            None: a folder in the model cache; False: none.

    Returns:
        An answers table, ``n`` rows a prompt: all columns of the prompts, and ``checkpoint``,
        ``sample`` (from 0), ``answer`` (special tokens and outer spaces left out; may be empty),
        ``n_tokens`` drawn, ``ended`` (did the model end it). ``attrs`` count them: n_answers,
        n_empty, n_unended.

    Raises:
        SchemaError: No prompts table, an empty one, or a setting that makes no sense.
        ModelError: An unknown dtype.
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
    prompts = read(prompts, "prompts")
    schema.names(prompts)
    dtype = resolve_dtype(dtype)
    model, tokenizer = load(checkpoint, dtype=dtype)
    tokens = encode(tokenizer, list(prompts["messages"]))
    settings = {
        "n": n,
        "max_new_tokens": max_new_tokens,
        "temperature": float(temperature),
        "seed": seed,
    }
    # Everything that an answer depends on: what differs in none of it is drawn once. Names of the
    # key may not change, or every answer on disk would be drawn again.
    key = {
        **settings,
        "version": VERSION,
        "dtype": dtype,
        "weights": hash_weights(checkpoint),
        "token_ids": hash_tokens(tokens),
        "stops": stop_tokens(model, tokenizer),
    }
    file = None
    if cache is not False:
        file = _folder(cache) / f"{short_hash(key)}.parquet"
    if file is not None and file.is_file():
        draws = _read(file, rows=len(prompts) * n)
    else:
        rows = generate(model, tokenizer, tokens, **settings, desc="answers")
        draws = pd.DataFrame(rows).set_axis(list(ANSWER_COLUMNS), axis=1)
        if file is not None:
            tables.write_table(draws, file)
    table = prompts.iloc[np.repeat(np.arange(len(prompts)), n)].reset_index(drop=True)
    table = table.assign(checkpoint=checkpoint.label, sample=list(range(n)) * len(prompts))
    for column in ANSWER_COLUMNS:
        table[column] = draws[column].to_numpy()
    table = schema.check(table, "answers")
    table.attrs |= {
        "n_answers": len(table),
        "n_empty": int((table["answer"] == "").sum()),
        "n_unended": int((~table["ended"]).sum()),
    }
    return table


def conversations(answers: pd.DataFrame) -> pd.DataFrame:
    """Complete conversations: each prompt with its answer.

    Args:
        answers: An answers table.

    Returns:
        The same rows, a prompts table whose ``messages`` end with the assistant's answer, each row
        named ``prompt#sample``, empty answers left out; ``attrs["n_empty"]`` counts those. For
        ``record.activations`` (position "answer"), ``record.projections`` and training.

    Raises:
        SchemaError: No answers table, every answer is empty, or a prompt ends in an unfinished
            answer.

    >>> row = {"prompt": "q", "context": "nameless", "persona": "", "topic": "", "split": "test"}
    >>> row["messages"] = [{"role": "user", "content": "?"}]
    >>> row |= {"checkpoint": "a@0", "sample": 0, "answer": "Hi.", "n_tokens": 1, "ended": True}
    >>> conversations(pd.DataFrame([row]))["messages"][0][-1]
    {'role': 'assistant', 'content': 'Hi.'}
    """
    schema.check(answers, "answers")
    rows = answers.loc[answers["answer"] != ""].reset_index(drop=True)
    if rows.empty:
        raise SchemaError(
            f"all {len(answers)} answers are empty; look at the prompts, or allow more tokens."
        )
    if any(prompt[-1]["role"] == "assistant" for prompt in rows["messages"]):
        raise SchemaError(
            "a prompt that ends in an unfinished answer makes no turn of its own; ask with user "
            "messages."
        )
    chats = []
    for prompt, answer in zip(rows["messages"], rows["answer"], strict=True):
        chats.append([*map(dict, prompt), {"role": "assistant", "content": answer}])
    # several answers to one prompt would otherwise share its name
    names = [f"{name}#{i}" for name, i in zip(rows["prompt"], rows["sample"], strict=True)]
    messages = pd.Series(chats, index=rows.index, dtype=object)
    table = rows.assign(messages=messages, prompt=names)
    table.attrs = {"n_empty": len(answers) - len(rows)}
    return table


def _folder(cache: Any) -> Path:
    if isinstance(cache, Path | str):
        return Path(cache)
    return cache_folder() / "answers"


def _read(file: Path, *, rows: int) -> pd.DataFrame:
    """Answers drawn before, from the cache."""
    try:
        draws = tables.read_table(file)
    except StoreError as error:
        raise StoreError(
            f"{file} holds answers drawn before and cannot be read; remove it to draw again."
        ) from error
    if len(draws) != rows or not set(ANSWER_COLUMNS) <= set(draws.columns):
        raise StoreError(
            f"{file} shall hold {rows} answers and holds {len(draws)}; remove it to draw again."
        )
    return draws
