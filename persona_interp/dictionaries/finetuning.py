"""How is an SAE that somebody trained trained on, on other residuals?

Whatever its sparsity was, it is finetuned as a BatchTopK SAE with as many features active as it had
on these residuals: one trainer for all, and features stay in their order, so that each can be
compared with what it was.
"""

from collections.abc import Mapping
from typing import Any

import torch

from persona_interp.dictionaries.blocks import as_blocks, as_pool
from persona_interp.dictionaries.crosscoder import keep, training_facts
from persona_interp.dictionaries.dictionary import SparseDictionary
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary
from persona_interp.dictionaries.pretrained import from_sae
from persona_interp.dictionaries.saelens import is_sae
from persona_interp.dictionaries.saelens_training import Settings, train_rows
from persona_interp.errors import ModelError, excerpt

SAMPLE = 10_000
"""Residuals that the activity of a start is measured on."""


def finetune(
    start: AnyDictionary,
    residuals: Any,
    *,
    hook: str = "",
    k: float | None = None,
    steps: int = 1500,
    batch: int = 1024,
    lr: float = 1e-3,
    seed: int = 0,
    engine: str = "saelens",
    name: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> SparseDictionary:
    """Train an SAE on, published ones included.

    Args:
        start: Any SAE with one encoder (standard, JumpReLU, TopK, BatchTopK), in any form that
            ``as_dictionary`` takes.
        residuals: What it is trained on, dims (checkpoint, token, d_model), of one or several
            checkpoints; or a recording, or one of each checkpoint (``keep_activations``).
        hook: Whose residuals these are; needed of an SAE of SAELens that does not say.
        k: Features active a token; by default the start's (``usual_k``). Give it where the start
            does not say and these residuals are of another model: what the start no longer fits it
            pieces together, with twice as many features in the benchmark, and turns are not found.
        steps: Training steps.
        batch: Residuals a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        seed: Seed of the batches.
        engine: "saelens" or "sparse", as of ``fit``.
        name: What tables call it; by default the start's name and the seed.
        provenance: Where the residuals come from, to be kept.

    Returns:
        A BatchTopK SAE with the start's features in the start's order, unit decoder rows.

    Raises:
        ModelError: The start has another architecture or width, or normalizes each residual,
            or there is no such engine.
    """
    own = as_start(start, hook=hook)
    rows = as_pool(as_blocks(residuals))
    k = usual_k(own, residuals) if k is None else k
    settings = Settings(own.d_sae, k, steps, batch, lr, seed, engine=engine)
    metadata = {"hook_name": own.hook, "finetuned_from": own.name}
    sae = train_rows(rows, settings, metadata=metadata, start=own.sae, label="finetune dictionary")
    facts = {"n_tokens": rows.n, **(provenance or {}), **training_facts(settings)}
    facts["start"] = own.name
    name = name or f"{own.name}-finetuned-seed{seed}"
    return keep(sae, rows, name=name, hook=own.hook, facts=facts)


def as_start(start: AnyDictionary, *, hook: str = "") -> SparseDictionary:
    """An SAE that can be trained on.

    Args:
        start: Any form that ``as_dictionary`` takes.
        hook: Where an SAE of SAELens reads that does not say.

    Returns:
        The SAE with its provenance.

    Raises:
        ModelError: It is no SAE of SAELens.
    """
    own = from_sae(start, hook=hook) if hook and is_sae(start) else as_dictionary(start)
    if not isinstance(own, SparseDictionary):
        raise ModelError(f"training starts from an SAE of SAELens; got {excerpt(start)}.")
    return own


def usual_k(own: SparseDictionary, residuals: Any) -> float:
    """Features that an SAE has active a token.

    Args:
        own: The SAE.
        residuals: Of the kind it was trained on, dims (checkpoint, token, d_model).

    Returns:
        What its provenance says (k, or l0), or else what it does on these residuals, at least 1.
    """
    k = own.provenance.get("k", own.provenance.get("l0"))
    if k is not None:
        return float(k)
    rows = as_pool(as_blocks(residuals))
    sample = rows.read(torch.arange(0, rows.n, max(1, rows.n // SAMPLE)))
    return max(1.0, float((own.encode(sample) != 0).double().sum(-1).mean()))
