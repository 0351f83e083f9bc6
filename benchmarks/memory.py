"""Does memory stay flat while a corpus grows?

    python benchmarks/memory.py [--tokens 20000]

Residuals are recorded into a store (``keep_activations``), crosscoders are trained from memory
maps, and residuals of several checkpoints harvested, at four sizes, each twice the one before, and
each in a process of its own. The number is the peak at each larger size over that at the smallest.
Two peaks are told apart: all memory that was resident (``getrusage``), in which pages of mapped
files count though the system takes them back when it needs them, and memory that is nobody's file,
sampled every 5 ms.
"""

import argparse
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

from harvest import STORIES, texts
from line import Line
from pairs import spread

HOOK = "blocks.2.hook_out"
AT_MOST = 1.1
SIZES = 4
WIDTH = 576
"""Of residuals that a dictionary is trained on: with a wide one a corpus weighs something."""


class Peak(NamedTuple):
    """Bytes at most."""

    resident: int
    anonymous: int


def peak(work: Callable[[], Any]) -> Peak:
    """Peak memory of this process while it does some work, and before."""
    most, ended = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(most, ended))
    watcher.start()
    try:
        work()
    finally:
        # else a process whose work failed would wait for this thread for ever, and say nothing
        ended.set()
        watcher.join()
    return Peak(getrusage(RUSAGE_SELF).ru_maxrss * 1024, most[0])


def _watch(most: list[int], ended: threading.Event) -> None:
    status = Path("/proc/self/status")
    while not ended.wait(0.005):
        line = next(x for x in status.read_text().splitlines() if x.startswith("RssAnon"))
        most[0] = max(most[0], int(line.split()[1]) * 1024)


def documents(n: int) -> Any:
    """A corpus table of about so many tokens, no document twice."""
    import pandas as pd

    messages = [
        [{"role": "text", "content": f"{text} {i}"}] for i, text in enumerate(texts(2 + n // 90))
    ]
    return pd.DataFrame({"doc": range(len(messages)), "messages": messages})


def record(n: int) -> Peak:
    """Recording so many tokens."""
    from persona_interp.dictionaries import keep_activations

    corpus = documents(n)
    with tempfile.TemporaryDirectory() as folder:
        return peak(
            lambda: keep_activations(
                str(STORIES), corpus, hook=HOOK, out=folder, n_tokens=n, batch=1024
            )
        )


def crosscode(n: int) -> Peak:
    """Training a crosscoder on a memory map of two checkpoints, so many tokens each."""
    import numpy as np

    from persona_interp.dictionaries import crosscoder

    with tempfile.TemporaryDirectory() as folder:
        file, shape = Path(folder) / "acts.npy", (2, n, WIDTH)
        acts = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        rng = np.random.default_rng(0)
        for start in range(0, n, 4096):
            size = min(4096, n - start)
            acts[:, start : start + size] = rng.standard_normal((2, size, WIDTH), dtype=np.float32)
        acts.flush()
        del acts
        mapped = np.load(file, mmap_mode="r")
        return peak(
            lambda: crosscoder(
                residuals=mapped, d_sae=512, k=8, steps=8, batch=512, rounds=0, engine="sparse"
            )
        )


def harvest_several(n: int) -> Peak:
    """Harvesting so many tokens of a corpus at each of eight checkpoints, which are copies."""
    from persona_interp.dictionaries import same_tokens, scratch
    from persona_interp.models import resolve

    # in the file from the smallest size on, or the peak would grow until it is reached
    scratch.MOST = 0
    corpus = documents(n)
    several = [replace(resolve(str(STORIES)), name=f"copy {i}") for i in range(8)]
    return peak(lambda: same_tokens(several, corpus, hook=HOOK, n_tokens=n))


def lines(*, pairs: int = 1, tokens: int = 20_000) -> Iterator[Line]:
    """How the peaks grow.

    Args:
        pairs: Not used: a peak does not depend on the load of the machine.
        tokens: At the smallest size.
    """
    sizes = [tokens * 2**i for i in range(SIZES)]
    for name, work in (
        ("ours, recording into a store", record),
        ("ours, crosscoder from a memory map", crosscode),
        ("ours, harvest of eight checkpoints", harvest_several),
    ):
        peaks = [alone(partial(work, n)) for n in sizes]
        for kind in Peak._fields:
            own = [getattr(one, kind) for one in peaks]
            remark = f"{sizes[0]:,} to {sizes[-1]:,} tokens: "
            remark += ", ".join(f"{x / 2**20:.0f}" for x in own) + " MiB, "
            remark += f"{(own[-1] - own[0]) / (sizes[-1] - sizes[0]):.0f} bytes a token"
            most = AT_MOST if kind == "anonymous" else None
            ratios = spread([x / own[0] for x in own[1:]])
            measure = f"peak {kind} memory, at the smallest size"
            yield Line("memory", name, measure, ratios, at_most=most, remark=remark)


def alone(work: Callable[[], Peak]) -> Peak:
    """Peaks of work in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work).result()


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=20_000)
    for line in lines(tokens=parser.parse_args().tokens):
        print(line, flush=True)


if __name__ == "__main__":
    main()
