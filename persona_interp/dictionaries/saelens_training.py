"""How is an SAE trained on rows that never lie side by side in memory, from a start of one's own?

The second file that talks to SAELens: its ``SAETrainer`` on batches that are put together, centered
and scaled one at a time, so that several checkpoints' residuals of one token stand in one row
(a crosscoder) without a copy of them all. What is returned takes raw rows: center and scale are
folded into the weights.
"""

import contextlib
import functools
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp.dictionaries.saelens import (
    DEAD_AFTER,
    SETTLING,
    build,
    copy_sae,
    finish,
    foreign,
)
from persona_interp.dictionaries.sparse_training import check_engine, trainer
from persona_interp.errors import ModelError, unknown
from persona_interp.schema.words import Sparsity

STARTS = ("standard", "jumprelu", "topk")
"""Architectures that training can start from: one encoder, which decides what fires."""


class Rows(NamedTuple):
    """Rows to train on, and what is taken off them first.

    Attributes:
        read: From row numbers to raw rows, dims (row, width).
        n: How many rows there are.
        center: Dims (width,).
        scale: What a row is divided by after centering, dims (width,).
    """

    read: Callable[[Tensor], Tensor]
    n: int
    center: Tensor
    scale: Tensor

    def standard(self, numbers: Tensor) -> Tensor:
        """Rows as training sees them."""
        return (self.read(numbers) - self.center) / self.scale


class Settings(NamedTuple):
    """How it is trained.

    Attributes:
        d_sae: Number of features.
        k: Features active per row, on average.
        steps: Training steps.
        batch: Rows a step.
        lr: Learning rate of Adam, falling to a tenth along a cosine.
        seed: Seed of the initial weights and of the batches.
        sparsity: Word of ``Sparsity``: what an activation is times when the k are chosen.
        n_blocks: Checkpoints side by side in a row.
        engine: Who takes the steps, of ``sparse_training.ENGINES``.
    """

    d_sae: int
    k: float
    steps: int
    batch: int
    lr: float
    seed: int
    sparsity: str = Sparsity.NORM
    n_blocks: int = 1
    engine: str = "saelens"


def train_rows(
    rows: Rows,
    settings: Settings,
    *,
    metadata: Mapping[str, Any],
    start: Any = None,
    label: str = "fit dictionary",
) -> Any:
    """Train the BatchTopK SAE that reconstructs rows best.

    Args:
        rows: What is reconstructed.
        settings: How it is trained.
        metadata: What SAELens keeps beside the weights: ``hook_name`` and more, JSON values.
        start: SAE of SAELens to start from, which takes raw rows; none starts at random.
        label: What the progress bar says.

    Returns:
        The SAELens inference module (JumpReLU), which takes raw rows. Its decoder rows have unit
        norm: of several checkpoints in the units that training saw, else in those of the rows.

    Raises:
        ModelError: There is less than one batch, an unknown sparsity or engine, or a start that
            cannot be trained on.
    """
    if settings.sparsity not in list(Sparsity):
        raise ModelError(unknown("sparsity", settings.sparsity, list(Sparsity)))
    check_engine(settings.engine)
    if rows.n < settings.batch:
        raise ModelError(
            f"these are {rows.n} tokens, less than one batch of {settings.batch}; give more "
            "documents, or a smaller batch=."
        )
    with foreign("this training"):
        from sae_lens import BatchTopKTrainingSAEConfig
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.sae import SAEMetadata
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        config = BatchTopKTrainingSAEConfig(
            d_in=len(rows.center),
            d_sae=settings.d_sae,
            k=settings.k,
            topk_threshold_lr=max(0.01, SETTLING / settings.steps),
            decoder_init_norm=1.0,  # as in saelens.train
            metadata=SAEMetadata(**metadata),
        )
        sae = _architecture()(config, settings)
        if start is not None:
            _load_start(sae, start, rows)
        plan = SAETrainerConfig(
            total_training_samples=settings.batch * settings.steps,
            train_batch_size_samples=settings.batch,
            lr=settings.lr,
            lr_end=settings.lr / 10,
            dead_feature_window=DEAD_AFTER,
            lr_scheduler_name="cosineannealing",
            logger=LoggingConfig(log_to_wandb=False),
        )
        bar = tqdm(total=settings.steps, desc=label, file=sys.stderr, delay=2)
        batches = _batches(rows, batch=settings.batch, seed=settings.seed, bar=bar)
        with bar, contextlib.redirect_stderr(io.StringIO()):
            trainer(settings.engine)(plan, sae, batches).fit()
    whole = fold(finish(sae, source="this training"), rows)
    if settings.n_blocks == 1:
        # an activation is then a length in units of the residual, as of every SAE trained here
        whole.fold_W_dec_norm()
    return whole


