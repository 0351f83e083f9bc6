"""How does SAELens' trainer take the sparse step? Everything but the step stays SAELens' own.

The third file that talks to SAELens. Its ``SAETrainer`` keeps the schedule of the learning rate,
the counts of dead features, the window of activity and the metadata; replaced are the forward and
backward pass (``sparse``) and Adam by torch's fused kernel. On a CUDA device the same calls run
torch's own kernels; that was not tried on a card.
"""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from persona_interp.dictionaries.saelens import foreign
from persona_interp.dictionaries.sparse import Auxiliary, activate, auxiliary, gradients, rebuild
from persona_interp.errors import ModelError, unknown

ENGINES = ("saelens", "sparse")
"""Who takes a training step: SAELens' dense one, or ``sparse``, which gives the same."""
ARCHITECTURES = ("topk", "batchtopk")
"""Architectures of SAELens that have a sparse step."""
LONGEST = 1.0
"""Norm that gradients are clipped to, as SAELens does."""


def check_engine(engine: str) -> None:
    """Refuse an engine that there is not.

    Args:
        engine: A word of ``ENGINES``.

    Raises:
        ModelError: It is none.

    >>> check_engine("sparse")
    """
    if engine not in ENGINES:
        raise ModelError(unknown("engine", engine, ENGINES))


def trainer(engine: str) -> Any:
    """Class of the trainer, which is used as ``SAETrainer`` is.

    Args:
        engine: A word of ``ENGINES``.

    Returns:
        SAELens' ``SAETrainer``, or a child of it that takes sparse steps of TopK and BatchTopK SAEs
        in float32.

    Raises:
        ModelError: There is no such engine.
    """
    check_engine(engine)
    if engine == "sparse":
        return _sparse_trainer()
    with foreign("SAELens"):
        from sae_lens import SAETrainer
    return SAETrainer


@functools.cache
def _sparse_trainer() -> Any:
    """The class; SAELens takes seconds to import, so it is made when it is asked for."""
    with foreign("SAELens"):
        from sae_lens import SAETrainer

    class SparseTrainer(SAETrainer):
        def __init__(self, cfg: Any, sae: Any, data_provider: Any, **more: Any) -> None:
            _check(cfg, sae)
            sae.to(cfg.device)
            super().__init__(cfg, sae, data_provider, **more)
            self.encoder = torch.nn.Parameter(torch.empty(0))
            self.turn()
            (group,) = self.optimizer.param_groups
            group["fused"] = True
            weights = [self.encoder if w is sae.W_enc else w for w in group["params"]]
            self.weights = group["params"] = weights
            self.room = torch.empty(0)

        def turn(self) -> None:
            """Lay each feature's weights side by side in memory, as their gradient comes.

            Adam sees them so: its fused kernel would copy what does not lie as it is indexed.
            """
            self.encoder.data = self.sae.W_enc.data.T.contiguous()
            self.sae.W_enc.data = self.encoder.data.T

        def fit(self) -> Any:
            self.turn()
            with _quiet():
                sae = super().fit()
            sae.W_enc.data = sae.W_enc.data.contiguous()
            return sae

        @torch.no_grad()
        def _train_step(self, sae: Any, sae_in: Tensor) -> Any:
            output = _backward(self, sae, sae_in)
            torch.nn.utils.clip_grad_norm_(self.weights, LONGEST)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.lr_scheduler.step()
            return output

    return SparseTrainer


