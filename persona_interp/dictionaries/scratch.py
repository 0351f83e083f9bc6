"""Where do residuals lie until a dictionary learns them? In memory, or on the disk if large."""

import tempfile
from collections.abc import Iterable
from math import prod

import numpy as np
import torch
from torch import Tensor

from persona_interp.errors import ModelError

MOST = 2**26
"""Bytes that are kept in memory; more go into a file that is gone with the last who reads it."""
PIECE = 2**20
"""Bytes that are written at once."""
ROWS = 2**13
"""Rows that are copied at once."""


def room(*shape: int) -> Tensor:
    """Float32 tensor to be filled, in memory or, if it is large, in a file without a name.

    The file's pages are in memory as long as there is room for them, and nothing of it stays when
    the tensor is gone. Its blocks are claimed before: a disk that is full later would kill the
    process at a write.

    Args:
        shape: Its dims.

    Returns:
        The tensor, its numbers not set.

    Raises:
        ModelError: The disk of temporary files has no room for it.

    >>> room(2, 3).shape
    torch.Size([2, 3])
    """
    size = 4 * prod(shape)
    if size <= MOST:
        return torch.empty(*shape)
    try:
        with tempfile.TemporaryFile() as file:
            for start in range(0, size, PIECE):
                file.write(bytes(min(PIECE, size - start)))
            file.flush()
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    except OSError as cause:
        raise ModelError(
            f"{size / 2**20:,.0f} MiB of residuals do not go into {tempfile.gettempdir()}: "
            f"{cause.strerror or cause}. Take fewer tokens (n_tokens=), or name a folder with room "
            "in the environment variable TMPDIR."
        ) from cause


def take(acts: Tensor, rows: Tensor, *, into: Tensor | None = None) -> Tensor:
    """Rows of a tensor, copied a few at a time so that a large one is never in memory twice.

    Args:
        acts: Dims (token, d_model).
        rows: Their numbers, dims (row,).
        into: Where to put them, dims (row, d_model); by default a ``room`` of its own.

    Returns:
        Dims (row, d_model).

    >>> take(torch.eye(3), torch.tensor([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    into = room(len(rows), acts.shape[1]) if into is None else into
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        into[start : start + len(some)] = acts[some]
    return into


def put_together(parts: Iterable[Tensor]) -> Tensor:
    """Parts below each other; of one part it itself.

    Args:
        parts: Dims (token, d_model) each.

    Returns:
        Dims (token, d_model), all tokens.

    >>> put_together([torch.zeros(1, 2), torch.ones(1, 2)]).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    whole = room(sum(map(len, parts)), parts[0].shape[1])
    start = 0
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    return whole
