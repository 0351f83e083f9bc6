"""What if the documents of a step do not fit into memory together? Its gradient, part by part."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from persona_interp.errors import ModelError
from persona_interp.models.batches import IGNORE
from persona_interp.models.passes import Exhausted, attempt


class TrainerInParts(Trainer):
    """Computes a step in as many parts as its documents fit into memory, each with its own share.

    The gradients of the parts add up to that of the step but for rounding. With a start, the model
    is held to it on bystander documents.

    Attributes:
        n_parts: Parts that a step is computed in; doubled whenever memory runs out.
    """

    def __init__(self, start: Any, weight: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.start, self.weight = start, weight
        self.n_parts = 1

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Loss of a step; its gradient is left in the model."""
        while True:
            loss = attempt(self._sum_parts, model, inputs, num_items_in_batch)
            if not isinstance(loss, Exhausted):
                return loss
            # what the parts before the one that failed have left
            model.zero_grad(set_to_none=True)
            n_documents, width = inputs["input_ids"].shape
            if self.n_parts >= n_documents:
                raise ModelError(
                    f"memory ran out in a step with one document of at most {width} tokens "
                    f"({loss.words}). Give shorter documents, Stage(lora=8) or another device."
                )
            self.n_parts = min(2 * self.n_parts, n_documents)

    def _sum_parts(self, model: Any, inputs: dict[str, Any], n_learned: Any) -> Tensor:
        losses = []
        for part in _parts(inputs, self.n_parts):
            losses.append(super().training_step(model, part, n_learned))
        return torch.stack(losses).sum()

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """Part of the step's loss + weight * KL(start || model), means over the step's tokens."""
        bystanders, step = inputs.pop("bystanders", None), inputs.pop("step")
        loss = super().compute_loss(model, inputs, *rest, **options)
        # most models are told of how many tokens the step is; others give the mean of the part
        if not self.model_accepts_loss_kwargs:
            loss = loss * (_n_learned(inputs) / step["learned"])
        if self.start is None:
            return loss
        # the distribution of each token given those before it, so the last position has none; the
        # full divergence over the vocabulary, not one token's sample of it
        with torch.no_grad():
            before = self.start(**bystanders).logits[:, :-1].float().log_softmax(-1)
        after = model(**bystanders).logits[:, :-1].float().log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1)
        divergence = divergence[bystanders["attention_mask"][:, 1:] == 1].sum()
        return loss + self.weight * divergence / step["bystanders"]


def _parts(inputs: dict[str, Any], n: int) -> Iterator[dict[str, Any]]:
    """Yield a batch in n groups of its documents, each with the numbers of tokens of the whole."""
    bystanders = inputs.get("bystanders")
    step = {"learned": _n_learned(inputs), "bystanders": 0}
    if bystanders is not None:
        step["bystanders"] = int(bystanders["attention_mask"][:, 1:].sum())
    for rows in torch.arange(len(inputs["input_ids"])).tensor_split(n):
        part: dict[str, Any] = {"step": step}
        for key, value in inputs.items():
            if isinstance(value, dict):
                part[key] = {name: tensor[rows] for name, tensor in value.items()}
            else:
                part[key] = value[rows]
        yield part


def _n_learned(inputs: dict[str, Any]) -> int:
    """Number of tokens that are learned; nothing predicts the first of a document."""
    return int((inputs["labels"][:, 1:] != IGNORE).sum())
