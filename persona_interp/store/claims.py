"""Which process works on a cell? Whoever holds the lock on its file.

The kernel releases the lock when its process ends, however that happens, so no claim is ever stale.
The file is never removed: an unlinked lock file can be locked twice.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold_claim(file: Path) -> Iterator[None]:
    """Hold the lock on a file; wait while another process holds it.

    Args:
        file: The lock file, made where it is missing.
    """
    with file.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_claimed(file: Path) -> bool:
    """Whether some process holds the lock on a file.

    Args:
        file: The lock file; where it is missing nobody does.

    Returns:
        Whether it is locked now.
    """
    if not file.is_file():
        return False
    with file.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
