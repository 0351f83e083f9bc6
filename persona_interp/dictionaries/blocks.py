"""How do several checkpoints' residuals of one token become one row, without a copy of them all?"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persona_interp.dictionaries.recordings import Recordings, as_recordings
from persona_interp.dictionaries.saelens_training import Rows
from persona_interp.errors import ModelError

CHUNK = 4096
"""Rows read at once."""
Blocks = Tensor | Recordings
"""Residuals of several checkpoints on the same tokens, dims (checkpoint, token, d_model)."""


def as_blocks(residuals: Any) -> Blocks:
    """Residuals of several checkpoints on the same tokens, as they lie in memory or in a file.

    Args:
        residuals: Tensor, array or memory map of any float type, dims (checkpoint, token, d_model),
            or a DataArray whose dims are named so in any order; or a recording of each checkpoint
            (``keep_activations``).

    Returns:
        A tensor that shares its memory, dims (checkpoint, token, d_model); of recordings what reads
        them from the disk as if they were one.

    Raises:
        ModelError: It is none of these, a number is not finite, or recordings are not of the same
            tokens at one hook.

    >>> as_blocks(np.zeros((2, 3, 4), dtype="float32")).shape
    torch.Size([2, 3, 4])
    """
    recordings = as_recordings(residuals)
    if recordings is not None:
        return recordings
    if hasattr(residuals, "dims") and hasattr(residuals, "transpose"):
        residuals = residuals.transpose("checkpoint", "token", "d_model").to_numpy()
    if isinstance(residuals, np.ndarray):
        with warnings.catch_warnings():
            # torch warns of arrays that may only be read, such as memory maps; nothing here writes
            warnings.simplefilter("ignore")
            residuals = torch.from_numpy(residuals)
    if not isinstance(residuals, Tensor) or residuals.ndim != 3 or not residuals.numel():
        shape = getattr(residuals, "shape", type(residuals).__name__)
        raise ModelError(
            "residuals= are one tensor or array of dims (checkpoint, token, d_model), every "
            "checkpoint on the same tokens, or a list of recordings (keep_activations), one a "
            f"checkpoint; got {shape}."
        )
    if not residuals.is_floating_point():
        raise ModelError(f"residuals= are floats; got {residuals.dtype}.")
    return residuals


def side_by_side(blocks: Tensor) -> Tensor:
    """Rows with the checkpoints side by side.

    Args:
        blocks: Dims (checkpoint, token, d_model).

    Returns:
        Float32, dims (token, checkpoint x d_model), the first checkpoint's first.

    >>> side_by_side(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    return blocks.float().transpose(0, 1).flatten(1)


def as_rows(blocks: Blocks) -> Rows:
    """Rows of all checkpoints side by side, each checkpoint centered and scaled on its own.

    The scale of a checkpoint is the root mean square of its centered residuals, so that each has
    the same say in what is reconstructed, however long its residuals are.

    Args:
        blocks: Dims (checkpoint, token, d_model).

    Returns:
        What training reads.

    Raises:
        ModelError: A checkpoint's residuals are not finite, or all alike.
    """
    n_checkpoints, n, _ = blocks.shape
    return _standardize(lambda numbers: side_by_side(blocks[:, numbers]), n, n_checkpoints)


def as_differences(blocks: Blocks) -> Rows:
    """Rows of the second checkpoint's residuals minus the first's.

    Args:
        blocks: Dims (checkpoint, token, d_model), two checkpoints.

    Returns:
        What training reads.

    Raises:
        ModelError: They are not two, not finite, or do not differ.
    """
    if len(blocks) != 2:
        raise ModelError(
            f"a difference is between two checkpoints, base and tuned; got {len(blocks)}."
        )
    n = blocks.shape[1]
    return _standardize(lambda at: blocks[1, at].float() - blocks[0, at].float(), n, 1)


def as_pool(blocks: Blocks) -> Rows:
    """Rows of every checkpoint below each other: what one SAE for all of them is trained on.

    Args:
        blocks: Dims (checkpoint, token, d_model).

    Returns:
        What training reads.

    Raises:
        ModelError: Residuals are not finite, or all alike.
    """
    n_checkpoints, n, _ = blocks.shape
    return _standardize(
        lambda numbers: blocks[numbers // n, numbers % n].float(), n_checkpoints * n, 1
    )


def _standardize(read: Callable[[Tensor], Tensor], n: int, n_blocks: int) -> Rows:
    """Rows with the center of each column and the scale of each block, in one pass.

    Means and squared distances of parts are put together as by Chan, Golub and LeVeque (1979).
    """
    center = torch.zeros((), dtype=torch.float64)
    squares = torch.zeros((), dtype=torch.float64)
    seen = 0
    for start in range(0, n, CHUNK):
        part = read(torch.arange(start, min(start + CHUNK, n))).double()
        own, both = part.mean(dim=0), seen + len(part)
        gap = own - center
        squares = squares + (part - own).pow(2).sum(dim=0) + gap.pow(2) * seen * len(part) / both
        center, seen = center + gap * len(part) / both, both
    width = len(center) // n_blocks
    scale = (squares.view(n_blocks, -1).sum(dim=1) / (n * width)).sqrt()
    for i, size in enumerate(scale.tolist()):
        if not 0 < size < float("inf"):
            state = "all alike" if size == 0 else "not finite"
            raise ModelError(
                f"the residuals of checkpoint {i} are {state}: nothing can be learned from them."
            )
    return Rows(read, n, center.float(), scale.float().repeat_interleave(width))
