"""Which residuals are outliers? Sinks, such as that of a first token, are far longer than all others.

They carry no content, and one of them outweighs a document in any mean (Sun et al. 2024, "Massive
activations"), so that whatever averages or fits residuals leaves them out.
"""

import torch
from torch import Tensor

SINK = 10.0
"""Times the median norm from which on a residual is a sink."""


def ordinary(norms: Tensor, among: Tensor | None = None, *, outlier: float = SINK) -> Tensor:
    """Which residuals are no attention sinks? True where the norm is at most 10 times the median.

    Args:
        norms: Residual norms, any dims.
        among: Which of them the median is taken over (default: all); same dims.
        outlier: How many times the median.

    Returns:
        Booleans, same dims.

    >>> ordinary(torch.tensor([1.0, 2.0, 3.0, 25.0]))
    tensor([ True,  True,  True, False])
    """
    counted = norms if among is None else norms[among]
    return (
        norms <= outlier * counted.median()
        if counted.numel()
        else torch.zeros_like(norms, dtype=torch.bool)
    )
