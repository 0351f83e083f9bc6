"""How is an SAE trained, built and read? The one file that talks to SAELens.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import OfflineModeIsEnabled
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from persona_interp.errors import ModelError

DEAD_AFTER = 50
"""Batches without firing until a feature learns from what the others leave; 1000 lets most die."""
SETTLING = 5.0
"""Time constants within the training of the threshold's moving average, which starts at 0."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings: what SAELens deprecates or advises is no concern of the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def train(
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
    """Train the SAE that reconstructs these residuals best.

    Training sees (x - mean) / scale, mean squared norm d_in: a mean that is large against the
    spread, as in every real residual stream, else kills most features. Both are folded into the
    weights afterwards, so that the SAE returned takes raw residuals, its decoder rows have unit
    norm and an activation is a length in residual units.

    Args:
        residuals: Dims (token, d_in).
        hook: Canonical name of the hook, for the metadata.
        d_sae: Number of features.
        k: Features active per token, on average.
        steps: Training steps.
        batch: Residuals a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        seed: Seed of the initial weights and of the batches.
        frozen: Keep the decoder as it was drawn.

    Returns:
        The SAELens inference module.
    """
    with _quiet():
        from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, SAETrainer
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.sae import SAEMetadata
    mean = residuals.mean(0)
    scale = (residuals - mean).pow(2).mean().sqrt()
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
        # SAELens draws unit rows and starts the encoder as their transpose: freezing after the
        # construction changes nothing else, so that both arms start from the same weights
        sae.W_dec.requires_grad_(not frozen)
        config = SAETrainerConfig(
            total_training_samples=batch * steps,
            train_batch_size_samples=batch,
            lr=lr,
            lr_end=lr / 10,
            dead_feature_window=DEAD_AFTER,
            lr_scheduler_name="cosineannealing",
            logger=LoggingConfig(log_to_wandb=False),
        )
        # SAELens shows a bar of its own on stderr, which is muted; ours keeps the real stream
        bar = tqdm(total=steps, desc="fit dictionary", file=sys.stderr, delay=2)
        batches = _batches((residuals - mean) / scale, batch=batch, seed=seed, bar=bar)
        with bar, contextlib.redirect_stderr(io.StringIO()):
            SAETrainer(config, sae, batches).fit()
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        inference = load_sae(Path(folder))
    identity = torch.eye(residuals.shape[1])
    inference.fold_activation_whitening(
        mean=mean, whitening_matrix=identity / scale, unwhitening_matrix=identity * scale
    )
    inference.fold_W_dec_norm()
    return inference


def _batches(residuals: Tensor, *, batch: int, seed: int, bar: tqdm) -> Iterator[Tensor]:
    """Yield endless batches, each epoch in a new order.

    SAELens wants an infinite iterator of equally sized 2-D tensors.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(len(residuals), generator=generator)])
        rows, order = order[:batch], order[batch:]
        bar.update()
        yield residuals[rows]


def load_sae(folder: Path) -> Any:
    """Load the SAE that SAELens wrote into a folder.

    Args:
        folder: It holds ``cfg.json`` and ``sae_weights.safetensors``, of a finished SAE or of one
            still in training.

    Returns:
        Its inference module in float32 and eval mode, without gradients.

    Raises:
        ModelError: It is no autoencoder of one hook, or SAELens cannot read it.
    """
    with _quiet():
        from sae_lens import SAE, TrainingSAE
    config = json.loads((folder / "cfg.json").read_text())
    _refuse_transcoder(config.get("architecture", "standard"), folder)
    with _explain_unreadable(folder), tempfile.TemporaryDirectory() as inference, _quiet():
        # only a checkpoint of SAELens' trainer has this key: it becomes an inference module first
        if "decoder_init_norm" in config:
            TrainingSAE.load_from_disk(folder, dtype="float32").save_inference_model(inference)
            folder = Path(inference)
        sae = SAE.load_from_disk(folder, dtype="float32")
    return sae.eval().requires_grad_(requires_grad=False)


def build(config: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    """Build the SAELens module that has these weights.

    Args:
        config: Configuration of its inference class, ``architecture`` included.
        weights: Its state dict.

    Returns:
        The inference module in eval mode, without gradients.
    """
    with _quiet():
        from sae_lens import SAE
    sae: Any = SAE.from_dict(config)
    sae.load_state_dict(weights)
    return sae.eval().requires_grad_(requires_grad=False)


def fetch(source: str) -> Any:
    """Fetch a published SAE, from the cache or the hub.

    Args:
        source: ``"release/sae_id"`` of SAELens' list, or ``"org/repository/folder"`` of the hub.

    Returns:
        Its inference module in float32.

    Raises:
        ModelError: It is not on the list, or no hub is reachable and the cache does not hold it.
    """
    with _quiet():
        from sae_lens import SAE
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    release, _, sae_id = source.partition("/")
    if release not in get_pretrained_saes_directory():
        repository, _, sae_id = sae_id.partition("/")
        release = f"{release}/{repository}"
    try:
        sae = SAE.from_pretrained(release, sae_id, device="cpu")
    # what the hub raises for a file that the cache lacks (LocalEntryNotFoundError) is an OSError
    except (ValueError, KeyError, OSError, OfflineModeIsEnabled) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(
            f"the SAE '{source}' is not on SAELens' list, or not in the cache and no hub answered "
            f"({type(error).__name__}: {reason}). Give release/sae_id, or the path of a folder "
            "with cfg.json and sae_weights.safetensors, which is read offline."
        ) from error
    _refuse_transcoder(sae.cfg.architecture(), source)
    return sae


def _refuse_transcoder(architecture: str, source: object) -> None:
    if "transcoder" in architecture or architecture == "temporal":
        raise ModelError(
            f"{source} is a {architecture} SAE: it does not rebuild the residual it reads. Use an "
            "SAE."
        )


@contextlib.contextmanager
def _explain_unreadable(folder: Path) -> Iterator[None]:
    """Turn whatever SAELens raises on a damaged folder into an error that names the folder."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"SAELens cannot read the SAE in {folder}: {reason}") from error
