"""Where does a model compute? On the CUDA device where there is one, else on the CPU."""

from functools import cache

from persona_interp.errors import ModelError, excerpt, unknown

CPU, CUDA = "cpu", "cuda"


def resolve_device(device: object = None) -> str:
    """Device that a name means.

    Args:
        device: "cpu", "cuda", "cuda:1" or a ``torch.device``; None: "cuda" where this machine has
            one, else "cpu".

    Returns:
        Its name.

    Raises:
        ModelError: This machine has no such device.

    >>> resolve_device("cpu")
    'cpu'
    """
    if device is None:
        return CUDA if count_cuda() else CPU
    name = str(device)
    here = [CPU, *([CUDA] if count_cuda() else []), *(f"{CUDA}:{i}" for i in range(count_cuda()))]
    if name in here:
        return name
    if name.partition(":")[0] == CUDA:
        raise ModelError(
            f"device {excerpt(name)} is not here: this machine has {count_cuda()} CUDA devices; "
            f"use {' or '.join(here)}."
        )
    # Apple's "mps" has no double precision, in which probabilities are summed
    raise ModelError(unknown("device", name, here))


@cache
def count_cuda() -> int:
    """Number of CUDA devices of this machine; torch is loaded to know."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
