"""What does a model say that is pushed along a direction, harder and harder, and does it rave?"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp import schema
from persona_interp.dictionaries.harvest import CONTENT_ROLES
from persona_interp.dictionaries.inputs import AnyDictionary
from persona_interp.errors import SchemaError, excerpt
from persona_interp.models import Checkpoint, encode, open_hooked
from persona_interp.models.chats import as_read
from persona_interp.models.device import Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.models.outliers import SINK
from persona_interp.readers import TraitFile, read
from persona_interp.record.answers import answers
from persona_interp.record.directions import random_directions
from persona_interp.record.edit import EVERYWHERE, Edit
from persona_interp.record.pooling import readings
from persona_interp.record.surprisal import surprisal
from persona_interp.record.trait_evidence import trait_bits
from persona_interp.record.vector_edits import add
from persona_interp.record.vectors import Located, Vectors, locate_one
from persona_interp.schema.words import UNEDITED
from persona_interp.values import check_count, is_number

KEYS = ["edit", "prompt", "sample"]


class _Push(NamedTuple):
    """One entry of a sweep: a direction, and how hard it is pushed along.

    Attributes:
        direction: Its name.
        control: Whether it is a random one.
        strength: As a fraction of a usual residual's length.
    """

    direction: str
    control: bool
    strength: float


def sweep(
    checkpoint: Checkpoint,
    prompts: Any,
    direction: Vectors | AnyDictionary,
    *,
    feature: int | None = None,
    hook: str | None = None,
    strengths: float | Sequence[float] = (-0.5, -0.25, 0.25, 0.5),
    norm: float | None = None,
    where: Iterable[str] = EVERYWHERE,
    controls: int = 0,
    traits: Mapping[str, TraitFile] | None = None,
    base: Checkpoint | None = None,
    n: int = 1,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
    cache: Path | str | bool | None = None,
) -> pd.DataFrame:
    """Answers under pushes of several strengths, with the trait they show and their coherence.

    The unedited base reads every answer, so nobody is paid: how surprising it finds it (coherence;
    a model that is pushed too far raves, which surprises the base, or repeats itself, which does
    not: look at the text), and how much more probable it finds it under a trait's instruction than
    under its opposite (``trait_bits``).

    Args:
        checkpoint: The model that is pushed.
        prompts: A prompts table, or anything that ``readers.read`` takes.
        direction: One direction, or a dictionary with ``feature``, as of ``add``.
        feature: Index of a feature of the dictionary.
        hook: Hook name, as of ``add``.
        strengths: Lengths of the push as fractions of a usual residual's length at the hook;
            negative = away. The unedited model, strength 0, is always there.
        norm: Length of a usual residual at the hook. By default what the direction or dictionary
            knows (see ``add``); where it knows none, the mean over the prompts' tokens in the
            checkpoint, special tokens and attention sinks left out.
        where: Roles of the tokens pushed, as of ``add``; "generated" = those of the answer.
        controls: Random directions that are pushed as far, uniform on the sphere.
        traits: Traits to judge by, of ``readers.read_traits``.
        base: The model that reads the answers, unedited; the checkpoint itself by default.
        n: Answers to each prompt.
        max_new_tokens: Longest answer (tokens).
        temperature: As of ``answers``.
        seed: Of the draws and of the random directions.
        device: Where the models run; by default "cuda" where there is one.
        dtype: "float32", "bfloat16" or "auto".
        batch: Tokens a forward pass; "auto": what fits into memory.
        cache: Folder of answers, as of ``answers``.

    Returns:
        A sweep table, pushes x prompts x answers (x traits), strength 0 first: ``direction``,
        ``control``, ``strength``, ``prompt``, ``sample``, ``answer``, ``n_tokens``,
        ``bits_per_token`` (surprisal to the base, bits; nats are .693 of it), ``trait``,
        ``trait_bits`` (bits a token). ``analysis.sweep`` gives means with intervals,
        ``plots.sweep`` draws those. ``attrs``: checkpoint, base, hook, norm, n_empty.

    Raises:
        SchemaError: No direction, no strength or one twice, prompts that cannot be read, or traits
            for plain text.
        ModelError: The hook does not exist or has another width.
    """
    prompts, checkpoint = read(prompts, "prompts"), as_checkpoint(checkpoint)
    base = checkpoint if base is None else as_checkpoint(base)
    chats = as_read(load_tokenizer(checkpoint), prompts["messages"])
    prompts = prompts.assign(messages=pd.Series(chats, index=prompts.index, dtype=object))
    if traits and any(m["role"] == "text" for chat in prompts["messages"] for m in chat):
        raise SchemaError("plain text takes no instruction to judge a trait by; ask chats.")
    options: dict[str, Any] = {"device": device, "dtype": dtype, "batch": batch}
    vector = locate_one(direction, feature, hook)
    norm = vector.norm if norm is None else norm
    if norm is None:
        norm = _usual_norm(checkpoint, prompts, vector.hook, **options)
    pushes, edits = _pushes(vector, strengths, norm=norm, controls=controls, seed=seed, where=where)
    draws: dict[str, Any] = {"n": n, "max_new_tokens": max_new_tokens, "temperature": temperature}
    replies = answers(checkpoint, prompts, edits=edits, seed=seed, cache=cache, **draws, **options)
    table = replies[[*KEYS, "answer", "n_tokens"]]
    table = table.assign(bits_per_token=surprisal(base, replies, **options))
    table = _judge(table, replies, base, traits or {}, options)
    for name in _Push._fields:
        table[name] = [getattr(pushes[edit], name) for edit in table["edit"]]
    table = schema.check(table[list(schema.TABLES["sweep"])].reset_index(drop=True), "sweep")
    table.attrs = {
        "checkpoint": checkpoint.label,
        "base": base.label,
        "hook": vector.hook,
        "norm": float(norm),
        "n_empty": replies.attrs["n_empty"],
    }
    return table


def _pushes(
    vector: Located,
    strengths: float | Sequence[float],
    *,
    norm: float,
    controls: int,
    seed: int,
    where: Iterable[str],
) -> tuple[dict[str, _Push], dict[str, Edit]]:
    """What each entry of the sweep is, and its edit, by name; the unedited one has none."""
    strengths = tuple(strengths) if isinstance(strengths, Iterable) else (strengths,)
    if not all(map(is_number, strengths)):
        raise SchemaError(f"strengths are finite numbers; got {excerpt(strengths)}.")
    check_count(controls, "controls", least=0)
    pushed = [float(strength) for strength in strengths if strength != 0]
    # told apart by name, which has six digits
    if not pushed or len({f"{strength:+g}" for strength in strengths}) < len(strengths):
        raise SchemaError(
            "strengths are distinct numbers other than 0, with six digits; got "
            f"{excerpt(list(strengths))}."
        )
    if len(vector.rows) != 1:
        raise SchemaError(f"a sweep pushes along one direction; got {len(vector.rows)} vectors.")
    rows = {vector.name: vector.rows[0]}
    if controls:
        like = xr.DataArray(vector.rows[:, None], dims=("name", "hook", "d_model"))
        like = like.assign_coords(name=[vector.name], hook=[vector.hook])
        drawn = random_directions(like, n=controls, seed=seed)
        rows |= {str(one): drawn.sel(name=one).to_numpy()[0] for one in drawn["name"].to_numpy()}
    pushes, edits = {UNEDITED: _Push(vector.name, control=False, strength=0.0)}, {}
    for number, (name, row) in enumerate(rows.items()):
        for strength in pushed:
            push = f"{name} {strength:+g}"
            pushes[push] = _Push(name, control=number > 0, strength=strength)
            edits[push] = add(row, hook=vector.hook, strength=strength, norm=norm, where=where)
    return pushes, edits


def _usual_norm(
    checkpoint: Checkpoint,
    prompts: pd.DataFrame,
    hook: str,
    *,
    device: object,
    dtype: str,
    batch: Batch,
) -> float:
    """Mean length of the residuals of these prompts, special tokens and sinks left out."""
    model = open_hooked(checkpoint, device=device, dtype=dtype)
    tokens = encode(model.tokenizer, list(prompts["messages"]))
    norms = []
    for reading in readings(
        model, tokens, hooks=[hook], marks=tokens.marks(CONTENT_ROLES), outlier=SINK, batch=batch
    ):
        norms += reading.acts[reading.counted].norm(dim=-1).tolist()
    if not norms:
        raise SchemaError("the prompts have no token but special ones to measure; give norm=.")
    return float(np.mean(norms))


def _judge(
    table: pd.DataFrame,
    replies: pd.DataFrame,
    base: Checkpoint,
    traits: Mapping[str, TraitFile],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """The answers, each once for every trait, with the evidence for it."""
    if not traits:
        return table.assign(trait="", trait_bits=math.nan)
    judged = trait_bits(base, replies, traits, **options)
    rate = (judged["bits_pos"] - judged["bits_neg"]) / judged["n_tokens"]
    rates = judged.assign(trait_bits=rate)[[*KEYS, "trait", "trait_bits"]]
    parts = [table.assign(trait=name) for name in traits]
    return pd.concat(parts).merge(rates, on=[*KEYS, "trait"], how="left")
