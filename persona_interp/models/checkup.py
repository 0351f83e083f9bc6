"""Is this model read as it should be? What is checked before any number of it is believed."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open

from persona_interp import schema
from persona_interp.errors import ModelError
from persona_interp.models.boot import boot, residuals
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.load import load_tokenizer
from persona_interp.models.outliers import SINK
from persona_interp.models.tokens import Tokens, added_bos, encode

TEXT = "The bridge was closed for two days, so the bus took the longer road along the river."
HALVES = ("F16", "BF16")


def checkup(checkpoint: Checkpoint, *, text: str = TEXT) -> pd.DataFrame:
    """Is this model read as it should be?

    Args:
        checkpoint: Where the weights are.
        text: Any plain text the model can read.

    Returns:
        A diagnosis table of one checkpoint: its family, whether its residuals equal those of plain
        transformers, the dtype and finiteness of the stored weights, tokenizer against embedding,
        how many BOS a text and a chat begin with, the roles its chat template gives to tokens, and
        how much longer the residual of the first token is than all others. The last row is
        "overall"; ``cause`` is the first check that is red, "" for none.

    Raises:
        ModelError: The folder holds no model, or its tokenizer cannot read the text.
    """
    rows = list(_checks(checkpoint, text))
    red = [row["check"] for row in rows if row["verdict"] == "red"]
    light = "red" if red else "amber" if any(row["verdict"] == "amber" for row in rows) else "green"
    said = (
        f"not to be used: {red[0]}"
        if red
        else "sound"
        if light == "green"
        else "usable; read what is amber"
    )
    rows.append(_row("overall", math.nan, math.nan, light, said))
    table = pd.DataFrame(rows).assign(cause=red[0] if red else "")
    table.insert(0, "checkpoint", checkpoint.label)
    return schema.check(table, "diagnosis")


def _row(check: str, value: float, reference: float, verdict: str, text: str) -> dict[str, Any]:
    return {
        "check": check,
        "value": value,
        "reference": reference,
        "verdict": verdict,
        "text": text,
    }


def _checks(checkpoint: Checkpoint, text: str) -> Iterator[dict[str, Any]]:
    config = json.loads((checkpoint.path / "config.json").read_text())
    yield _row("family", math.nan, math.nan, "green", f"{config.get('model_type', 'unknown')}")
    yield from _weights(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    plain = encode(tokenizer, [[{"role": "text", "content": text}]])
    yield from _bos(tokenizer, plain, text)
    try:
        bridge = boot(checkpoint)
    except ModelError as error:
        yield _row("parity", math.nan, 0.0, "red", str(error))
        return
    yield _row(
        "parity", 0.0, 0.0, "green", "residuals and logits equal those of plain transformers"
    )
    rows = int(bridge.original_model.get_input_embeddings().weight.shape[0])
    fits = rows >= len(tokenizer)
    told = (
        "a row for every token"
        if fits
        else "tokens without a row: the tokenizer is another model's"
    )
    yield _row("embedding rows", rows, len(tokenizer), "green" if fits else "red", told)
    hook = f"blocks.{bridge.cfg.n_layers // 2}.hook_out"
    (_, acts), *_ = residuals(bridge, plain, hook=hook)
    norms = acts.norm(dim=-1)
    ratio = float(norms[0] / norms[1:].median())
    sink = f"; over {SINK:.0f} it is left out everywhere" if ratio > SINK else ""
    yield _row(
        "first token",
        ratio,
        1.0,
        "green",
        f"length of its residual at {hook} over the median of the others{sink}",
    )


def _weights(checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
    """Which dtype, and are they finite? One tensor in memory at a time."""
    dtypes, bad = set(), []
    for file in sorted(checkpoint.path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():
                dtypes.add(weights.get_slice(name).get_dtype())
                tensor = weights.get_tensor(name)
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    bad.append(name)
    half = sorted(dtypes & set(HALVES))
    said = f"stored as {', '.join(sorted(dtypes))}" + (", read in float32" if half else "")
    yield _row("dtype", math.nan, math.nan, "green", said)
    told = f"not finite: {', '.join(bad[:3])}" if bad else "all weights are finite"
    yield _row("finite", len(bad), 0.0, "red" if bad else "green", told)


def _bos(tokenizer: Any, plain: Tokens, text: str) -> Iterator[dict[str, Any]]:
    bos, added = tokenizer.bos_token_id, added_bos(tokenizer)
    found = _leading(plain.ids[0], bos)
    right = found == (added is not None)
    told = f"a text begins with {found} BOS; the tokenizer puts {'one' if added is not None else 'none'}"
    yield _row("bos", found, float(added is not None), "green" if right else "red", told)
    if tokenizer.chat_template is None:
        yield _row(
            "chat template", math.nan, math.nan, "green", "none: give one before you chat with it"
        )
        return
    chat = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    try:
        coded = encode(tokenizer, [chat], complete=True)
    except ModelError as error:
        yield _row("chat template", math.nan, math.nan, "red", str(error))
        return
    runs = re.sub(r"(\b\w+\b)( \1\b)+", r"\1", " ".join(coded.roles[0]))
    found = _leading(coded.ids[0], bos)
    yield _row(
        "chat bos", found, 1.0, "green" if found <= 1 else "red", f"a chat begins with {found} BOS"
    )
    yield _row(
        "chat template", len(coded.ids[0]), math.nan, "green", f"roles of its tokens: {runs}"
    )


def _leading(ids: list[int], bos: int | None) -> int:
    """How many BOS does this row begin with?"""
    count = 0
    while count < len(ids) and ids[count] == bos:
        count += 1
    return count
