"""How is a dictionary trained? The one file that talks to SAELens.

A BatchTopK SAE (Bussmann, Leask and Nanda 2024): over a batch of n residuals the n*k largest
feature activations are kept. SAELens' own ``SAETrainer`` does the work on a matrix of residuals in
memory; after training a threshold replaces the ranking, so that a feature no longer depends on what
else is in the batch.

SAELens takes seconds to import: every import of it is inside a function.
"""

import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.dictionary import SparseDictionary, save_dictionary
from persona_interp.dictionaries.harvest import WHERE, harvest
from persona_interp.errors import ModelError, unknown
from persona_interp.models import Checkpoint

DECODERS = ("trained", "random")
DEAD_AFTER = 50  # batches without firing until a feature learns from what the others leave; 1000 lets most die
SAMPLE = 10_000  # training residuals that fvu and l0 of the provenance are measured on
SETTLING = (
    5.0  # the threshold is a moving average from 0: it must forget its start within the training
)


def fit(
    checkpoints: Checkpoint | Iterable[Checkpoint],
    corpus: pd.DataFrame,
    *,
    hook: str,
    d_sae: int = 512,
    k: int = 8,
    steps: int = 1500,
    batch: int = 1024,
    lr: float = 2e-3,
    n_tokens: int = 120_000,
    where: Iterable[str] = WHERE,
    seed: int = 0,
    decoder: str = "trained",
    out: str | Path | None = None,
) -> SparseDictionary:
    """Which sparse features make up the residuals of these checkpoints?

    Args:
        checkpoints: A checkpoint, a trajectory or any iterable of checkpoints; each gives an equal
            share of the tokens.
        corpus: A corpus table, the documents read.
        hook: Canonical hook name, ``"blocks.1.hook_out"``.
        d_sae: Number of features.
        k: Features active per token, on average.
        steps: Training steps.
        batch: Residuals a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        n_tokens: Tokens harvested (no padding, no attention sinks).
        where: Roles of these tokens; all but special tokens such as BOS by default.
        seed: Seed of the documents drawn, the initial weights and the batches. Same seed, same
            dictionary.
        decoder: "trained", or "random": unit rows drawn at random and frozen, everything else
            trained the same way (the Frozen Decoder SAE of Korznikov et al. 2026, arXiv
            2602.14111). Whatever such a dictionary shows as well does not speak for the trained
            directions.
        out: Folder to keep it in; None keeps it in memory.

    Returns:
        The dictionary: unit decoder rows, activations in units of the residual.

    Raises:
        ModelError: The hook does not exist, an unknown decoder, or there is less than one batch of
            tokens.
        SchemaError: No document has a token of these roles, or a role is unknown.
    """
    if decoder not in DECODERS:
        raise ModelError(unknown("decoder", decoder, DECODERS))
    listed = [checkpoints] if isinstance(checkpoints, Checkpoint) else list(checkpoints)
    acts, hook, provenance = harvest(
        listed, corpus, hook=hook, n_tokens=n_tokens, seed=seed, where=where
    )
    if len(acts) < batch:
        raise ModelError(
            f"the corpus gives {len(acts)} tokens, less than one batch of {batch}; give more "
            "documents."
        )
    frozen = decoder == "random"
    sae = _train(
        acts, hook=hook, d_sae=d_sae, k=k, steps=steps, batch=batch, lr=lr, seed=seed, frozen=frozen
    )
    mean = acts.mean(0)
    settings = {
        "d_sae": d_sae,
        "k": k,
        "steps": steps,
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "decoder": decoder,
    }
    dictionary = SparseDictionary(
        sae=sae,
        name=f"batchtopk-{d_sae}-k{k}-seed{seed}{'-random-decoder' if frozen else ''}",
        hook=hook,
        mean=mean,
        variance=float((acts - mean).double().pow(2).sum(-1).mean()),
        provenance={**provenance, **settings, **_trained(sae, acts[:SAMPLE])},
    )
    if out is not None:
        save_dictionary(dictionary, out)
    return dictionary


def _trained(sae: Any, acts: Tensor) -> dict[str, float]:
    """How well did it learn: unexplained fraction of the variance of these training residuals, and features a token."""
    feats = sae.encode(acts)
    error = (acts - sae.decode(feats)).double().pow(2).sum() / (acts - acts.mean(0)).double().pow(
        2
    ).sum()
    return {"fvu": float(error), "l0": float((feats != 0).double().sum(-1).mean())}


