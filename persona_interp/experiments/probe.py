"""What does a cell cost here? Measured in a process of its own, as a worker of a run is one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import StoreError
from persona_interp.experiments.miniature import steps_of
from persona_interp.experiments.wings import Wing
from persona_interp.experiments.worker import compute_cell
from persona_interp.models.device import CPU, resolve_device
from persona_interp.store import Cell, Store
from persona_interp.store.layout import CELLS

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Trial(NamedTuple):
    """What computing one cell took.

    Attributes:
        steps: That it trained for.
        seconds: Of the process's core, so that what else runs does not count; where there is a
            CUDA device, of the clock.
        bytes: Of the finished cell on disk.
        peak: Most memory of the process meanwhile (bytes).
    """

    steps: int
    seconds: float
    bytes: int
    peak: int


class Work(NamedTuple):
    """What the torch operations of a cell amount to.

    Attributes:
        steps: That it trained for.
        flops: Floating point operations of its matrix products, convolutions and attention.
        calls: Operations of any kind, each of which is a launch on a card.
    """

    steps: int
    flops: float
    calls: int


def idle_memory() -> int:
    """Bytes of memory of a process that has loaded torch and computed nothing."""
    import torch

    torch.zeros(1)
    return _memory("VmRSS")


def time_cell(cell: Cell, root: Path, wing: Wing) -> Trial:
    """Compute a cell and measure it.

    Args:
        cell: Its needs are done.
        root: A run folder.
        wing: Whose tasks are called.

    Returns:
        What it took.

    Raises:
        StoreError: It failed.
    """
    clock = time.process_time if resolve_device() == CPU else time.perf_counter
    began = clock()
    if RESET.exists():
        RESET.write_text("5")  # the peak counts from here
    _compute(cell, root, wing)
    seconds = clock() - began
    folder = Store.open(root).root / CELLS / cell.id
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Trial(steps_of(cell.config), seconds, size, _memory("VmHWM"))


def count_work(cell: Cell, root: Path, wing: Wing) -> Work:
    """Compute a cell and count its operations, which makes it slower.

    Args:
        cell: Its needs are done.
        root: A run folder.
        wing: Whose tasks are called.

    Returns:
        The counts.

    Raises:
        StoreError: It failed.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    class Calls(TorchDispatchMode):
        n = 0

        def __torch_dispatch__(
            self, func: Any, types: Sequence[Any], args: Any = (), kwargs: Any = None
        ) -> Any:
            self.n += 1
            return func(*args, **(kwargs or {}))

    calls = Calls()
    with calls, FlopCounterMode(display=False) as flops:
        _compute(cell, root, wing)
    return Work(steps_of(cell.config), float(flops.get_total_flops()), calls.n)


def _compute(cell: Cell, root: Path, wing: Wing) -> None:
    error = compute_cell(cell, root, wing)
    if error:
        raise StoreError(
            f"what {cell.label} costs cannot be estimated, because it fails where it trains for "
            f"{steps_of(cell.config)} steps: {error}."
        )


def _memory(name: str) -> int:
    """Bytes of this process's memory: now (VmRSS), or most (VmHWM)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise StoreError(f"{STATUS} does not say {name}; memory is estimated on Linux only.")
