"""Dies at the n-th write, fsync or rename for every n, or at random moments; then runs again.

A process of its own, because it forks: toy_faults.py exit FOLDER, or toy_faults.py kill FOLDER
SEED.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import toy_tasks
from toy_tasks import run

from persona_interp.store import Store

DIED = 9


def fork(function: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    return pid


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def arm(n: int) -> None:
    """End the process at the n-th call of os.write, os.fsync, os.rename and os.replace from now."""
    remaining = n

    def armed(name: str, real: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal remaining
            remaining -= 1
            if not remaining:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])  # type: ignore[index]
                os._exit(DIED)
            return real(*args, **kwargs)

        return call

    for name in ("write", "fsync", "rename", "replace"):
        setattr(os, name, armed(name, getattr(os, name)))


def straight(root: Path, *, sleep: float = 0.0) -> None:
    run(toy_tasks.cells(1, sleep=sleep), Store(root), workers=0, progress=False)


def exits(folder: Path) -> None:
    n = 0
    while True:
        n += 1
        root = folder / f"{n:03d}"

        def faulty(n: int = n, root: Path = root) -> None:
            arm(n)
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


if __name__ == "__main__":
    if sys.argv[1] == "exit":
        exits(Path(sys.argv[2]))
    else:
        kills(Path(sys.argv[2]), int(sys.argv[3]))