def _train(
    residuals: Tensor,
    *,
    hook: str,
    d_sae: int,
    k: int,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    frozen: bool = False,
) -> Any:
    """Which SAE reconstructs these residuals, dims (token, d_in), best?

    Training sees (x - mean) / scale, mean squared norm d_in: a mean that is large against the
    spread, as in every real residual stream, else kills most features. Both are folded into the
    weights afterwards, so that the SAE returned takes raw residuals, its decoder rows have unit
    norm and an activation is a length in residual units.

    Returns:
        The SAELens inference module.
    """
    mean = residuals.mean(0)
    scale = (residuals - mean).pow(2).mean().sqrt()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # what SAELens' dependencies deprecate is no concern of the caller
        from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, SAETrainer
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.sae import SAEMetadata
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sae = BatchTopKTrainingSAE(
            BatchTopKTrainingSAEConfig(
                d_in=residuals.shape[1],
                d_sae=d_sae,
                k=k,
                topk_threshold_lr=max(0.01, SETTLING / steps),
                decoder_init_norm=1.0,  # SAELens' 0.1 leaves twice as many features dead
                metadata=SAEMetadata(hook_name=hook),
            )
        )
        sae.W_dec.requires_grad_(
            not frozen
        )  # drawn by SAELens, unit rows, and the encoder starts as its transpose
        config = SAETrainerConfig(
            total_training_samples=batch * steps,
            train_batch_size_samples=batch,
            lr=lr,
            lr_end=lr / 10,
            dead_feature_window=DEAD_AFTER,
            lr_scheduler_name="cosineannealing",
            logger=LoggingConfig(log_to_wandb=False),
        )
        bar = tqdm(total=steps, desc="fit dictionary", file=sys.stderr, delay=2)
        with (
            bar,
            contextlib.redirect_stderr(io.StringIO()),
        ):  # SAELens' own bar; ours keeps the real stream
            SAETrainer(
                config, sae, _batches((residuals - mean) / scale, batch=batch, seed=seed, bar=bar)
            ).fit()
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        trained = load_sae(Path(folder))
    identity = torch.eye(residuals.shape[1])
    trained.fold_activation_whitening(
        mean=mean, whitening_matrix=identity / scale, unwhitening_matrix=identity * scale
    )
    trained.fold_W_dec_norm()
    return trained


def _batches(residuals: Tensor, *, batch: int, seed: int, bar: tqdm) -> Iterator[Tensor]:
    """Endless batches, each epoch a new order: SAELens wants an infinite iterator of equally sized 2-D tensors."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(len(residuals), generator=generator)])
        rows, order = order[:batch], order[batch:]
        bar.update()
        yield residuals[rows]


def load_sae(folder: Path) -> Any:
    """Which SAE did SAELens write into this folder?

    Args:
        folder: It holds ``cfg.json`` and ``sae_weights.safetensors``, of a finished SAE or of one
            still in training.

    Returns:
        Its inference module in float32 and eval mode, without gradients.

    Raises:
        ModelError: It is no autoencoder of one hook, or SAELens cannot read it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import SAE, TrainingSAE
    stated = json.loads((folder / "cfg.json").read_text())
    _refuse(stated.get("architecture", "standard"), folder)
    with _unreadable(folder), tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises on models of its own
        if "decoder_init_norm" in stated:  # a checkpoint of SAELens' trainer
            TrainingSAE.load_from_disk(folder, dtype="float32").save_inference_model(place)
            folder = Path(place)
        sae = SAE.load_from_disk(folder, dtype="float32")
    return sae.eval().requires_grad_(requires_grad=False)


def build(config: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    """Which SAELens module has these weights?

    Args:
        config: Configuration of its inference class, ``architecture`` included.
        weights: Its state dict.

    Returns:
        The inference module in eval mode, without gradients.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import SAE
    sae: Any = SAE.from_dict(config)
    sae.load_state_dict(weights)
    return sae.eval().requires_grad_(requires_grad=False)


def fetch(source: str) -> Any:
    """Which published SAE is this?

    Args:
        source: ``"release/sae_id"`` of SAELens' list, or ``"org/repository/folder"`` of the hub.

    Returns:
        Its inference module in float32.

    Raises:
        ModelError: It is not on the list, or no hub is reachable and the cache does not hold it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_lens import SAE
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    first, _, rest = source.partition("/")
    known = get_pretrained_saes_directory()
    if first not in known:
        second, _, rest = rest.partition("/")
        first = f"{first}/{second}"
    try:
        sae = SAE.from_pretrained(first, rest, device="cpu")
    except (
        ValueError,
        KeyError,
        OSError,
        OfflineModeIsEnabled,
    ) as error:  # LocalEntryNotFoundError is an OSError
        raise ModelError(
            f"the SAE '{source}' is not on SAELens' list, or not in the cache and no hub answered "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]}). Give "
            "release/sae_id, or the path of a "
            "folder with cfg.json and sae_weights.safetensors, which is read offline."
        ) from error
    _refuse(sae.cfg.architecture(), source)
    return sae


def _refuse(architecture: str, source: object) -> None:
    if "transcoder" in architecture or architecture == "temporal":
        raise ModelError(
            f"{source} is a {architecture} SAE: it does not rebuild the residual it reads. Use an "
            "SAE."
        )


@contextlib.contextmanager
def _unreadable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"SAELens cannot read the SAE in {folder}: {first}") from error
