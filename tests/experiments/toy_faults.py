"""Dies at the n-th write, fsync, rename or open for every n, at random moments, or of a full disk.

Then it runs again. A process of its own, because it forks: toy_faults.py exit FOLDER STEP,
toy_faults.py full FOLDER STEP, or toy_faults.py kill FOLDER SEED.
"""

import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import toy_tasks
from toy_tasks import run

from persona_interp.errors import StoreError
from persona_interp.store import Store
from tests.faults import DIED, arm, code, die, fork, limit_files


def straight(root: Path, *, sleep: float = 0.0) -> None:
    run(toy_tasks.cells(1, sleep=sleep), Store(root), workers=0, progress=False)


def exits(folder: Path, step: int) -> None:
    n = 1 - step
    while True:
        n += step
        root = folder / f"{n:03d}"

        def faulty(n: int = n, root: Path = root) -> None:
            arm(n, die)
            straight(root)

        died = code(fork(faulty))
        assert code(fork(lambda root=root: straight(root))) == 0
        if died == 0:
            return
        assert died == DIED


def kills(folder: Path, seed: int) -> None:
    random.seed(seed)
    for n in range(10):
        root = folder / f"{n:03d}"
        pid = fork(lambda root=root: straight(root, sleep=0.04))
        time.sleep(random.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
        code(pid)
        assert code(fork(lambda root=root: straight(root, sleep=0.04))) == 0


def fills(folder: Path, step: int) -> None:
    """Let no file become longer than n bytes, for every step-th n, until nothing is disturbed."""
    n = 0
    while True:
        n += step
        root = folder / f"{n:05d}"

        def full(n: int = n, root: Path = root) -> None:
            limit_files(n)
            try:
                straight(root)
            except (OSError, StoreError):
                os._exit(DIED)

        pid = fork(full)
        died = code(pid)
        assert died in (0, DIED), died  # a signal would be a crash
        assert code(fork(lambda root=root: straight(root))) == 0
        if died == 0:
            return


if __name__ == "__main__":
    logging.disable()  # what is mended is said, hundreds of times
    if sys.argv[1] == "exit":
        exits(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "full":
        fills(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        kills(Path(sys.argv[2]), int(sys.argv[3]))
