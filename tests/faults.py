"""Faults for tests: an error, a death or a full disk at the n-th call, and processes to suffer it.

Python's own calls are struck one by one. What a library writes in Rust or C++ passes them by; a
limit on the size of files reaches that too.
"""

import builtins
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIED = 9
CALLS = [(os, name) for name in ("write", "fsync", "rename", "replace", "open")]
CALLS += [(io, "open"), (builtins, "open")]

Strike = Callable[[str, Callable, tuple], None]
"""What happens at a call; it gets the name of the call, the function and its arguments."""


def arm(n: int, strike: Strike) -> Callable[[], int]:
    """Strike at the n-th write, fsync, rename, replace or open from now.

    Returns a function that says how many calls are left until then.
    """
    remaining = n

    def armed(name: str, real: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal remaining
            remaining -= 1
            if not remaining:
                strike(name, real, args)
            return real(*args, **kwargs)

        return call

    for module, name in CALLS:
        setattr(module, name, armed(name, getattr(module, name)))
    return lambda: remaining


def fail(number: int) -> Strike:
    """The call ends in this error, once."""

    def strike(name: str, real: Callable, args: tuple) -> None:
        raise OSError(number, os.strerror(number))

    return strike


def die(name: str, real: Callable, args: tuple) -> None:
    """The process ends; half a write may reach the disk before."""
    if name == "write":
        real(args[0], args[1][: len(args[1]) // 2])
    os._exit(DIED)


def fill(n: int) -> Strike:
    """From the call on, no file may become longer than n bytes: the disk is full."""
    return lambda name, real, args: limit_files(n)


def tear(n: int) -> Strike:
    """From the call on, the process ends when a file becomes longer than n bytes."""

    def strike(name: str, real: Callable, args: tuple) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and writes fail
        limit_files(n)

    return strike


def limit_files(n: int = resource.RLIM_INFINITY) -> None:
    """Let no file become longer than n bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY))


def fork(function: Callable[[], object]) -> int:
    """Call a function in a process of its own."""
    pid = os.fork()
    if not pid:
        function()
        os._exit(0)
    return pid


def code(pid: int) -> int:
    """Exit code of a forked process, waited for."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start(*command: object) -> subprocess.Popen[str]:
    """A Python process that finds the package and these tests, with one thread."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str], *, timeout: float = 45) -> None:
    """Wait for a process to end well."""
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
