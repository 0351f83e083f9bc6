"""What does a sweep cost by itself, and what does it cost to run a finished one again?

    python benchmarks/sweeps.py [--pairs 3] [--cells 200]

The cells of ``nothing.py`` write one line each. Beside them the same lines are written by a bare
loop, and by bare pools of processes, which name, hash, lock, list and recover nothing. Costs are
CPU seconds of this process and its children, the start of workers included; lower is better. The
clock's milliseconds a cell stand beside.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

os.environ["OMP_NUM_THREADS"] = "1"

import nothing
from line import Line
from pairs import spread
from persona_interp.experiments.cells import run
from persona_interp.experiments.wings import wing_named
from persona_interp.store import Store

FILE = Path(nothing.__file__)
WORKERS = 2


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    uses = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def cost(work: Callable[[Path], object]) -> tuple[float, float]:
    """CPU seconds and seconds of the clock of some work in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began, clock = cpu_seconds(), time.perf_counter()
        work(Path(folder))
        return cpu_seconds() - began, time.perf_counter() - clock


def files(folder: Path, n: int) -> list[Path]:
    """Where the lines of so many cells go."""
    return [folder / str(i) / "line.txt" for i in range(n)]


def bare_loop(folder: Path, *, n: int) -> None:
    """The lines, one after the other."""
    for file in files(folder, n):
        nothing.write_line(file)


def bare_pool(folder: Path, *, n: int) -> None:
    """The lines, by processes that share them out."""
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        list(pool.map(nothing.write_line, files(folder, n)))


def sweep(folder: Path, *, n: int, workers: int = 0) -> None:
    """The same as cells of a run; what is finished is not computed again."""
    wing = wing_named(f"{FILE}:Nothing")
    cells = nothing.Nothing(n=n).cells()
    run(cells, Store(folder / "run"), wing=wing, workers=workers, progress=False)


def again(n: int) -> tuple[float, float]:
    """CPU seconds of a run and of the same run again."""
    with tempfile.TemporaryDirectory() as folder:
        marks = [cpu_seconds()]
        for _ in range(2):
            sweep(Path(folder), n=n)
            marks.append(cpu_seconds())
    return marks[1] - marks[0], marks[2] - marks[1]


def lines(*, pairs: int, n: int = 200) -> Iterator[Line]:
    """Costs of a sweep, and of running it again.

    Args:
        pairs: Rounds.
        n: Cells.
    """
    one, two = f"in a bare loop over {n} cells", f"in a bare pool's {n} cells"
    sweeps: dict[str, tuple[Callable[[Path], object], str]] = {
        "ours, two workers": (partial(sweep, n=n, workers=WORKERS), two),
        "ours, one process": (partial(sweep, n=n), one),
    }
    units = {one: partial(bare_loop, n=n), two: partial(bare_pool, n=n)}
    for name, (work, unit) in sweeps.items():
        ratios, clocks = [], []
        cost(work)
        for _ in range(pairs):
            seconds, clock = cost(work)
            ratios.append(seconds / cost(units[unit])[0])
            clocks.append(clock)
        remark = f"{1000 * min(clocks) / n:.1f} ms of the clock a cell at best"
        yield Line("sweep overhead", name, f"cost, {unit}", spread(ratios), remark=remark)
    rounds = [again(n) for _ in range(pairs)]
    ratios = spread([second / first for first, second in rounds])
    yield Line("resume", f"ours, {n} finished cells", "cost, in the run itself", ratios)
    ratios = spread([second / cost(units[one])[0] for _, second in rounds])
    yield Line("resume", f"ours, {n} finished cells", f"cost, {one}", ratios)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cells", type=int, default=200)
    args = parser.parse_args()
    for line in lines(pairs=args.pairs, n=args.cells):
        print(line, flush=True)


if __name__ == "__main__":
    main()
