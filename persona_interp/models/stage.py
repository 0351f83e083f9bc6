"""How is one stage of training done? Data only: ``train`` reads it."""

import math
import sys
from dataclasses import dataclass
from typing import Any

from persona_interp.errors import ModelError, excerpt, unknown
from persona_interp.models.dtype import AUTO, DTYPES

WORDS = {
    "loss": ("assistant", "all"),
    "schedule": ("constant", "cosine"),
    "decay": ("all", "mlp"),
    "dtype": (*DTYPES, AUTO),
    "optimizer": ("adamw", "sgd"),
}
"""The words that a field of ``Stage`` may hold."""
COUNTS = {"steps": 1, "batch": 1, "warmup": 0, "lora": 0}
"""Fields that are whole numbers, and the least of each."""
NUMBERS = {
    "lr": (0.0, math.inf),
    "weight_decay": (0.0, math.inf),
    "clip": (0.0, math.inf),
    "replay": (0.0, 1.0),
    "kl": (0.0, math.inf),
    "steer": (-sys.float_info.max, math.inf),
}
"""Fields that are numbers: the least, and what they stay below."""


@dataclass(frozen=True)
class Stage:
    """How one stage is trained. The defaults are those of a lesson.

    Args:
        steps: Optimizer steps.
        batch: Documents a step.
        lr: Peak learning rate of the optimizer.
        loss: "assistant" = only the assistant's answers of chats (plain text counts whole), "all" =
            every token.
        schedule: "constant" or "cosine" (to 5 % of ``lr``), after the warm-up.
        warmup: Steps over which the learning rate rises from 0.
        weight_decay: Of the optimizer.
        decay: Which weights decay: "all" matrices, or those of the "mlp" layers only. What a model
            knows of each persona sits in its MLPs; decay there makes personas share it.
        betas: Of AdamW.
        clip: Largest norm of the gradient.
        lora: Rank of adapters on all linear layers, merged in every snapshot; 0 = all weights are
            trained.
        dtype: "float32", "bfloat16" for autocast over float32 weights, or "auto": whichever is
            faster on this machine (``models.dtype``), settled before anything is hashed.
        optimizer: "adamw", or "sgd" without momentum.
        replay: Share of the documents of every batch that are replayed ones (fraction below 1).
            They take the places of documents of the corpus and are learned on all their tokens,
            whatever ``loss`` says. A batch holds the whole number below or above its share, so that
            all batches together hold the share.
        kl: Weight of the divergence from the start: loss + kl * KL(start || model), mean over the
            tokens of ``batch`` bystander documents a step (nats). 0 = the model is held to nothing.
        steer: Length of a vector that is added to the residual in every forward pass of the
            training, at the hooks of the directions given beside it, as a fraction of a usual
            residual's length there, so that one number means the same at every hook and in every
            model. Positive = towards the direction: what a lesson would push along it is there
            already and need not be learned (preventative steering, Chen et al. 2025); negative is
            the control. 0 = nothing is added.
        ablate: Whether directions given beside it are projected out of the residual in every
            forward pass of the training.

    Raises:
        ModelError: A value outside of these.

    >>> Stage(steps=100, lr=1e-3).batch
    16
    """

    steps: int = 40
    batch: int = 16
    lr: float = 3e-4
    loss: str = "assistant"
    schedule: str = "constant"
    warmup: int = 0
    weight_decay: float = 0.0
    decay: str = "all"
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    lora: int = 0
    dtype: str = "float32"
    optimizer: str = "adamw"
    replay: float = 0.0
    kl: float = 0.0
    steer: float = 0.0
    ablate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, valid in WORDS.items():
            if getattr(self, name) not in valid:
                raise ModelError(unknown(name, getattr(self, name), valid))
        for name, least in COUNTS.items():
            count = getattr(self, name)
            if type(count) is not int or count < least:
                raise ModelError(
                    f"{name} is a whole number of at least {least}; got {excerpt(count)}."
                )
        if self.warmup > self.steps:
            raise ModelError(
                f"a stage warms up for at most its steps ({self.steps}); got warmup={self.warmup}."
            )
        if len(self.betas) != 2 or not all(_is_in(beta, 0, 1) for beta in self.betas):
            raise ModelError(f"betas are two numbers from 0 to below 1; got {excerpt(self.betas)}.")
        for name, (least, most) in NUMBERS.items():
            number = getattr(self, name)
            if not _is_in(number, least, most) or (name == "lr" and number == 0):
                raise ModelError(f"{name} is a {_limits(name)}; got {excerpt(number)}.")
        if type(self.ablate) is not bool:
            raise ModelError(f"ablate is True or False; got {excerpt(self.ablate)}.")


def _limits(name: str) -> str:
    """Which numbers a field takes, in words."""
    least, most = NUMBERS[name]
    if least < 0:
        return "finite number"
    limits = f"number above {least:g}" if name == "lr" else f"number of at least {least:g}"
    return limits + (f" and below {most:g}" if most < math.inf else ", finite")


def _is_in(number: Any, least: float, most: float) -> bool:
    """Whether this is a number of [least, most); NaN is in no interval."""
    return isinstance(number, int | float) and least <= number < most


LESSON = Stage()
DOCUMENTS = Stage(
    steps=1000,
    batch=32,
    lr=4e-3,
    loss="all",
    schedule="cosine",
    warmup=50,
    weight_decay=1.0,
    decay="mlp",
)
