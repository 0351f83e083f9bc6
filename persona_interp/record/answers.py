"""What does a checkpoint answer? Drawn once, stored on disk, counted, made conversations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp import schema, tables
from persona_interp.errors import SchemaError, StoreError
from persona_interp.models import Checkpoint, encode, hash_tokens, hash_weights, resolve_dtype
from persona_interp.models.cache import cache as cache_folder
from persona_interp.models.cache import short_hash
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.readers import read
from persona_interp.record.edit import Edit, Edits, hash_edit, list_edits
from persona_interp.record.endpoint import Endpoint
from persona_interp.record.endpoint_answers import ask
from persona_interp.record.generation import Continuation, generate, stop_tokens
from persona_interp.record.subjects import open_subject

ANSWER_COLUMNS = ("answer", "n_tokens", "ended")  # in the order of generation.Continuation
VERSION = 2  # of the draw: another one makes the answers on disk void


def answers(
    checkpoint: Checkpoint | Endpoint,
    prompts: Any,
    *,
    n: int = 1,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
    edits: Edits = (),
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """Answers of the checkpoint to each prompt.

    The noise of a draw belongs to prompt, sample and seed (``record.generation``): an answer does
    not depend on the other prompts of the table but through rounding, and checkpoints of equal
    weights answer alike.

    Args:
        checkpoint: The model; or one that runs elsewhere, of ``record.endpoint``: its server draws,
            so that edits, device, dtype and batch are not its.
        prompts: A prompts table, for example ``readers.trait_prompts``, or anything that
            ``readers.read`` takes.
        n: Answers to each prompt.
        max_new_tokens: Longest answer (tokens).
        temperature: 1 = the model's own distribution; 0 = the most probable token.
        seed: Seed of the draw, the same whatever is edited.
        edits: Changes of the inside (``record.add``, ``cap``, ...) under which the model answers,
            each alone or, in a tuple, together; a mapping names them: ``read_capping(path)``. An
            edit of strength 0 gives the words of "none".
        device: Where the model runs, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: "float32", "bfloat16" for speed, or "auto" for whichever is faster here; the two do
            not give the same answers.
        batch: Tokens of prompts that are read in one forward pass; "auto": what fits into memory.
        cache: Folder of answers that were drawn before, found by weights, token ids, settings and
            edits (of an endpoint by its name, the chat and settings). None: a folder in the model
            cache; False: none. Under a patch, or a dictionary that is not an SAE, nothing is kept.

    Returns:
        An answers table, ``n`` rows a prompt: all columns of the prompts, and ``checkpoint``,
        ``sample`` (from 0), ``answer`` (special tokens and outer spaces left out; may be empty),
        ``n_tokens`` drawn, ``ended`` (did the model end it). With edits it is edits x prompts x
        samples, and the column ``edit`` names them, "none" first. ``attrs`` count them: n_answers,
        n_empty, n_unended.

    Raises:
        SchemaError: No prompts table, an empty one, a setting that makes no sense, or an edit that
            is on at no token.
        ModelError: An unknown device or dtype, an edit did not fire exactly once on every token,
            read or drawn, or a server that cannot be reached or refuses.
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
    prompts, groups = read(prompts, "prompts"), list_edits(edits)
    schema.names(prompts)
    folder = None if cache is False else _folder(cache)
    settings = {
        "n": n,
        "max_new_tokens": max_new_tokens,
        "temperature": float(temperature),
        "seed": seed,
    }
    if isinstance(checkpoint, Endpoint):
        if groups:
            raise SchemaError(
                f"{checkpoint.name} runs elsewhere, where nothing inside it can be changed; edit "
                "the model itself, models.resolve(path)."
            )
        draws = _table(ask(checkpoint, list(prompts["messages"]), **settings, folder=folder))
        return count(_join(prompts, draws, n=n, checkpoint=checkpoint.name))
    checkpoint, dtype = as_checkpoint(checkpoint), resolve_dtype(dtype, device)
    subject = open_subject(checkpoint, groups, device=device, dtype=dtype)
    tokens = encode(subject.tokenizer, list(prompts["messages"]))
    subject.check_places(tokens)
    # Everything that an answer depends on: what differs in none of it is drawn once. Names of the
    # key may not change, or every answer on disk would be drawn again.
    key = {
        **settings,
        "version": VERSION,
        "dtype": dtype,
        "weights": hash_weights(checkpoint),
        "token_ids": hash_tokens(tokens),
        "stops": stop_tokens(subject.model, subject.tokenizer),
    }
    parts = []
    for name, group in subject.groups.items():
        file = _file(folder, key, group, is_edited=bool(groups))
        if file is not None and file.is_file():
            draws = _read(file, rows=len(prompts) * n)
        else:
            desc = f"answers, {name}" if groups else "answers"
            draws = _table(
                generate(subject, tokens, edits=group, **settings, batch=batch, desc=desc)
            )
            if file is not None:
                tables.write_table(draws, file)
        part = _join(prompts, draws, n=n, checkpoint=checkpoint.label)
        parts.append(part.assign(edit=name) if groups else part)
    return count(pd.concat(parts, ignore_index=True))


