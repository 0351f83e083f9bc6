"""Is half precision faster on this machine? What "auto" means wherever a dtype is taken.

bfloat16 halves memory and, where the processor computes in it, time; on a CPU that only emulates it
a step takes six to eight times as long. No list of processors says which is which, so a short probe
measures it: a block of a small transformer, forward and backward, both ways.
"""

import time
from functools import cache
from typing import Any, NamedTuple

from persona_interp.errors import ModelError, unknown
from persona_interp.models.device import AUTO, resolve_device

FULL, HALF = "float32", "bfloat16"
DTYPES = (FULL, HALF)
"""In what a model computes: names of torch."""

GAIN = 1.3
"""Times faster that half precision has to be: less is not worth its rounding, and noise."""
REPEATS = 3
ROWS, WIDTH = 128, 512
"""Tokens of a step and width of a block: large enough for the arithmetic to be what takes time."""


class DtypeChoice(NamedTuple):
    """What "auto" became, and why.

    Attributes:
        dtype: One of ``DTYPES``.
        gain: Times that half precision is faster here (below 1: slower).
    """

    dtype: str
    gain: float

    def __str__(self) -> str:
        """Words for a provenance.

        >>> str(DtypeChoice("float32", 0.14))
        'float32 (auto: bfloat16 takes 7.1 times as long here)'
        >>> str(DtypeChoice("bfloat16", 2.0))
        'bfloat16 (auto: 2.0 times as fast as float32 here)'
        """
        if self.dtype == HALF:
            return f"{HALF} ({AUTO}: {self.gain:.1f} times as fast as {FULL} here)"
        return f"{FULL} ({AUTO}: {HALF} takes {1 / self.gain:.1f} times as long here)"


def choose_dtype(device: object = None) -> DtypeChoice:
    """Half precision where it is at least ``GAIN`` times as fast on this machine, else full.

    Args:
        device: Where models compute, as of ``resolve_device``.

    Returns:
        The dtype and the measured gain; measured once a process and device.

    Raises:
        ModelError: This machine has no such device.
    """
    gain = measure_gain(resolve_device(device))
    return DtypeChoice(HALF if gain >= GAIN else FULL, gain)


def resolve_dtype(dtype: str, device: object = None) -> str:
    """Dtype that a name means; "auto" is measured.

    Args:
        dtype: "float32", "bfloat16" or "auto".
        device: Where "auto" is measured, as of ``resolve_device``.

    Returns:
        "float32" or "bfloat16".

    Raises:
        ModelError: Another word, or no such device.

    >>> resolve_dtype("float32")
    'float32'
    """
    if dtype not in (*DTYPES, AUTO):
        raise ModelError(unknown("dtype", dtype, (*DTYPES, AUTO)))
    return choose_dtype(device).dtype if dtype == AUTO else dtype


def autocast(model: Any, dtype: str) -> Any:
    """Context in which a float32 model computes in another dtype; its weights stay as they are.

    Args:
        model: A Hugging Face model.
        dtype: "float32" or "bfloat16".

    Returns:
        The context, of torch.
    """
    import torch

    return torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=dtype == HALF)


@cache
def measure_gain(device: str) -> float:
    """Times that a training step is faster in bfloat16 than in float32, on this machine.

    Args:
        device: Name of a device that is here.

    Returns:
        Ratio of the shortest of ``REPEATS`` steps of either kind, taken in turns; well under a
        second.
    """
    import torch

    kind = torch.device(device).type
    block = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.SiLU(), torch.nn.Linear(3 * WIDTH, WIDTH)
    ).to(device)
    rows = torch.zeros(ROWS, WIDTH, device=device)

    def seconds(*, half: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            loss = block(rows).float().square().mean()
        loss.backward()
        loss.item()  # waits for a GPU
        return time.perf_counter() - start

    steps: dict[bool, list[float]] = {False: [], True: []}
    # in turns, so that whatever else the machine does disturbs both; the first of each warms up
    for _ in range(REPEATS + 1):
        for half in steps:
            steps[half].append(seconds(half=half))
    # noise only ever adds to a time
    return min(steps[False][1:]) / min(steps[True][1:])
