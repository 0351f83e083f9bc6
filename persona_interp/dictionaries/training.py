"""How does a dictionary come from residuals? Harvest, train, and remember where it came from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from persona_interp.dictionaries.act_store import ActStore
from persona_interp.dictionaries.dictionary import SparseDictionary, save_dictionary
from persona_interp.dictionaries.finetuning import finetune
from persona_interp.dictionaries.harvest import CONTENT_ROLES, harvest
from persona_interp.dictionaries.inputs import AnyDictionary
from persona_interp.dictionaries.recordings import Recordings
from persona_interp.dictionaries.saelens import train
from persona_interp.dictionaries.same_tokens import same_tokens
from persona_interp.dictionaries.scratch import ROWS
from persona_interp.dictionaries.sparse_training import check_engine, trainer
from persona_interp.errors import ModelError, unknown
from persona_interp.models import Checkpoint
from persona_interp.models.device import resolve_device
from persona_interp.models.dtype import FULL
from persona_interp.models.inputs import list_checkpoints
from persona_interp.values import check_count

DECODERS = ("trained", "random")
SAMPLE = 10_000
"""Training residuals that fvu and l0 of the provenance are measured on."""


def fit(
    checkpoints: Checkpoint | Iterable[Checkpoint] | None = None,
    corpus: Any = None,
    *,
    hook: str = "",
    residuals: Any = None,
    start: AnyDictionary | None = None,
    d_sae: int = 512,
    k: int = 8,
    steps: int = 1500,
    batch: int = 1024,
    lr: float = 2e-3,
    n_tokens: int = 120_000,
    where: Iterable[str] = CONTENT_ROLES,
    seed: int = 0,
    decoder: str = "trained",
    engine: str = "saelens",
    device: object = None,
    dtype: str = FULL,
    out: str | Path | None = None,
) -> SparseDictionary:
    """Train a dictionary of sparse features on the residuals of some checkpoints.

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints; each gives an equal
            share of the tokens.
        corpus: The documents read: a corpus table, or anything that ``readers.read`` takes.
        hook: Canonical hook name, ``"blocks.1.hook_out"``.
        residuals: Residuals instead of checkpoints and corpus, dims (checkpoint, token, d_model),
            or a recording (``keep_activations``), which is read from the disk batch by batch;
            beside ``start`` also a list of recordings, one a checkpoint.
        start: SAE to train on from, published ones included (``finetune``): its number of features
            and its activity hold instead of ``d_sae`` and ``k``, and half of ``lr`` is used.
        d_sae: Number of features.
        k: Features active per token, on average.
        steps: Training steps.
        batch: Residuals a step; in a forward pass of the models there are always as many tokens as
            fit into memory.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        n_tokens: Tokens harvested (no padding, no attention sinks).
        where: Roles of these tokens; all but special tokens such as BOS by default.
        seed: Seed of the documents drawn, the initial weights and the batches. Same seed, same
            dictionary.
        decoder: "trained", or "random": unit rows drawn at random and frozen, everything else
            trained the same way (the Frozen Decoder SAE of Korznikov et al. 2026, arXiv
            2602.14111). Whatever such a dictionary shows as well does not speak for the trained
            directions.
        engine: Who takes the steps: "saelens", or "sparse", which takes the same ones several times
            as fast (``sparse_training``).
        device: Where models and training compute; by default "cuda" where there is one. The weights
            depend on it as on every machine, by rounding.
        dtype: Of the models, "float32", "bfloat16", or "auto" for whichever is faster here; the
            dictionary is trained in float32.
        out: Folder to keep it in; None keeps it in memory.

    Returns:
        The dictionary, on the CPU: unit decoder rows, activations in units of the residual.

    Raises:
        ModelError: The hook does not exist, an unknown decoder or engine, there is less than one
            batch of tokens, there is no such device or dtype, or as of ``finetune``.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    settings: dict[str, Any]
    acts: Tensor | ActStore | Recordings
    check_count(d_sae, "d_sae")
    if decoder not in DECODERS:
        raise ModelError(unknown("decoder", decoder, DECODERS))
    check_engine(engine)
    if residuals is None:
        acts, hook, provenance = harvest(
            list_checkpoints(checkpoints),
            corpus,
            hook=hook,
            n_tokens=n_tokens,
            seed=seed,
            where=where,
            device=device,
            dtype=dtype,
        )
    elif isinstance(residuals, ActStore):
        acts, hook, provenance = residuals, residuals.hook, residuals.provenance
    else:
        given = same_tokens(checkpoints, corpus, hook=hook, residuals=residuals)
        acts, hook, provenance = given.residuals, given.hook, given.provenance
        acts = acts.flatten(0, 1).float() if isinstance(acts, Tensor) else acts
    if start is not None:
        settings = {"steps": steps, "batch": batch, "lr": lr / 2, "seed": seed, "engine": engine}
        rows = acts[None] if isinstance(acts, Tensor) else acts
        dictionary = finetune(start, rows, hook=hook, provenance=provenance, **settings)
        if out is not None:
            save_dictionary(dictionary, out)
        return dictionary
    if isinstance(acts, Recordings):
        raise ModelError(
            f"fit trains from nothing on one recording; got {len(acts)} in a list. Give one, name "
            "start=, or train a crosscoder on several."
        )
    if len(acts) < batch:
        raise ModelError(
            f"the corpus gives {len(acts)} tokens, less than one batch of {batch}; give more "
            "documents."
        )
    frozen = decoder == "random"
    settings = {
        "d_sae": d_sae,
        "k": k,
        "steps": steps,
        "batch": batch,
        "lr": lr,
        "seed": seed,
    }
    place, own = resolve_device(device), trainer(engine)
    sae = train(acts, hook=hook, frozen=frozen, device=place, trainer=own, **settings)
    name = f"batchtopk-{d_sae}-k{k}-seed{seed}"
    if isinstance(acts, ActStore):
        numbers, mean, variance = acts.moments
        sample = acts[numbers[:SAMPLE]].float()
    else:
        mean, sample = acts.mean(0), acts[:SAMPLE]
        # a few at a time, or a copy of all would stand beside them
        squares = (float((some - mean).double().pow(2).sum()) for some in acts.split(ROWS))
        variance = sum(squares) / len(acts)
    dictionary = SparseDictionary(
        sae=sae,
        name=f"{name}-random-decoder" if frozen else name,
        hook=hook,
        mean=mean,
        variance=variance,
        provenance={
            **provenance,
            **settings,
            "decoder": decoder,
            "engine": engine,
            **_training_fit(sae, sample),
        },
    )
    if out is not None:
        save_dictionary(dictionary, out)
    return dictionary


def _training_fit(sae: Any, acts: Tensor) -> dict[str, float]:
    """Fraction of variance unexplained on training residuals, and features a token."""
    feats = sae.encode(acts)
    error = (acts - sae.decode(feats)).double().pow(2).sum()
    variance = (acts - acts.mean(0)).double().pow(2).sum()
    return {"fvu": float(error / variance), "l0": float((feats != 0).double().sum(-1).mean())}
