"""What is a model like a little further on? Weights moved in memory, and put back bit for bit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_interp.errors import ModelError


class MovedModel:
    """A model whose weights can be moved against a direction, for as long as a block lasts."""

    def __init__(self, model: Any, direction: Mapping[str, Tensor]) -> None:
        """Keep what will be put back.

        Args:
            model: A Hugging Face model.
            direction: By name of the weight.
        """
        weights = dict(model.named_parameters())
        self._weights = {name: weights[name] for name in direction}
        self._direction = direction
        self._kept = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @contextmanager
    def at(self, strength: float) -> Iterator[None]:
        """Move the weights by ``-strength * direction`` inside this block.

        Args:
            strength: How far.

        Yields:
            Nothing; afterwards every weight is what it was, whatever happened.
        """
        try:
            with torch.no_grad():
                for name, weight in self._weights.items():
                    weight.sub_(self._direction[name].to(weight.dtype), alpha=strength)
            yield
        finally:
            with torch.no_grad():
                for name, weight in self._weights.items():
                    weight.copy_(self._kept[name])


def check_sound(behavior: pd.DataFrame, *, moved: str) -> pd.DataFrame:
    """Refuse the behavior of a model that was moved so far that it computes no numbers.

    Args:
        behavior: A behavior table.
        moved: How far, in words.

    Returns:
        The same table.

    Raises:
        ModelError: A probability is not a number.
    """
    n = int(np.isnan(behavior["logprob"].to_numpy()).sum())
    if n:
        raise ModelError(
            f"{n} of {len(behavior)} probabilities are no numbers {moved}: the weights were moved "
            "too far. Give a smaller strength, or a stage of a smaller rate."
        )
    return behavior
