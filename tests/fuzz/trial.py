"""A bad file near a good one is read, or refused in one error of ours, soon and in few words."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import LONGEST_MESSAGE, PersonaInterpError

LONGEST_SECONDS = 2.0
"""Of this process, not of the clock: other work on the machine does not count."""


class Trial(NamedTuple):
    """A good file, what reads it, and bad ones near it.

    Attributes:
        name: For messages.
        file: The file, which bad ones are written over.
        good: Its bytes.
        read: Reads it, with all that stands beside it.
        mutants: ``mutants(seed, n)`` gives so many bad files.
        same: Whether what a bad file was read as is what the good one was; None: cannot be known.
    """

    name: str
    file: Path
    good: bytes
    read: Callable[[], Any]
    mutants: Callable[[int, int], Iterator[bytes]]
    same: Callable[[Any], bool] | None = None


def complaints(trials: Iterable[Trial], *, seed: int, n: int) -> list[str]:
    """What goes wrong with n bad files of every trial; the good ones are put back."""
    lines = []
    for trial in trials:
        for number, data in enumerate(trial.mutants(seed, n)):
            trial.file.write_bytes(data)
            where, start = f"{trial.name}, seed {seed}, input {number}", time.process_time()
            try:
                value = trial.read()
                if trial.same is not None and not trial.same(value):
                    lines.append(f"{where}: another content, and not a word")
            except PersonaInterpError as error:
                if len(str(error)) >= LONGEST_MESSAGE:
                    lines.append(f"{where}: a message of {LONGEST_MESSAGE} characters")
            except Exception as error:
                lines.append(f"{where}: {error!r:.200}")
            seconds = time.process_time() - start
            if seconds > LONGEST_SECONDS:
                lines.append(f"{where}: {seconds:.1f} s")
        trial.file.write_bytes(trial.good)
    return lines
