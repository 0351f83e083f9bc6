"""Does a model in memory compute what a causal language model does?"""

from pathlib import Path
from typing import Any

import torch

from persona_interp.errors import ModelError
from persona_interp.models.dtype import FULL
from persona_interp.models.parity import TOLERANCES, distance

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Dtypes that a model computes in; of 8 bits and less are quantized weights."""


@torch.no_grad()
def check_finite(model: Any, source: str | Path) -> None:
    """Refuse weights that are not numbers: nothing that is computed from them would be one.

    Args:
        model: A model.
        source: What a message calls it.

    Raises:
        ModelError: A weight is NaN or infinite, or still quantized; the first is named.
    """
    broken = []
    for name, weight in model.named_parameters():
        if weight.dtype not in FLOATS:
            raise ModelError(
                f"{source} holds {name} quantized ({weight.dtype}), without the scales that make "
                "numbers of it. Save the model dequantized, in float32 or bfloat16."
            )
        # a sum is one cheap pass; only where it is not finite are its terms looked at
        if not torch.isfinite(weight.sum()) and not torch.isfinite(weight).all():
            broken.append(name)
    if broken:
        raise ModelError(
            f"{source} has weights that are NaN or infinite: {len(broken)}, first {broken[0]}. "
            "Every number of it would be NaN; use an earlier checkpoint, or train again with a "
            "smaller lr."
        )


def check_tied(model: Any, source: str | Path) -> None:
    """Refuse a model that is said to have one matrix at both ends, and has two.

    Args:
        model: A model.
        source: What a message calls it.

    Raises:
        ModelError: Its configuration ties them, and its files hold two that differ.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or not getattr(model.config, "tie_word_embeddings", False):
        return
    one, other = head.weight, embedding.weight
    if one is not other and not torch.equal(one, other):
        raise ModelError(
            f"{source} says that its head is its embedding (tie_word_embeddings), and holds two "
            "matrices that differ; some versions of transformers use one of them, some both. Set "
            "tie_word_embeddings to false in its config.json if the head was trained apart, or "
            "remove the head from its weights."
        )


@torch.inference_mode()
def check_computes(model: Any, source: str | Path) -> None:
    """Refuse a model whose output is no number, or depends on what comes later.

    Args:
        model: A model in evaluation mode.
        source: What a message calls it.

    Raises:
        ModelError: Its logits or rotations are not finite, or those of a token change with the
            tokens after it.
    """
    n = model.get_input_embeddings().weight.shape[0]
    device = model.device
    logits = model(torch.tensor([[0, 0, 0], [0, n // 3, n // 2]], device=device)).logits
    # attention leaves out tokens whose rotation is NaN, so that the logits alone do not show it
    rotations = [part for name, part in model.named_buffers() if name.endswith("inv_freq")]
    if not all(bool(torch.isfinite(part).all()) for part in (logits[0], *rotations)):
        raise ModelError(
            f"{source} computes no numbers, though its weights are some: a number of its "
            "config.json (rms_norm_eps, rope_theta, factor) is 0 or NaN. Save the configuration "
            "of the model that was trained."
        )
    one, other = logits[:, 0]
    dtype = str(model.dtype).removeprefix("torch.")
    most = TOLERANCES.get(dtype, TOLERANCES[FULL])
    if not torch.equal(one, other) and distance(one, other) > most:
        raise ModelError(
            f"{source} reads ahead: what it says of a token changes with the tokens after it, so "
            "it is no causal language model (is_causal, use_bidirectional_attention in its "
            "config.json)."
        )
