"""How is an SAE trained, built and read? The one file that talks to SAELens.

A BatchTopK SAE (Bussmann, Leask and Nanda 2024): over a batch of n residuals the n*k largest
feature activations are kept. SAELens' own ``SAETrainer`` does the work on a matrix of residuals in
memory; after training a threshold replaces the ranking, so that a feature no longer depends on what
else is in the batch.

SAELens takes seconds to import: every import of it is inside a function.
"""

import contextlib
import io
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.act_sampler import Sampler
from persona_interp.dictionaries.act_store import ActStore
from persona_interp.dictionaries.saelens_folders import (
    from_saelens,
    refuse_one_head,
    refuse_transcoder,
)
from persona_interp.dictionaries.weight_files import check_finite
from persona_interp.errors import ModelError, unknown
from persona_interp.models.device import CPU
from persona_interp.models.guard import forbid, guard, reason
from persona_interp.models.sites import HEADS, HEADS_BEFORE, is_heads

DEAD_AFTER = 50
"""Batches without firing until a feature learns from what the others leave; 1000 lets most die."""
SETTLING = 5.0
"""Time constants within the training of the threshold's moving average, which starts at 0."""
USUAL = 1000.0
"""Numbers such as residuals hold, at which an SAE must answer."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings: what SAELens deprecates or advises is no concern of the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def foreign(source: object) -> Iterator[None]:
    """Run what SAELens does while it reads, and turn whatever it raises into one kind of error.

    The one place around its code: while something is read it starts no process and asks nobody.

    Args:
        source: What is read, for the message.

    Yields:
        Nothing.

    Raises:
        ModelError: It raised anything, or tried what it may not.
    """
    import_saelens()
    with guard(f"SAELens cannot read the SAE in {source}"), _quiet():
        yield


def import_saelens() -> None:
    """Import SAELens, which starts git meanwhile to ask for a commit; here it finds none."""
    start = subprocess.run

    def start_no_git(command: Any, *args: Any, **settings: Any) -> Any:
        if command[:2] == ["git", "rev-parse"]:
            raise FileNotFoundError("git is not started by an import")
        return start(command, *args, **settings)

    with forbid(), _quiet(), mock.patch.object(subprocess, "run", start_no_git):
        import sae_lens  # noqa: F401


def train(
    residuals: Tensor | ActStore,
    *,
    hook: str,
    d_sae: int,
    k: int,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    frozen: bool = False,
    device: str = CPU,
    trainer: Any = None,
) -> Any:
    """Train the SAE that reconstructs these residuals best.

    Training sees (x - mean) / scale, mean squared norm d_in: a mean that is large against the
    spread, as in every real residual stream, else kills most features. Both are folded into the
    weights afterwards, so that the SAE returned takes raw residuals, its decoder rows have unit
    norm and an activation is a length in residual units.

    Args:
        residuals: Dims (token, d_in), or a recording, whose rows are read as they are needed.
        hook: Canonical name of the hook, for the metadata.
        d_sae: Number of features.
        k: Features active per token, on average.
        steps: Training steps.
        batch: Residuals a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        seed: Seed of the initial weights and of the batches.
        frozen: Keep the decoder as it was drawn.
        device: Where to compute; residuals are moved there batch by batch.
        trainer: Class that trains; by default SAELens' ``SAETrainer``.

    Returns:
        The SAELens inference module, on the CPU.
    """
    import_saelens()
    with _quiet():
        from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, SAETrainer
        from sae_lens.config import LoggingConfig, SAETrainerConfig
    if isinstance(residuals, ActStore):
        _, mean, variance = residuals.moments
        scale = torch.tensor(math.sqrt(variance / len(mean)))
    else:
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
                **_site(hook),
            )
        )
        # moved before the optimizer is made; drawn on the CPU, the same on every device
        sae.to(device)
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
            device=device,
            logger=LoggingConfig(log_to_wandb=False),
        )
        # SAELens shows a bar of its own on stderr, which is muted; ours keeps the real stream
        bar = tqdm(total=steps, desc="fit dictionary", file=sys.stderr, delay=2)
        if isinstance(residuals, ActStore):
            batches = _stored_batches(residuals, mean, scale, batch=batch, seed=seed, bar=bar)
        else:
            batches = _batches((residuals - mean) / scale, batch=batch, seed=seed, bar=bar)
        with bar, contextlib.redirect_stderr(io.StringIO()):
            (trainer or SAETrainer)(config, sae, batches).fit()
    inference = finish(sae, source="this training")
    identity = torch.eye(residuals.shape[1])
    inference.fold_activation_whitening(
        mean=mean, whitening_matrix=identity / scale, unwhitening_matrix=identity * scale
    )
    inference.fold_W_dec_norm()
    return inference


def _site(hook: str) -> dict[str, Any]:
    """Settings by which SAELens reads at a hook; it knows heads by their older name alone."""
    from sae_lens.saes.sae import SAEMetadata

    if not is_heads(hook):
        return {"metadata": SAEMetadata(hook_name=hook)}
    name = hook.removesuffix(HEADS) + HEADS_BEFORE
    return {"metadata": SAEMetadata(hook_name=name), "reshape_activations": "hook_z"}


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


def _stored_batches(
    store: ActStore, mean: Tensor, scale: Tensor, *, batch: int, seed: int, bar: tqdm
) -> Iterator[Tensor]:
    """Yield endless batches of a recording's rows that are no attention sinks."""
    numbers = store.moments.numbers
    for rows in Sampler(
        lambda places: store[numbers[places]], len(numbers), batch=batch, seed=seed
    ):
        bar.update()
        yield (rows.float() - mean) / scale


