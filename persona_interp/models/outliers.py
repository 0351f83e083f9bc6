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


def ordinary_rows(norms: Tensor, among: Tensor, sizes: Tensor, *, outlier: float = SINK) -> Tensor:
    """Mask of residuals that are no attention sinks, of rows that stand one behind the other.

    Args:
        norms: Residual norms, dims (token,).
        among: Which of them the median of their row is taken over; same dims.
        sizes: Tokens of each row, dims (row,).
        outlier: How many times the median.

    Returns:
        Booleans, dims (token,); as ``ordinary`` row by row.

    >>> norms, every = torch.tensor([1.0, 2.0, 25.0, 25.0]), torch.tensor([True] * 4)
    >>> ordinary_rows(norms, every, torch.tensor([3, 1])).tolist()
    [True, True, False, True]
    """
    row = torch.repeat_interleave(torch.arange(len(sizes), device=norms.device), sizes)
    place = torch.arange(len(norms), device=norms.device) - (sizes.cumsum(0) - sizes)[row]
    grid = norms.new_full((len(sizes), int(sizes.max())), torch.nan)
    grid[row, place] = norms.where(among, torch.nan)
    median = grid.nanmedian(dim=1).values
    # one norm that is no number leaves a row without a median, as in ``ordinary``
    broken = torch.bincount(row[among & norms.isnan()], minlength=len(sizes)) > 0
    return norms <= outlier * median.masked_fill(broken, torch.nan)[row]
