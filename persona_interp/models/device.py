"""Where does a model compute, and how many tokens at once? What a call says, else the process.

The CUDA device where there is one, else the CPU; as many tokens as fit into memory. ``on_device``
sets another default for a whole run, and the processes that begin in it share it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from persona_interp.errors import ModelError, excerpt, unknown
from persona_interp.values import is_whole

AUTO = "auto"
CPU, CUDA = "cpu", "cuda"
DEVICE, BATCH = "PERSONA_INTERP_DEVICE", "PERSONA_INTERP_BATCH"
"""Variables of the environment that hold the defaults, so that workers share them."""
WORKER = "PERSONA_INTERP_WORKER"
"""Variable that numbers the workers of a run, which take turns over all CUDA devices."""

Batch = int | str
"""Tokens a forward pass, padding included; "auto": what fits into memory."""


def resolve_device(device: object = None) -> str:
    """Device that a name means.

    Args:
        device: "cpu", "cuda", "cuda:1" or a ``torch.device``; None: that of ``on_device``, else
            "cuda" where this machine has one, else "cpu".

    Returns:
        Its name.

    Raises:
        ModelError: This machine has no such device.

    >>> resolve_device("cpu")
    'cpu'
    """
    by_default = device is None
    if by_default:
        device = os.environ.get(DEVICE) or (CUDA if count_cuda() else CPU)
    name = str(device)
    if name == CPU:
        return name
    n = count_cuda()
    here = [CPU, *([CUDA] if n else []), *(f"{CUDA}:{i}" for i in range(n))]
    if name in here:
        # cuBLAS gives the same bits twice only with this, and reads it at its first product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if by_default and name == CUDA and WORKER in os.environ:
            return f"{CUDA}:{int(os.environ[WORKER]) % n}"
        return name
    if name.partition(":")[0] == CUDA:
        raise ModelError(
            f"device {excerpt(name)} is not here: this machine has {n} CUDA devices; use "
            f"{' or '.join(here)}."
        )
    # Apple's "mps" has no double precision, in which probabilities are summed
    raise ModelError(unknown("device", name, here))


def resolve_batch(batch: Batch = AUTO) -> Batch:
    """Tokens a forward pass that a setting means.

    Args:
        batch: A number of tokens, or "auto": that of ``on_device``, else "auto".

    Returns:
        The number, or "auto": what fits into memory.

    Raises:
        ModelError: Something else.

    >>> resolve_batch(64), resolve_batch()
    (64, 'auto')
    """
    if batch == AUTO:
        text = os.environ.get(BATCH, AUTO)
        batch = int(text) if text.isascii() and text.isdigit() else text
    if batch != AUTO and not (is_whole(batch) and int(batch) >= 1):
        raise ModelError(
            f"batch is a number of tokens a forward pass, at least 1, or '{AUTO}'; got "
            f"{excerpt(batch)}."
        )
    return batch if batch == AUTO else int(batch)


@contextmanager
def on_device(device: object = None, *, batch: Batch = AUTO) -> Iterator[None]:
    """Let models compute there inside the block, here and in processes that begin there.

    Args:
        device: What ``device=None`` means meanwhile; None for what it means anyhow.
        batch: What ``batch="auto"`` means meanwhile; "auto" for what it means anyhow.

    Yields:
        Nothing.

    Raises:
        ModelError: This machine has no such device, or the batch is no number of tokens.

    >>> with on_device("cpu", batch=512):
    ...     resolve_device(), resolve_batch(), resolve_batch(64)
    ('cpu', 512, 64)
    """
    before = {name: os.environ.get(name) for name in (DEVICE, BATCH)}
    if device is not None:
        os.environ[DEVICE] = resolve_device(device)
    if batch != AUTO:
        os.environ[BATCH] = str(resolve_batch(batch))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def describe_device(device: object = None) -> str:
    """Words for a provenance.

    Args:
        device: As of ``resolve_device``.

    Returns:
        Its kind, of a CUDA device with the name of the card: "cuda (NVIDIA H200)".

    Raises:
        ModelError: This machine has no such device.

    >>> describe_device("cpu")
    'cpu'
    """
    name = resolve_device(device)
    if name == CPU:
        return name
    import torch

    return f"{CUDA} ({torch.cuda.get_device_name(name)})"


def count_used(device: object = None) -> int:
    """Number of CUDA devices that a run has to itself.

    Args:
        device: As of ``resolve_device``.

    Returns:
        All of this machine for "cuda", 1 for a numbered one, 0 for "cpu".

    Raises:
        ModelError: This machine has no such device.

    >>> count_used("cpu")
    0
    """
    name = resolve_device(device)
    if name == CPU:
        return 0
    return count_cuda() if name == CUDA else 1


@cache
def count_cuda() -> int:
    """Number of CUDA devices of this machine; torch is loaded to know."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
