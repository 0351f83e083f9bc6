"""What may a foreign library do while it loads something, and how does it fail?

It may read files. It starts no process and tries no connection: some install packages or ask a hub
in passing, and swallow the error where they may not. Whatever else goes wrong in it is an error of
this package, because foreign libraries raise anything.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from persona_interp.errors import ModelError, PersonaInterpError, excerpt

PROCESSES = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
"""Audit events of Python (``sys.addaudithook``) before a process is started."""
CONNECTIONS = frozenset(
    {
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.sendmsg",
        "socket.sendto",
        "urllib.Request",
        "webbrowser.open",
    }
)
"""Audit events before another machine is asked."""
MOST_CHARACTERS = 400
"""Longest reason of a foreign library that a message repeats."""


@dataclass(eq=False)
class _Watch:
    """What was tried inside one block, and which threads there were before it."""

    threads: frozenset[threading.Thread]
    attempts: list[str] = field(default_factory=list)


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)
_OPEN: list[_Watch] = []


@contextmanager
def forbid() -> Iterator[_Watch]:
    """Forbid processes and connections inside this block, to whoever tries, without a word.

    Yields:
        What was tried. In this thread, and in those that begin while the block runs, an attempt is
        a PermissionError, which libraries take for a tool or network that is not there.
    """
    _install()
    watch = _Watch(frozenset(threading.enumerate()))
    token = _WATCH.set(watch)
    _OPEN.append(watch)
    try:
        yield watch
    finally:
        _OPEN.remove(watch)
        _WATCH.reset(token)


@contextmanager
def guard(refusal: str, *, error: type[PersonaInterpError] = ModelError) -> Iterator[None]:
    """Let foreign code read files inside this block, and nothing else.

    Args:
        refusal: What is said when the block fails, before the reason; without a full stop.
        error: Kind of error to raise.

    Yields:
        Nothing. In this thread, and in those that begin while the block runs, no process is started
        and no connection tried.

    Raises:
        PersonaInterpError: The block raised anything, or tried what it may not, even if it
            swallowed the refusal.

    >>> with guard("notes.txt is no model"):
    ...     raise KeyError("weights")
    Traceback (most recent call last):
    ...
    persona_interp.errors.ModelError: notes.txt is no model: KeyError: 'weights'.
    """
    with forbid() as watch:
        try:
            yield
        except PersonaInterpError:
            _raise_attempt(watch, refusal, error)
            raise
        except BaseException as cause:
            # a Rust library that panics raises a BaseException of this name
            if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
                raise
            _raise_attempt(watch, refusal, error)
            raise error(f"{refusal}: {reason(cause)}") from cause
    _raise_attempt(watch, refusal, error)


def reason(cause: BaseException) -> str:
    r"""What an error of a foreign library says, in one line.

    Args:
        cause: Any error.

    Returns:
        Its kind where that says more than "something was wrong", and the start of its message, one
        full stop at the end.

    >>> reason(ValueError("no such thing\n\nSee the manual."))
    'no such thing See the manual.'
    >>> reason(IndexError())
    'IndexError.'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(cause)).split())
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - 1] + "…"
    kind = type(cause).__name__
    if not isinstance(cause, OSError | ValueError | RuntimeError):
        text = f"{kind}: {text}" if text else kind
    return f"{(text or kind).rstrip('.')}."


def _raise_attempt(watch: _Watch, refusal: str, error: type[PersonaInterpError]) -> None:
    if watch.attempts:
        raise error(
            f"{refusal}: loading it tried to {watch.attempts[0]}, which nothing that is read may "
            "do here. Nothing was started, installed or fetched."
        )


@cache
def _install() -> None:
    """Begin to listen; Python lets no listener go."""
    sys.addaudithook(_listen)


def _listen(event: str, details: tuple[Any, ...]) -> None:
    """Refuse processes and connections of guarded blocks."""
    if event in PROCESSES:
        _refuse(f"start a process ({event}: {_target(details)})")
    elif event in CONNECTIONS:
        _refuse(f"connect ({event}: {_target(details)})")


def _refuse(attempt: str) -> None:
    watch = _WATCH.get() or _watch_of_thread()
    if watch is not None:
        watch.attempts.append(attempt)
        raise PermissionError(f"it may not {attempt}")


def _watch_of_thread() -> _Watch | None:
    """The block during which this thread began; loaders read shards in threads of their own."""
    thread = threading.current_thread()
    return next((watch for watch in reversed(_OPEN) if thread not in watch.threads), None)


def _target(details: tuple[Any, ...]) -> str:
    """What was to be started or asked: a program with its arguments, or an address."""
    lists = [part for part in details if isinstance(part, list | tuple)]
    texts = [part for part in details if isinstance(part, str | bytes)]
    words = lists[0] if lists else texts[:1]
    return excerpt(" ".join(os.fsdecode(w) if isinstance(w, bytes) else str(w) for w in words))