def build(config: dict[str, Any], weights: dict[str, Tensor], *, source: object = "memory") -> Any:
    """Build the SAELens module that has these weights.

    Args:
        config: Its configuration, ``architecture`` included: of a finished SAE, or of one still in
            training, which is finished as SAELens would.
        weights: Its state dict, which the module shares.
        source: Where they come from, for messages.

    Returns:
        The inference module in float32 and eval mode, without gradients.

    Raises:
        ModelError: SAELens does not take them, or the module does not answer with residuals.
    """
    whole = {name: weight.contiguous() for name, weight in weights.items()}
    with foreign(source):
        from sae_lens import SAE, TrainingSAE
        from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

        architecture = config.get("architecture") or "standard"
        known = {**SAE_CLASS_REGISTRY, **SAE_TRAINING_CLASS_REGISTRY}
        if architecture not in known:
            raise ModelError(f"{source}: {unknown('architecture', architecture, known)}")

        def converter(*_: Any, **__: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
            return {**config, "dtype": "float32", "device": "cpu"}, whole

        # only a checkpoint of SAELens' trainer has this key: it becomes an inference module first
        if "decoder_init_norm" in config or architecture not in SAE_CLASS_REGISTRY:
            training = TrainingSAE.load_from_disk("", converter=converter)
            return finish(training, source=source)
        sae = SAE.load_from_disk("", converter=converter)
        return _check(sae)


def finish(training: Any, *, source: object) -> Any:
    """Inference module of an SAE in training.

    Args:
        training: A ``TrainingSAE``.
        source: Where it comes from, for messages.

    Returns:
        The module that SAELens would save.

    Raises:
        ModelError: SAELens cannot finish it.
    """
    with foreign(source), tempfile.TemporaryDirectory() as folder:
        training.save_inference_model(folder)
        config, weights, *_ = from_saelens(Path(folder))
    return build(config, weights, source=source)


@torch.no_grad()
def _check(sae: Any) -> Any:
    """The module, if it answers rows of residuals with rows of residuals."""
    sae = sae.eval().requires_grad_(requires_grad=False)
    # heads come here as one vector a token, not with a dimension of their own
    sae.turn_off_forward_pass_hook_z_reshaping()
    rows = torch.linspace(-USUAL, USUAL, 2 * sae.cfg.d_in).reshape(2, sae.cfg.d_in)
    feats = sae.encode(rows)
    rebuilt = sae.decode(feats)
    if feats.shape != (2, sae.cfg.d_sae) or rebuilt.shape != rows.shape:
        raise ValueError(f"it answers shapes {tuple(feats.shape)} and {tuple(rebuilt.shape)}")
    if not bool(feats.isfinite().all() and rebuilt.isfinite().all()):
        raise ValueError(f"it answers numbers up to {USUAL:g} with numbers that are not finite")
    return sae


def is_sae(value: object) -> bool:
    """Whether a value is an SAE of SAELens; without importing it, which takes seconds.

    Args:
        value: Anything.

    Returns:
        True for an ``SAE`` and a ``TrainingSAE``.

    >>> is_sae("an SAE")
    False
    """
    library = sys.modules.get("sae_lens")
    return library is not None and isinstance(value, library.SAE | library.TrainingSAE)


def copy_sae(sae: Any) -> Any:
    """Copy an SAE of SAELens without whatever was hooked to it.

    Args:
        sae: An ``SAE``, attached to a model or not, or a ``TrainingSAE``.

    Returns:
        Its inference module in float32 on the CPU, which shares weights where it can.

    Raises:
        ModelError: It is no autoencoder of one residual, or its weights are not finite.
    """
    with foreign("this SAE"):
        from sae_lens import TrainingSAE

        config = sae.cfg.to_dict()
        refuse_transcoder(sae.cfg.architecture(), "this SAE")
        refuse_one_head(config | config["metadata"], "this SAE")
        if isinstance(sae, TrainingSAE):
            return finish(sae, source="this SAE")
        state = sae.state_dict().items()
        weights = {name: weight.detach().float().cpu() for name, weight in state}
    check_finite("this SAE", weights)
    return build(config, weights, source="this SAE")


def fetch(release: str, sae_id: str) -> Any:
    """Fetch a published SAE, from the cache or the hub.

    Args:
        release: Of SAELens' list, or ``"org/repository"`` of the hub.
        sae_id: Which of its SAEs.

    Returns:
        Its inference module in float32.

    Raises:
        ModelError: It is not on the list, or no hub is reachable and the cache does not hold it.
    """
    import_saelens()
    with _quiet():
        from sae_lens import SAE

        # the only place that may reach the network, because the user has named it
        try:
            sae = SAE.from_pretrained(release, sae_id, device="cpu")
        except Exception as error:  # of SAELens, of the hub, or of what lies in its cache
            raise ModelError(
                f"the SAE '{release}/{sae_id}' is not on SAELens' list, or not in the cache and no "
                f"hub answered ({reason(error)}) Give release/sae_id, or the path of a folder "
                "with cfg.json and sae_weights.safetensors, which is read offline."
            ) from error
    return sae


def releases() -> Collection[str]:
    """Releases on SAELens' list of published SAEs.

    Returns:
        Their names.
    """
    with foreign("the list of published SAEs"):
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

        return get_pretrained_saes_directory().keys()
