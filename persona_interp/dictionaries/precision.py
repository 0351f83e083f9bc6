"""In which precision are a dictionary's weights stored, and in which were they made?"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, SparseDictionary

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
ROUNDED = (
    0.99  # share of weights a half type holds exactly; of float32 weights about 1/8000 by chance
)
ENOUGH = 100  # different weights: fewer, as in an identity, say nothing


class Precision(NamedTuple):
    """What is known of the dtype.

    Attributes:
        stored: dtype of the weights as they lie on disk, or in memory where there is no disk.
        stated: What the configuration says, by the place that says it.
        exact: Share of the encoder's weights that each half type holds exactly.
        finite: Are all weights finite numbers?
    """

    stored: str
    stated: dict[str, str]
    exact: dict[str, float]
    finite: bool

    @property
    def complaint(self) -> str:
        """What is wrong with it? "" for nothing."""
        if not self.finite:
            return "weights are not finite: something overflowed where they were cast"
        wrong = [
            f"{place} says {dtype}" for place, dtype in self.stated.items() if dtype != self.stored
        ]
        if wrong:
            return f"{' and '.join(wrong)}, the weights are {self.stored}"
        if self.stored in HALVES:
            return f"the weights are {self.stored}; residuals are read in float32"
        rounded = [dtype for dtype, share in self.exact.items() if share >= ROUNDED]
        return (
            f"the weights are {self.stored} but went through {' or '.join(rounded)} before"
            if rounded
            else ""
        )


def precision(dictionary: Dictionary) -> Precision:
    """Which dtype do the weights have, which had they, and which does the folder state?

    Args:
        dictionary: Any dictionary; of one that is no ``SparseDictionary`` only the decoder is
            known.

    Returns:
        What is known.
    """
    known = isinstance(dictionary, SparseDictionary)
    weights = (
        [w for w in dictionary.sae.state_dict().values() if w.is_floating_point()]
        if known
        else [dictionary.W_dec]
    )
    in_memory = str(weights[0].dtype).removeprefix("torch.")
    facts: Any = dictionary.provenance if known else {}
    # a folder is read as float32 whatever it holds; a module cast afterwards is what it is now
    stored = str(facts.get("stored", in_memory)) if in_memory == "float32" else in_memory
    stated = {
        place: str(facts[key])
        for key, place in (("declared", "the configuration"), ("metadata", "the metadata"))
        if key in facts
    }
    largest = max(weights, key=Tensor.numel).flatten()[:1_000_000].float()
    values = largest[largest != 0]
    telling = len(values.abs().unique()) >= ENOUGH
    exact = {
        name: float((values.to(dtype).float() == values).double().mean()) if telling else 0.0
        for name, dtype in HALVES.items()
    }
    return Precision(stored, stated, exact, all(bool(w.isfinite().all()) for w in weights))
