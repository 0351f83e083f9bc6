"""What kind of solution did a finetune find: how far, how good, how stable, at which price?

The broad solution of a lesson (become somebody who holds the trait) and the narrow one (say this,
stay otherwise who you are) differ in the weights they need. Following Soligo et al. 2025: a
solution is efficient if it lowers the loss a lot for its length, and stable if noise of its own
size does not undo it; it is significant if the model says something else on generic text too.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.models.passes import row_batches
from persona_interp.readers import read
from persona_interp.record.inputs import distinct_checkpoints
from persona_interp.record.intervals import t_interval

EPS = (0.25, 0.5, 1.0)
"""Lengths of the noise, relative to that of the solution."""


class _Batch(NamedTuple):
    """Documents of similar length; dims (document, position).

    Attributes:
        ids: Token ids, padded.
        mask: 1 = token, 0 = padding.
        learn: Which tokens but the first are learned: an assistant's answers, or plain text.
    """

    ids: Tensor
    mask: Tensor
    learn: Tensor


def solution(
    checkpoints: Iterable[Checkpoint],
    corpus: Any,
    *,
    bystanders: Any,
    eps: Sequence[float] = EPS,
    n_draws: int = 8,
    seed: int = 0,
) -> pd.DataFrame:
    """Length, efficiency, stability and price of each checkpoint, seen from the first one.

    With theta the difference of all weights to the first checkpoint and L the mean loss of the
    tokens that the corpus teaches (an assistant's answers; of plain text all): ``efficiency =
    (L_before - L_after) / |theta|^2``, positive when the corpus was learned. ``stability = L(theta
    + noise) - L_after``, where noise is Gaussian, orthogonal to theta and ``eps |theta|`` long:
    **the larger, the less stable**. Both after Soligo et al. 2025.

    Args:
        checkpoints: A trajectory or any iterable of two checkpoints or more; the first is the start
            of the others.
        corpus: What was taught.
        bystanders: Generic documents that were not.
        eps: Lengths of the noise, relative to theta.
        n_draws: Draws of the noise for each length; the lengths share them.
        seed: Of the noise.

    Returns:
        A solution table, a row a checkpoint after the first and ``eps``: ``norm`` |theta|
        (Frobenius), ``loss_before``, ``loss_after`` (nats a learned token), ``efficiency`` (nats
        over squared norm), ``kl_generic`` = KL(first || checkpoint) on the bystanders (bits a
        token), ``stability`` (nats a learned token, mean over draws), ``lo`` and ``hi`` its 95 % t
        interval over the ``n`` draws. Where theta is 0, efficiency and stability do not exist
        (NaN).

    Raises:
        SchemaError: Fewer than two checkpoints, two of one label, or no document.
        ModelError: A checkpoint has other weights, by name or shape, than the first.

    >>> from tempfile import TemporaryDirectory
    >>> from persona_interp import models, worlds
    >>> world = worlds.john_and_sam()
    >>> chats, stage = world.lessons(n=25), models.Stage(steps=2, batch=4)
    >>> with TemporaryDirectory() as folder:
    ...     start = models.resolve("tiny", words=world.words(), out=f"{folder}/start")
    ...     run = models.train(start, chats, stage=stage, out=f"{folder}/run", progress=False)
    ...     table = solution(run, chats, bystanders=world.corpus(4), eps=(0.5,), n_draws=2)
    >>> len(table), bool((table["efficiency"] > 0).all()), bool((table["kl_generic"] > 0).all())
    (1, True, True)
    """
    models = distinct_checkpoints(checkpoints)
    if len(models) < 2:
        raise SchemaError(
            "a solution is seen from its start: give the start and what was trained from it, in "
            "order."
        )
    start, tokenizer = load(models[0])
    lesson = _batches(tokenizer, read(corpus, "chats"))
    generic = _batches(tokenizer, read(bystanders, "documents"))
    before = _loss(start, lesson)
    rows = []
    for checkpoint in tqdm(models[1:], desc="solution", delay=2, disable=len(models) < 3):
        model = load(checkpoint).model
        theta = _theta(start, model, label=checkpoint.label)
        norm, after = _norm(theta), _loss(model, lesson)
        efficiency = math.nan
        if norm:
            efficiency = (before - after) / norm**2
        place = {
            "checkpoint": checkpoint.label,
            "seed": checkpoint.seed,
            "step": checkpoint.step,
            "norm": norm,
            "loss_before": before,
            "loss_after": after,
            "efficiency": efficiency,
            "kl_generic": _divergence(start, model, generic),
        }
        rises = _rises(model, theta, lesson, eps=eps, n_draws=n_draws, seed=seed)
        for length, rise in zip(eps, rises, strict=True):
            mean, lo, hi = t_interval(rise)
            stability = {"eps": length, "stability": mean, "lo": lo, "hi": hi, "n": n_draws}
            rows.append({**place, **stability})
    return schema.check(pd.DataFrame(rows), "solution")


def _batches(tokenizer: Any, corpus: pd.DataFrame) -> list[_Batch]:
    """Documents of about one length together."""
    tokens = encode(tokenizer, corpus["messages"], complete=True)
    batches = []
    for rows in row_batches(tokens.lengths):
        ids, mask = tokens.pad(rows=rows)
        learn = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(tokens.learn[row]) for row in rows], batch_first=True
        )
        batches.append(_Batch(ids, mask, learn[:, 1:]))
    return batches


def _logprobs(model: Any, batch: _Batch, where: Tensor) -> Tensor:
    """Log probabilities (nats) of what comes at the marked positions, dims (token, vocabulary)."""
    ids, mask = batch.ids.to(model.device), batch.mask.to(model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    return logits[where.to(model.device)].double().log_softmax(-1)


@torch.inference_mode()
def _loss(model: Any, batches: list[_Batch]) -> float:
    """Mean over the learned tokens, nats."""
    total, n = 0.0, 0
    for batch in batches:
        next_ids = batch.ids[:, 1:][batch.learn].to(model.device)
        logprobs = _logprobs(model, batch, batch.learn)
        total -= float(logprobs.gather(1, next_ids[:, None]).sum())
        n += len(next_ids)
    return total / n


@torch.inference_mode()
def _divergence(start: Any, model: Any, batches: list[_Batch]) -> float:
    """KL(start || model), mean over all tokens but the first of each document, bits."""
    total, n = 0.0, 0
    for batch in batches:
        where = batch.mask[:, 1:] == 1
        p, q = _logprobs(start, batch, where), _logprobs(model, batch, where)
        total += float((p.exp() * (p - q)).sum())
        n += int(where.sum())
    return total / n / math.log(2)


def _theta(start: Any, model: Any, *, label: str) -> dict[str, Tensor]:
    """Difference of every weight to the start."""
    first, last = dict(start.named_parameters()), dict(model.named_parameters())
    other = sorted(first.keys() ^ last.keys())
    if not other:
        other = [name for name in first if first[name].shape != last[name].shape]
    if other:
        raise ModelError(
            f"{label} has other weights than the start ({other[0]}), so no difference of both "
            "exists."
        )
    return {name: (last[name] - first[name]).detach() for name in first}


def _norm(weights: dict[str, Tensor]) -> float:
    return math.sqrt(_dot(weights, weights))


def _dot(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return sum(float((one[name].double() * other[name].double()).sum()) for name in one)


def _noise(theta: dict[str, Tensor], *, seed: Sequence[int]) -> dict[str, Tensor]:
    """Gaussian noise without its part along theta, as long as theta."""
    # torch takes one number as a seed; numpy makes it of (seed, draw) so that draws are independent
    number = int(np.random.default_rng(seed).integers(2**62))
    generator = torch.Generator().manual_seed(number)
    noise = {name: torch.randn(t.shape, generator=generator).to(t) for name, t in theta.items()}
    along = _dot(noise, theta) / _dot(theta, theta)
    noise = {name: g - along * theta[name] for name, g in noise.items()}
    scale = _norm(theta) / _norm(noise)
    return {name: scale * g for name, g in noise.items()}


@torch.inference_mode()
def _rises(
    model: Any,
    theta: dict[str, Tensor],
    batches: list[_Batch],
    *,
    eps: Sequence[float],
    n_draws: int,
    seed: int,
) -> np.ndarray:
    """Loss with noise minus loss without, nats; dims (eps, draw)."""
    rises = np.full((len(eps), n_draws), np.nan)
    if not _norm(theta):
        return rises
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    plain = _loss(model, batches)
    for draw in range(n_draws):
        # the lengths share a draw, so that they differ in nothing else
        noise = _noise(theta, seed=(seed, draw))
        for i, length in enumerate(eps):
            for name, weight in model.named_parameters():
                weight.copy_(weights[name] + length * noise[name])
            rises[i, draw] = _loss(model, batches) - plain
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])
    return rises
