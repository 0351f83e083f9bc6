"""Where would a lesson pull the weights at the start? Its gradient, as an optimizer scales it.

Adam moves every weight by about the learning rate, whatever the size of its gradient. A virtual
step therefore goes along the gradient's sign, or along the gradient over its root mean square.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from persona_interp.models import Stage
from persona_interp.models.device import Batch
from persona_interp.models.dtype import autocast
from persona_interp.models.passes import run_rows
from persona_interp.record.lesson_rows import LessonRows

Weights = dict[str, Tensor]
SIGN, ADAM, PLAIN = "sign", "adam", "gradient"
DIRECTIONS = (SIGN, ADAM, PLAIN)
SATURATED = 3
"""A gradient a third as large as the median one counts as its sign."""
SAMPLE = 1 << 24
"""Numbers that are enough for a median."""
EPSILON = 1e-8
"""Of AdamW; added to the root mean square."""


class Gradient(NamedTuple):
    """Gradient of a lesson's mean loss.

    Attributes:
        mean: By name of the weight, nats per learned token.
        spread: Variance over rows of the gradient of a row, by name; empty where it was not asked
            for.
        logprob: Log of the probability of the learned tokens of each row (nats), where rows ran
            alone.
    """

    mean: Weights
    spread: Weights
    logprob: list[float]


def lesson_gradient(
    model: Any,
    rows: LessonRows,
    *,
    spread: bool,
    dtype: str,
    batch: Batch,
    keep: Callable[[int, Weights], None] | None = None,
) -> Gradient:
    """Gradient of a lesson's mean loss at a model, and how far that of its rows varies.

    Args:
        model: A Hugging Face model.
        rows: Of the lesson.
        spread: Whether the variance is computed, for which every row runs alone.
        dtype: Of autocast.
        batch: Tokens a forward pass, padding included.
        keep: Told the number of each row that ran alone, and its part of the gradient.

    Returns:
        The gradient.
    """
    total = float(rows.counts.sum())
    mean: Weights = {}
    square: Weights = {}
    logprob = [0.0] * len(rows.docs)
    for group, loss, grads in row_gradients(model, rows, alone=spread, dtype=dtype, batch=batch):
        logprob[group[0]] = -loss * rows.n_learned * total / float(rows.counts[group[0]])
        if keep is not None:
            keep(group[0], grads)
        for name, grad in grads.items():
            mean[name] = mean[name].add_(grad) if name in mean else grad.clone()
            if spread:
                # of one row: its own gradient, as it stands in the mean over the lesson
                share = float(rows.counts[group[0]]) / total
                part = grad.square().div_(share)
                square[name] = square[name].add_(part) if name in square else part
    deviation = {name: square[name].sub_(mean[name].square()).clamp_(min=0) for name in square}
    return Gradient(mean, deviation, logprob)


def row_gradients(
    model: Any, rows: LessonRows, *, alone: bool, dtype: str, batch: Batch
) -> Iterator[tuple[list[int], float, Weights]]:
    """Yield groups of rows and their part of the lesson's mean loss and of its gradient.

    Args:
        model: A Hugging Face model.
        rows: Of the lesson.
        alone: Whether every row is a group of its own.
        dtype: Of autocast.
        batch: Tokens a forward pass, padding included.

    Yields:
        Row numbers, loss (nats per learned token of the lesson) and gradient by name of the weight;
        all together add up to the lesson's.
    """
    weights = dict(model.named_parameters())
    n_learned = rows.n_learned * float(rows.counts.sum())

    def run(group: list[int]) -> tuple[float, tuple[Tensor, ...]]:
        with autocast(model, dtype):
            loss = _weighted_loss(model, rows, group) / n_learned
        # zeros for a weight that these rows do not use (an expert), so that all rows have the same
        grads = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        return float(loss.detach()), grads

    size = 1 if alone else batch
    for group, (loss, grads) in run_rows(run, rows.tokens.lengths, batch=size, device=model.device):
        yield group, loss, dict(zip(weights, grads, strict=True))


def direction_of(gradient: Gradient, direction: str, *, stage: Stage) -> Weights:
    """Direction that the optimizer would take at first, against which weights are moved.

    Args:
        gradient: Of the lesson; with its spread for "adam".
        direction: "sign": the gradient over a third of its median size, within -1 and 1. "adam":
            over the root of the mean square of the gradient of a batch, batches drawn at random.
            "gradient": as it is, no longer than ``stage.clip``.
        stage: How the lesson would be taught.

    Returns:
        The direction by name of the weight.
    """
    mean = gradient.mean
    if direction == SIGN:
        scale = _median(list(mean.values())) / SATURATED
        return {name: (grad / scale).clamp_(-1, 1) for name, grad in mean.items()}
    if direction == ADAM:
        scale_of = adam_scale(gradient, stage=stage)
        return {name: grad * scale_of[name] for name, grad in mean.items()}
    length = float(torch.stack([grad.norm() for grad in mean.values()]).norm())
    factor = min(1.0, stage.clip / length) if stage.clip and length else 1.0
    return {name: grad * factor for name, grad in mean.items()}


def adam_scale(gradient: Gradient, *, stage: Stage) -> Weights:
    """What Adam multiplies every weight's gradient by in its first steps.

    Args:
        gradient: Of the lesson, with its spread.
        stage: How the lesson would be taught: the fewer documents a batch has, the more its
            gradient varies.

    Returns:
        One over the root mean square of a batch's gradient, by name of the weight.
    """
    return {
        name: 1 / ((grad**2 + gradient.spread[name] / stage.batch).sqrt() + EPSILON)
        for name, grad in gradient.mean.items()
    }


def _median(parts: Sequence[Tensor]) -> float:
    """Median size of the gradients that are not 0: a token that the lesson lacks has none."""
    n = sum(part.numel() for part in parts)
    every = -(-n // SAMPLE)
    sizes = torch.cat([part.flatten()[::every].abs().float() for part in parts])
    return float(sizes[sizes > 0].median())


def _weighted_loss(model: Any, rows: LessonRows, group: list[int]) -> Tensor:
    """Loss (nats) of the learned tokens of some rows, each row as often as it occurs."""
    ids, mask = (t.to(model.device) for t in rows.tokens.pad(rows=group))
    share = torch.zeros(ids.shape, device=ids.device)
    for i, row in enumerate(group):
        learn = torch.tensor(rows.learn[row], device=ids.device)
        share[i, : len(learn)] = learn * float(rows.counts[row])
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        rearrange(logits, "row position vocabulary -> (row position) vocabulary").float(),
        rearrange(ids[:, 1:], "row position -> (row position)"),
        reduction="none",
    )
    return losses @ rearrange(share[:, 1:], "row position -> (row position)")