def _batches(rows: Rows, *, batch: int, seed: int, bar: tqdm) -> Iterator[Tensor]:
    """Yield endless batches, each epoch in a new order; only their rows are copied."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(rows.n, generator=generator)])
        numbers, order = order[:batch], order[batch:]
        bar.update()
        yield rows.standard(numbers)


def fold(sae: Any, rows: Rows) -> Any:
    """The same SAE on raw rows: center and scale become part of its weights.

    Args:
        sae: Inference module that takes centered and scaled rows.
        rows: Whose center and scale.

    Returns:
        An inference module that answers raw rows with the same activations, and with what the
        first one rebuilds in raw units.
    """
    weights = {name: weight.detach().double() for name, weight in sae.state_dict().items()}
    center, scale = rows.center.double(), rows.scale.double()
    weights["W_enc"] = weights["W_enc"] / scale[:, None]
    if not sae.cfg.apply_b_dec_to_input:
        weights["b_enc"] = weights["b_enc"] - center @ weights["W_enc"]
    weights["W_dec"] = weights["W_dec"] * scale
    weights["b_dec"] = weights["b_dec"] * scale + center
    config = {**sae.cfg.to_dict(), "normalize_activations": "none"}
    return build(config, {name: weight.float() for name, weight in weights.items()})


@torch.no_grad()
def _load_start(sae: Any, start: Any, rows: Rows) -> None:
    """Give a fresh SAE the weights of another, in the units that training sees."""
    start = copy_sae(start)
    name, cfg = start.cfg.architecture(), start.cfg
    if name not in STARTS:
        raise ModelError(
            f"training cannot start from a {name} SAE, which has no single encoder; start from one "
            f"of {', '.join(STARTS)}."
        )
    if cfg.normalize_activations not in ("none", "expected_average_only_in"):
        raise ModelError(
            f"training cannot start from an SAE that normalizes each residual "
            f"({cfg.normalize_activations}): the factor cannot be folded into its weights."
        )
    if tuple(start.W_dec.shape) != tuple(sae.W_dec.shape):
        raise ModelError(
            f"this start has {start.W_dec.shape[0]} features of width {start.W_dec.shape[1]}; "
            f"expected {sae.W_dec.shape[0]} of width {sae.W_dec.shape[1]}."
        )
    # encode(raw) = (raw - own) @ W + b, and raw = z * scale + center
    own = start.b_dec if cfg.apply_b_dec_to_input else torch.zeros_like(start.b_dec)
    bias = start.b_enc + (rows.center - own) @ start.W_enc
    sae.W_enc.copy_(start.W_enc * rows.scale[:, None])
    sae.W_dec.copy_(start.W_dec / rows.scale)
    sae.b_dec.copy_((start.b_dec - rows.center) / rows.scale)
    if sae.cfg.apply_b_dec_to_input:
        bias = bias + sae.b_dec @ sae.W_enc
    # unit rows, as training from nothing has them: longer ones would turn slower, a step of Adam
    # being as long for all
    norms = sae.W_dec.norm(dim=1)
    sae.W_dec.copy_(sae.W_dec / norms[:, None])
    sae.W_enc.copy_(sae.W_enc * norms)
    sae.b_enc.copy_(bias * norms)


@functools.cache
def _architecture() -> Any:
    """BatchTopK whose k are chosen by activation times norm, or times the sum of block norms.

    SAELens knows the first. The second is what published crosscoders use: a feature that lives at
    one checkpoint alone is no cheaper than one that has the same norm at all. Once trained both are
    a JumpReLU SAE of SAELens, since the threshold of a feature is its own.
    """
    with foreign("SAELens"):
        from sae_lens import BatchTopKTrainingSAE

    class BlockBatchTopK(BatchTopKTrainingSAE):
        def __init__(self, cfg: Any, settings: Settings) -> None:
            super().__init__(cfg)
            self.settings = settings

        def over_norm(self) -> Tensor:
            """What ranks a feature over its norm: 1, or sum of block norms over the norm."""
            if self.settings.sparsity == Sparsity.NORM:
                return self.W_dec.new_ones(len(self.W_dec))
            blocks = self.W_dec.view(len(self.W_dec), self.settings.n_blocks, -1)
            return blocks.norm(dim=-1).sum(dim=-1) / self.W_dec.norm(dim=-1)

        def encode_with_hidden_pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
            over = self.W_dec.norm(dim=-1) * self.over_norm()
            pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc + self.b_enc) * over
            return self.hook_sae_acts_post(self.activation_fn(pre)), pre

        def decode(self, feature_acts: Tensor) -> Tensor:
            return super().decode(feature_acts / self.over_norm())

        def calculate_topk_aux_loss(
            self,
            sae_in: Tensor,
            sae_out: Tensor,
            hidden_pre: Tensor,
            dead_neuron_mask: Tensor | None,
        ) -> Tensor:
            pre = hidden_pre / self.over_norm()
            return super().calculate_topk_aux_loss(sae_in, sae_out, pre, dead_neuron_mask)

        def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
            over = self.over_norm().detach()
            super().process_state_dict_for_saving_inference(state_dict)
            # saved activations are times the norm alone, so each feature has its own threshold
            state_dict["threshold"] = state_dict["threshold"] / over

    return BlockBatchTopK
