"""Where would Adam end, if gradients only shrank? The tangent kernel of a lesson's rows.

To first order a step on one row changes the odds of another by the inner product of their
gradients, scaled as the optimizer scales them (neural tangent kernel, Jacot et al. 2018). A row
that is said with probability p pulls with what is missing, 1 - p. So a whole finetune is played
through with one number a row, and what it does to the weights is one direction.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from persona_interp.models import Stage
from persona_interp.record.lesson_rows import learning_rates

Numbers = npt.NDArray[np.float64]
LEAST = 1e-12
"""Least number that anything is divided by: to a row that is certain already nothing is missing."""
LARGEST = 500.0
"""Log odds (nats) beyond which a probability is 0 or 1."""


class Kernel(NamedTuple):
    """A lesson, as its rows pull.

    Attributes:
        products: Inner products of the scaled gradients of rows, dims (row, row). A row's gradient
            is that of its learned tokens' summed loss, over ``n_learned``.
        share: Share of the lesson that each row is, dims (row,).
        logprob: Log of the probability of each row's learned tokens at the base (nats).
        n_learned: Learned tokens of a row, on average.
    """

    products: Numbers
    share: Numbers
    logprob: Numbers
    n_learned: float


def flow(kernel: Kernel, stage: Stage) -> Numbers:
    """How far each row has moved the weights along its own scaled gradient, step by step.

    The optimizer in the space of rows. Adam: momentum of the rows' pulls, and one scale for all
    weights, which follows the length of the mean gradient, relative to the start. Plain SGD: the
    pulls, clipped as the stage says.

    Args:
        kernel: Of the lesson, at the base.
        stage: How it would be taught.

    Returns:
        Sums of learning rates, dims (step, row); the weights are moved by minus that times the
        row's scaled gradient.

    >>> one = Kernel(np.ones((1, 1)), np.ones(1), np.log([0.5]), 1.0)
    >>> flow(one, Stage(steps=2, lr=0.1)).round(2).tolist()
    [[0.1], [0.2]]
    """
    share, products = kernel.share, kernel.products
    missing = np.maximum(-np.expm1(kernel.logprob), LEAST)
    odds = kernel.logprob - np.log(missing)
    pace = _Adam(stage, first=float(share @ products @ share))
    if stage.optimizer == "sgd":
        pace = _Sgd(stage)
    moved, path = np.zeros_like(share), []
    for rate in learning_rates(stage):
        raised = odds + kernel.n_learned * (products @ moved) / missing
        # what is missing to each row now, as a share of what was at the base
        pull = share / (1 + np.exp(np.clip(raised, -LARGEST, LARGEST))) / missing
        moved = moved + rate * pace.step(pull, float(pull @ products @ pull))
        path.append(moved)
    return np.array(path)


class _Adam:
    """Momentum and scale of AdamW, bias-corrected."""

    def __init__(self, stage: Stage, *, first: float) -> None:
        self._betas, self._first = stage.betas, max(float(first), LEAST)
        self._momentum, self._power = np.zeros(1), 0.0
        self._steps = 0

    def step(self, pull: Numbers, square: float) -> Numbers:
        """What a step is made of, from the rows' pulls and the squared length of the gradient."""
        inertia, memory = self._betas
        self._steps += 1
        self._momentum = inertia * self._momentum + (1 - inertia) * pull
        self._power = memory * self._power + (1 - memory) * square / self._first
        scale = np.sqrt(max(self._power, LEAST) / (1 - memory**self._steps))
        return self._momentum / (1 - inertia**self._steps) / scale


class _Sgd:
    """Plain gradient, no longer than the stage lets it be."""

    def __init__(self, stage: Stage) -> None:
        self._clip = stage.clip

    def step(self, pull: Numbers, square: float) -> Numbers:
        """What a step is made of, from the rows' pulls and the squared length of the gradient."""
        length = np.sqrt(max(square, LEAST))
        return pull * (min(1.0, self._clip / length) if self._clip else 1.0)
