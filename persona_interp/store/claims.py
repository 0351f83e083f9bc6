"""Which process works on a cell? Whoever holds the lock on its file.

The kernel releases the lock when its process ends, however that happens, so no claim is ever stale.
Whoever holds it writes into the file who it is; what stands there afterwards is history. The file
is never removed: an unlinked lock file can be locked twice.

Processes on several nodes see each other's locks where their file system shares them (NFS with its
lock service, Lustre mounted with ``flock``, most others); one that knows no locks is refused.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from persona_interp.errors import StoreError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def take_lock(handle: IO[bytes], kind: int = fcntl.LOCK_EX) -> None:
    """Lock an open file.

    Args:
        handle: The file; open for writing where the lock is exclusive, as NFS asks it.
        kind: As of ``fcntl.flock``.

    Raises:
        StoreError: The file system knows no locks.
        BlockingIOError: Another process holds it, and ``kind`` says not to wait.
    """
    try:
        fcntl.flock(handle, kind)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise StoreError(
                f"{handle.name} cannot be locked: {error.strerror}. A run folder needs a file "
                "system with locks that all its processes share: NFS with its lock service, or "
                "Lustre mounted with `flock`. Choose an --out there."
            ) from error
        raise


@contextmanager
def hold_claim(file: Path) -> Iterator[None]:
    """Hold the lock on a file; wait while another process holds it.

    Args:
        file: The lock file, made where it is missing.

    Raises:
        StoreError: The file system knows no locks.
    """
    with file.open("ab") as handle:
        take_lock(handle)
        handle.truncate(0)
        handle.write(json.dumps(_this_process()).encode())
        handle.flush()
        yield


@contextmanager
def try_claim(file: Path) -> Iterator[bool]:
    """Hold the lock on a file unless another process holds it.

    Args:
        file: The lock file, made where it is missing.

    Yields:
        Whether it is held.
    """
    with file.open("ab") as handle:
        try:
            take_lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_claimed(file: Path) -> bool:
    """Whether some process holds the lock on a file.

    Args:
        file: The lock file; where it is missing nobody does.

    Returns:
        Whether it is locked now.
    """
    if not file.is_file():
        return False
    # a shared lock, because NFS gives an exclusive one to writers only, and readers write nothing
    with file.open("rb") as handle:
        try:
            take_lock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def describe_claim(file: Path) -> str:
    """Words for who claimed a cell last.

    Args:
        file: The lock file.

    Returns:
        "node7, process 4242, job 12_3, since 2026-11-29 14:03"; "" where nothing is said.
    """
    try:
        claim = json.loads(file.read_bytes())
        job = f", job {claim['job']}" if claim["job"] else ""
        return f"{claim['host']}, process {claim['pid']}{job}, since {claim['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # none, or its writer was killed at it
        return ""


def _this_process() -> dict[str, Any]:
    names = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    job = "_".join(os.environ[name] for name in names if name in os.environ)
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": job or os.environ.get("SLURM_JOB_ID", ""),
        "since": datetime.now().isoformat(" ", "minutes"),
    }