def _backward(run: Any, sae: Any, sae_in: Tensor) -> Any:
    """Losses of a batch; the gradients are left at the parameters, the counts with the trainer."""
    from sae_lens.saes.sae import TrainStepOutput

    cfg, W_enc, W_dec = sae.cfg, sae.W_enc.data, sae.W_dec.data
    inputs = sae_in - sae.b_dec if cfg.apply_b_dec_to_input else sae_in
    norms = W_dec.norm(dim=1) if cfg.rescale_acts_by_decoder_norm else W_dec.new_ones(len(W_dec))
    # a crosscoder ranks by another norm (saelens_training)
    ranks = norms * sae.over_norm() if hasattr(sae, "over_norm") else norms
    ranked = torch.addmm(sae.b_enc, inputs, W_enc, out=_room(run, len(inputs), W_enc))
    ranked.mul_(ranks)
    active = activate(ranked, cfg.k, together=cfg.architecture() == "batchtopk")
    weights = active.acts / ranks[active.columns]
    sae_out = rebuild(active, weights, W_dec) + sae.b_dec
    gap = sae_out - sae_in
    grads = gradients(
        active,
        weights,
        inputs,
        gap * (2 / len(gap)),
        W_enc=W_enc,
        W_dec=W_dec,
        is_centered=cfg.apply_b_dec_to_input,
        is_frozen=not sae.W_dec.requires_grad,
    )
    run.encoder.grad, sae.b_enc.grad = grads.W_enc, grads.b_enc
    sae.W_dec.grad, sae.b_dec.grad = grads.W_dec, grads.b_dec
    mse = gap.pow(2).sum(dim=1).mean()
    revival = mse.new_zeros(())
    dead = run.dead_neurons.nonzero()[:, 0]
    if len(dead) and cfg.aux_loss_coefficient:
        pre = ranked[:, dead] / ranks[dead]
        found = auxiliary(pre, norms[dead], -gap, inputs, W_dec=W_dec[dead])
        revival = cfg.aux_loss_coefficient * found.loss
        _add(found, dead, run, sae)
    if hasattr(sae, "update_topk_threshold"):
        sae.update_topk_threshold(active.acts)
    _count(run, active.fires)
    entries = torch.stack([active.rows, active.columns])
    return TrainStepOutput(
        sae_in=sae_in,
        sae_out=sae_out,
        feature_acts=torch.sparse_coo_tensor(entries, active.acts, active.shape),
        hidden_pre=ranked,
        loss=mse + revival,
        losses={"mse_loss": mse, "auxiliary_reconstruction_loss": revival},
    )


def _room(run: Any, n: int, W_enc: Tensor) -> Tensor:
    """Where the activations of a batch go: the same memory every step, which is faster than new."""
    shape = (n, W_enc.shape[1])
    if run.room.shape != shape or run.room.device != W_enc.device:
        run.room = W_enc.new_empty(shape)
    return run.room


def _add(found: Auxiliary, dead: Tensor, run: Any, sae: Any) -> None:
    """Add the gradients of the auxiliary loss to the parameters'."""
    factor = sae.cfg.aux_loss_coefficient
    run.encoder.grad.index_add_(0, dead, found.W_enc, alpha=factor)
    sae.b_enc.grad.index_add_(0, dead, found.b_enc, alpha=factor)
    if sae.W_dec.grad is not None:
        sae.W_dec.grad.index_add_(0, dead, found.W_dec, alpha=factor)
    if sae.cfg.apply_b_dec_to_input:
        sae.b_dec.grad.sub_(found.b_enc @ run.encoder.data[dead], alpha=factor)


def _count(run: Any, fires: Tensor) -> None:
    """Keep SAELens' counts of what fired, and of how long the others have not."""
    run.n_forward_passes_since_fired += 1
    run.n_forward_passes_since_fired[fires > 0] = 0
    run.act_freq_scores += fires
    run.n_frac_active_samples += run.cfg.train_batch_size_samples


def _check(cfg: Any, sae: Any) -> None:
    """Refuse what has no sparse step."""
    name, normalization = sae.cfg.architecture(), sae.cfg.normalize_activations
    if name not in ARCHITECTURES:
        raise ModelError(
            f"engine='sparse' trains {' and '.join(ARCHITECTURES)} SAEs; got {name}. "
            "Use engine='saelens'."
        )
    if cfg.autocast or sae.dtype != torch.float32:
        raise ModelError(
            f"engine='sparse' trains in float32; got autocast={cfg.autocast}, {sae.dtype}. Use "
            "engine='saelens'."
        )
    if normalization in ("layer_norm", "constant_norm_rescale"):
        raise ModelError(
            f"engine='sparse' cannot normalize each residual ({normalization}). Use "
            "engine='saelens'."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says of every sparse tensor: that their interface may change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")
        yield
