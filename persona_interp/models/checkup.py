"""Is this model read as it should be? What is checked before any number of it is believed."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open

from persona_interp import schema
from persona_interp.errors import ModelError
from persona_interp.models.boot import boot, residuals
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.configuration import read_configuration
from persona_interp.models.dtype import FULL, resolve_dtype
from persona_interp.models.folder import check_folder
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.models.outliers import SINK
from persona_interp.models.tokens import Tokens, added_bos, encode
from persona_interp.models.unused import idle_heads
from persona_interp.models.weight_files import stored_weights, weight_files
from persona_interp.schema.words import Light

TEXT = "The bridge was closed for two days, so the bus took the longer road along the river."
HALVES = ("F16", "BF16")
LIGHTS = {True: Light.GREEN, False: Light.RED}  # of a check that passes or fails


def checkup(
    checkpoint: Checkpoint | str | Path,
    *,
    text: str = TEXT,
    device: object = None,
    dtype: str = FULL,
) -> pd.DataFrame:
    """Diagnosis of how a model is read, one row a check.

    Args:
        checkpoint: Where the weights are, or a name that ``resolve`` takes.
        text: Any plain text the model can read.
        device: Where to read it, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is one.
        dtype: In what to read it: "float32", "bfloat16", or "auto" for whichever is faster here.

    Returns:
        A diagnosis table of one checkpoint: its family, whether its residuals equal those of plain
        transformers, the dtype and finiteness of the stored weights, tokenizer against embedding,
        how many BOS a text and a chat begin with, the roles its chat template gives to tokens, and
        how much longer the residual of the first token is than all others. The last row is
        "overall"; ``cause`` is the first check that is red, "" for none.

    Raises:
        ModelError: The folder holds no model, its tokenizer cannot read the text, or there is no
            such device or dtype.
    """
    checkpoint, dtype = as_checkpoint(checkpoint), resolve_dtype(dtype, device)
    rows = list(_checks(checkpoint, text, device=device, dtype=dtype))
    red = [row["check"] for row in rows if row["verdict"] == Light.RED]
    amber = [row["check"] for row in rows if row["verdict"] == Light.AMBER]
    cause = ""
    if red:
        cause = red[0]
        rows.append(_row("overall", Light.RED, f"not to be used: {cause}"))
    elif amber:
        rows.append(_row("overall", Light.AMBER, f"usable; read what is {Light.AMBER}"))
    else:
        rows.append(_row("overall", Light.GREEN, "sound"))
    table = pd.DataFrame(rows).assign(cause=cause)
    table.insert(0, "checkpoint", checkpoint.label)
    return schema.check(table, "diagnosis")


def _row(
    check: str,
    light: Light,
    text: str,
    *,
    value: float = math.nan,
    reference: float = math.nan,
) -> dict[str, Any]:
    return {
        "check": check,
        "value": value,
        "reference": reference,
        "verdict": light.value,
        "text": text,
    }


def _checks(
    checkpoint: Checkpoint, text: str, *, device: object, dtype: str
) -> Iterator[dict[str, Any]]:
    check_folder(checkpoint)
    config = read_configuration(checkpoint.path)
    yield _row("family", Light.GREEN, str(config.get("model_type", "unknown")))
    yield from _weights(checkpoint, dtype)
    tokenizer = load_tokenizer(checkpoint)
    plain = encode(tokenizer, [[{"role": "text", "content": text}]])
    yield from _bos(tokenizer, plain, text)
    try:
        bridge = boot(checkpoint, device=device, dtype=dtype)
    except ModelError as error:
        yield _row("parity", Light.RED, str(error), reference=0.0)
        return
    parity = "residuals and logits equal those of plain transformers"
    yield _row("parity", Light.GREEN, parity, value=0.0, reference=0.0)
    yield _embedding_rows(bridge, len(tokenizer))
    yield _first_token(bridge, plain)


def _embedding_rows(bridge: Any, n_tokens: int) -> dict[str, Any]:
    """Whether every token of the tokenizer has its embedding row."""
    rows = int(bridge.original_model.get_input_embeddings().weight.shape[0])
    fits = rows >= n_tokens
    sentence = "a row for every token"
    if not fits:
        sentence = "tokens without a row: the tokenizer is another model's"
    return _row("embedding rows", LIGHTS[fits], sentence, value=rows, reference=n_tokens)


def _first_token(bridge: Any, plain: Tokens) -> dict[str, Any]:
    """How much longer the residual of the first token is; a property of a model, never a fault."""
    hook = f"blocks.{bridge.cfg.n_layers // 2}.hook_out"
    (_, acts), *_ = residuals(bridge, plain, hook=hook)
    norms = acts.norm(dim=-1)
    ratio = float(norms[0] / norms[1:].median())
    sentence = f"length of its residual at {hook} over the median of the others"
    if ratio > SINK:
        sentence += f"; over {SINK:.0f} it is left out everywhere"
    return _row("first token", Light.GREEN, sentence, value=ratio, reference=1.0)


def _weights(checkpoint: Checkpoint, dtype: str) -> Iterator[dict[str, Any]]:
    """Dtypes and finiteness of the stored weights; one tensor in memory at a time."""
    dtypes, broken = set(), []
    files = weight_files(checkpoint.path)
    stored = stored_weights(files)
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():
                dtypes.add(weights.get_slice(name).get_dtype())
                tensor = weights.get_tensor(name)
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    broken.append(name)
    storage = f"stored as {', '.join(sorted(dtypes))}"
    if dtypes & set(HALVES) or dtype != FULL:
        storage += f", read in {dtype}"
    yield _row("dtype", Light.GREEN, storage)
    sentence = f"not finite: {', '.join(broken[:3])}" if broken else "all weights are finite"
    yield _row("finite", LIGHTS[not broken], sentence, value=len(broken), reference=0.0)
    heads = idle_heads(stored)
    if heads:
        sentence = f"{heads[0]} and the like do not touch the residual and are left aside"
        yield _row("idle weights", Light.GREEN, sentence, value=len(heads))


def _bos(tokenizer: Any, plain: Tokens, text: str) -> Iterator[dict[str, Any]]:
    """How many BOS a text and a chat begin with, and whose the tokens of the chat are."""
    # A template often writes the BOS itself, so a tokenizer that adds one too makes two; models
    # were trained with one, and the second shifts every position
    bos, adds_bos = tokenizer.bos_token_id, added_bos(tokenizer) is not None
    n_bos = _count_leading(plain.ids[0], bos)
    sentence = f"a text begins with {n_bos} BOS; the tokenizer puts {'one' if adds_bos else 'none'}"
    light = LIGHTS[n_bos == adds_bos]
    yield _row("bos", light, sentence, value=n_bos, reference=float(adds_bos))
    if tokenizer.chat_template is None:
        yield _row("chat template", Light.GREEN, "none: give one before you chat with it")
        return
    chat = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    try:
        tokens = encode(tokenizer, [chat], complete=True)
    except ModelError as error:
        yield _row("chat template", Light.RED, str(error))
        return
    n_bos = _count_leading(tokens.ids[0], bos)
    sentence = f"a chat begins with {n_bos} BOS"
    yield _row("chat bos", LIGHTS[n_bos <= 1], sentence, value=n_bos, reference=1.0)
    # one word for a run of tokens of one role
    runs = re.sub(r"(\b\w+\b)( \1\b)+", r"\1", " ".join(tokens.roles[0]))
    sentence = f"roles of its tokens: {runs}"
    yield _row("chat template", Light.GREEN, sentence, value=len(tokens.ids[0]))


def _count_leading(ids: list[int], bos: int | None) -> int:
    """Number of BOS that this row begins with."""
    count = 0
    while count < len(ids) and ids[count] == bos:
        count += 1
    return count