def _table(continuations: list[Continuation]) -> pd.DataFrame:
    return pd.DataFrame(continuations).set_axis(list(ANSWER_COLUMNS), axis=1)


def _join(prompts: pd.DataFrame, draws: pd.DataFrame, *, n: int, checkpoint: str) -> pd.DataFrame:
    """The prompts, each with its ``n`` answers."""
    table = prompts.iloc[np.repeat(np.arange(len(prompts)), n)].reset_index(drop=True)
    table = table.assign(checkpoint=checkpoint, sample=list(range(n)) * len(prompts))
    return table.assign(**{column: draws[column].to_numpy() for column in ANSWER_COLUMNS})


def count(table: pd.DataFrame) -> pd.DataFrame:
    """The answers, counted.

    Args:
        table: An answers table.

    Returns:
        The table; ``attrs``: n_answers, n_empty, n_unended.
    """
    table = schema.check(table, "answers")
    table.attrs |= {
        "n_answers": len(table),
        "n_empty": int(np.sum(table["answer"].to_numpy(object) == "")),
        "n_unended": int(np.sum(~table["ended"].to_numpy(bool))),
    }
    return table


def conversations(answers: pd.DataFrame) -> pd.DataFrame:
    """Complete conversations: each prompt with its answer.

    Args:
        answers: An answers table.

    Returns:
        The same rows, a prompts table whose ``messages`` end with the assistant's answer, each row
        named ``prompt#sample`` (and by its edit), empty answers left out; ``attrs["n_empty"]``
        counts those. For ``record.activations`` (position "answer"), ``record.projections`` and
        training.

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
    names = rows["prompt"].astype(str) + "#" + rows["sample"].astype(str)
    if "edit" in rows:
        names += " (" + rows["edit"].astype(str) + ")"
    messages = pd.Series(chats, index=rows.index, dtype=object)
    table = rows.assign(messages=messages, prompt=list(names))
    table.attrs = {"n_empty": len(answers) - len(rows)}
    return table


def _folder(cache: Any) -> Path:
    if isinstance(cache, Path | str):
        return Path(cache)
    return cache_folder() / "answers"


def _file(
    folder: Path | None, key: Mapping[str, Any], edits: Sequence[Edit], *, is_edited: bool
) -> Path | None:
    """File of the answers under these edits; None for none, or if not all they do is known."""
    if folder is None:
        return None
    if is_edited:
        # with nothing on too: it runs in another attention, and so rounds in another way
        hashes = [hash_edit(edit) for edit in edits]
        if None in hashes:
            return None
        key = {**key, "edits": hashes}
    return folder / f"{short_hash(key)}.parquet"


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
