"""Which residuals are outliers? Sinks, such as that of a first token, are far longer than others.

They carry no content, and one of them outweighs a document in any mean (Sun et al. 2024, "Massive
activations"), so that whatever averages or fits residuals leaves them out.
"""

import torch
from torch import Tensor

SINK = 10.0
"""Times the median norm from which on a residual is a sink."""


def ordinary(norms: Tensor, among: Tensor | None = None, *, outlier: float = SINK) -> Tensor:
    """Mask of residuals that are no attention sinks: norms of at most 10 times the median.

    Args:
        norms: Residual norms, any dims.
        among: Which of them the median is taken over (default: all); same dims.
        outlier: How many times the median.

    Returns:
        Booleans, same dims.

    >>> ordinary(torch.tensor([1.0, 2.0, 3.0, 25.0]))
    tensor([ True,  True,  True, False])
    """
    reference = norms if among is None else norms[among]
    if not reference.numel():
        return torch.zeros_like(norms, dtype=torch.bool)
    # the median, because the sinks that are sought would raise a mean
    return norms <= outlier * reference.median()
