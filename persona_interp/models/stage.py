"""How is one stage of training done? Data only: ``train`` reads it."""

from dataclasses import dataclass

from persona_interp.errors import ModelError, unknown
from persona_interp.models.dtype import AUTO, DTYPES

WORDS = {
    "loss": ("assistant", "all"),
    "schedule": ("constant", "cosine"),
    "decay": ("all", "mlp"),
    "dtype": (*DTYPES, AUTO),
    "optimizer": ("adamw", "sgd"),
}
"""The words that a field of ``Stage`` may hold."""


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, valid in WORDS.items():
            if getattr(self, name) not in valid:
                raise ModelError(unknown(name, getattr(self, name), valid))
        # "not a > b" refuses what is not a number too, "a <= b" would let it pass
        counts_fit = self.steps >= 1 and self.batch >= 1 and self.lora >= 0
        if not counts_fit or not self.lr > 0 or not 0 <= self.warmup <= self.steps:
            raise ModelError(
                "a stage has steps, batch >= 1, lr > 0, 0 <= warmup <= steps and lora >= 0; got "
                f"{self}."
            )
        if not 0 <= self.replay < 1 or not self.kl >= 0:
            raise ModelError(
                f"a stage has 0 <= replay < 1 and kl >= 0; got replay={self.replay}, kl={self.kl}."
            )


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
