"""In which precision are a dictionary's weights stored, and in which were they made?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, SparseDictionary

PLACES = {"declared": "the configuration", "metadata": "the metadata"}
"""Which part of a folder states a dtype, by key of the provenance."""
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
ROUNDED = 0.99
"""Share of weights that a half type holds exactly; of float32 weights about 1/8000 by chance."""
ENOUGH = 100
"""Different weights from which on they say something: an identity, say, has too few."""
MOST = 1_000_000
"""Weights looked at."""


class Precision(NamedTuple):
    """What is known of a dictionary's dtype.

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
        """What is wrong with the dtype, in words; "" for nothing."""
        if not self.finite:
            return "weights are not finite: something overflowed where they were cast"
        claims = self.stated.items()
        wrong = [f"{place} says {dtype}" for place, dtype in claims if dtype != self.stored]
        if wrong:
            return f"{' and '.join(wrong)}, the weights are {self.stored}"
        if self.stored in HALVES:
            return f"the weights are {self.stored}; residuals are read in float32"
        halves = [dtype for dtype, share in self.exact.items() if share >= ROUNDED]
        if halves:
            return f"the weights are {self.stored} but went through {' or '.join(halves)} before"
        return ""


def precision(dictionary: Dictionary) -> Precision:
    """Dtypes that the weights have, had, and should have by their folder.

    Args:
        dictionary: Any dictionary; of one that is no ``SparseDictionary`` only the decoder is
            known.

    Returns:
        What is known.
    """
    facts: Mapping[str, Any] = {}
    weights = [dictionary.W_dec]
    if isinstance(dictionary, SparseDictionary):
        facts = dictionary.provenance
        weights = [w for w in dictionary.sae.state_dict().values() if w.is_floating_point()]
    # a folder is read as float32 whatever it holds; a module cast afterwards is what it is now
    stored = str(weights[0].dtype).removeprefix("torch.")
    if stored == "float32":
        stored = str(facts.get("stored", stored))
    stated = {place: str(facts[key]) for key, place in PLACES.items() if key in facts}
    exact = _exact_shares(max(weights, key=Tensor.numel))
    return Precision(stored, stated, exact, all(bool(w.isfinite().all()) for w in weights))


def _exact_shares(weight: Tensor) -> dict[str, float]:
    """Share of the weights that each half type holds exactly; 0 where too few are different.

    Weights that were once cast to a half type survive the way there and back, whatever dtype they
    are stored in now.
    """
    values = weight.flatten()[:MOST].float()
    values = values[values != 0]
    if len(values.abs().unique()) < ENOUGH:
        return dict.fromkeys(HALVES, 0.0)
    shares = {}
    for name, dtype in HALVES.items():
        shares[name] = float((values.to(dtype).float() == values).double().mean())
    return shares
