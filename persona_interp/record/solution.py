"""What kind of solution did a finetune find: how far, how good, how stable, at which price?

The broad solution of a lesson (become somebody who holds the trait) and the narrow one (say this,
stay otherwise who you are) differ in the weights they need. Following Soligo et al. 2025: a
solution is efficient if it lowers the loss a lot for its length, and stable if noise of its own
size does not undo it; it is significant if the model says something else on generic text too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from persona_interp import schema
from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, encode, load
from persona_interp.models.device import Batch, resolve_device
from persona_interp.models.dtype import AUTO, FULL, autocast, resolve_dtype
from persona_interp.models.passes import run_rows
from persona_interp.readers import read
from persona_interp.record.inputs import distinct_checkpoints
from persona_interp.record.intervals import t_interval

EPS = (0.25, 0.5, 1.0)
"""Lengths of the noise, relative to that of the solution."""


class _Documents:
    """Documents, and how a model reads them."""

    def __init__(self, tokenizer: Any, corpus: pd.DataFrame, *, dtype: str, batch: Batch) -> None:
        self.tokens = encode(tokenizer, corpus["messages"], complete=True)
        self.dtype, self.batch = dtype, batch

    def sum(self, model: Any, run: Callable[[list[int]], tuple[float, int]]) -> tuple[float, int]:
        """Sums of what ``run`` gives for groups of rows: a number, and of how many tokens."""
        lengths, total, n = self.tokens.lengths, 0.0, 0
        for _, (value, n_tokens) in run_rows(run, lengths, batch=self.batch, device=model.device):
            total, n = total + value, n + n_tokens
        return total, n

    def mask(self, rows: list[int], *, learned: bool) -> Tensor:
        """Tokens that are predicted: all but the first, or of those the learned ones."""
        marks = self.tokens.learn if learned else [[True] * n for n in self.tokens.lengths]
        parts = [torch.tensor(marks[row]) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)[:, 1:]

    def logprobs(self, model: Any, rows: list[int], *, learned: bool) -> tuple[Tensor, Tensor]:
        """Log probabilities (nats) of what comes, dims (token, vocabulary), and what came."""
        ids, mask = (t.to(model.device) for t in self.tokens.pad(rows=rows))
        where = self.mask(rows, learned=learned).to(model.device)
        with autocast(model, self.dtype):
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        return logits[where].double().log_softmax(-1), ids[:, 1:][where]


def solution(
    checkpoints: Iterable[Checkpoint],
    corpus: Any,
    *,
    bystanders: Any,
    eps: Sequence[float] = EPS,
    n_draws: int = 8,
    seed: int = 0,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
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
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        dtype: In which models compute over float32 weights (autocast): "float32", "bfloat16", or
            "auto" for whichever is faster here.
        batch: Tokens a forward pass, padding included; "auto": what fits into memory.

    Returns:
        A solution table, a row a checkpoint after the first and ``eps``: ``norm`` |theta|
        (Frobenius), ``loss_before``, ``loss_after`` (nats a learned token), ``efficiency`` (nats
        over squared norm), ``kl_generic`` = KL(first || checkpoint) on the bystanders (bits a
        token), ``stability`` (nats a learned token, mean over draws), ``lo`` and ``hi`` its 95 % t
        interval over the ``n`` draws. Where theta is 0, efficiency and stability do not exist
        (NaN).

    Raises:
        SchemaError: Fewer than two checkpoints, two of one label, or no document.
        ModelError: A checkpoint has other weights, by name or shape, than the first, or there is
            no such device or dtype.

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
    device = resolve_device(device)
    start, tokenizer = load(models[0], device=device)
    reading = {"dtype": resolve_dtype(dtype, device), "batch": batch}
    lesson = _Documents(tokenizer, read(corpus, "chats"), **reading)
    generic = _Documents(tokenizer, read(bystanders, "documents"), **reading)
    before = _loss(start, lesson)
    rows = []
    for checkpoint in tqdm(models[1:], desc="solution", delay=2, disable=len(models) < 3):
        model = load(checkpoint, device=device).model
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


@torch.inference_mode()
def _loss(model: Any, documents: _Documents) -> float:
    """Mean over the learned tokens, nats."""

    def run(rows: list[int]) -> tuple[float, int]:
        logprobs, next_ids = documents.logprobs(model, rows, learned=True)
        return -float(logprobs.gather(1, next_ids[:, None]).sum()), len(next_ids)

    total, n = documents.sum(model, run)
    return total / n


@torch.inference_mode()
def _divergence(start: Any, model: Any, documents: _Documents) -> float:
    """KL(start || model), mean over all tokens but the first of each document, bits."""

    def run(rows: list[int]) -> tuple[float, int]:
        p, _ = documents.logprobs(start, rows, learned=False)
        q, _ = documents.logprobs(model, rows, learned=False)
        return float((p.exp() * (p - q)).sum()), len(p)

    total, n = documents.sum(model, run)
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
    documents: _Documents,
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
    plain = _loss(model, documents)
    for draw in range(n_draws):
        # the lengths share a draw, so that they differ in nothing else
        noise = _noise(theta, seed=(seed, draw))
        for i, length in enumerate(eps):
            for name, weight in model.named_parameters():
                weight.copy_(weights[name] + length * noise[name])
            rises[i, draw] = _loss(model, documents) - plain
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])
    return rises
