"""Do two computations of one model agree? Merged and unmerged, TransformerLens and transformers."""

import torch

from persona_interp.models.dtype import FULL, HALF

TOLERANCE = 1e-5
"""Largest relative distance of two computations of the same numbers in float32."""
TOLERANCES = {FULL: TOLERANCE, HALF: 0.05}
"""The same by dtype: one rounding to bfloat16 is 2^-9 = 0.002, and a model of dozens of layers adds
up many."""


def distance(values: torch.Tensor, reference: torch.Tensor) -> float:
    """Relative distance |values - reference| / |reference|; infinite where it is not a number.

    Args:
        values: What is checked.
        reference: What it should be; same dims.

    Returns:
        Distance in units of the norm of the reference.

    >>> distance(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 2.0]))
    0.5
    >>> distance(torch.tensor([float("nan")]), torch.tensor([1.0]))
    inf
    """
    values, reference = values.float(), reference.float()
    ratio = float((values - reference).norm() / reference.norm())
    # an overflow in either computation ends as NaN, which no comparison would refuse
    return float("inf") if ratio != ratio else ratio
