"""What can be asked from a shell? Every verb reads artifacts or writes them.

Its flags are the arguments of one public function. Nothing heavy is imported until a verb needs it,
so that ``--help`` answers at once.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from persona_interp.cli.app import app
from persona_interp.cli.causes import causes
from persona_interp.cli.compare import compare
from persona_interp.cli.doctor import doctor
from persona_interp.cli.folder import browse, report, show, status, verify
from persona_interp.cli.forecast import forecast
from persona_interp.cli.jobs import collect, retry, worker
from persona_interp.cli.run import run_experiment
from persona_interp.errors import PersonaInterpError, quote_path

__all__ = [
    "app",
    "browse",
    "causes",
    "collect",
    "compare",
    "doctor",
    "forecast",
    "main",
    "report",
    "retry",
    "run_experiment",
    "show",
    "status",
    "verify",
    "worker",
]


VERBS = (
    run_experiment,
    compare,
    causes,
    forecast,
    report,
    browse,
    status,
    verify,
    retry,
    worker,
    collect,
    show,
    doctor,
)
app.registered_commands.sort(key=lambda command: [*VERBS, None].index(command.callback))


SENTENCE = "stopped; a run goes on with the same command."


class _Interrupted(BaseException):
    """Ctrl-C; no library takes it for an error of its own."""


def main() -> None:
    """Run the command line.

    An expected error is one paragraph on stderr and exit code 2; Ctrl-C and SIGTERM are one line
    and exit codes 130 and 143.
    """
    try:
        with _stoppable():
            _run()
    except _Interrupted:
        typer.echo(f"\n{SENTENCE}", err=True)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let a signal end this block in order (the first SIGINT), or the process at once (others)."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not for other threads to take
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    del frame
    signal.signal(number, signal.SIG_DFL)
    raise _Interrupted


def _terminate(number: int, frame: object) -> None:
    # at once, because whoever asks may not wait, and an error raised in the middle of a library
    # in C++ may abort it; a run folder survives that as it does a kill
    del frame
    os.write(2, f"\n{SENTENCE}\n".encode())
    os._exit(128 + number)


def _run() -> None:
    logger, notes = logging.getLogger("persona_interp"), logging.StreamHandler()
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)  # what a file was taken for
    try:
        app()
    except PersonaInterpError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno is None:
            raise
        place = quote_path(error.filename) if error.filename else "a file"
        typer.echo(
            f"{error.strerror}: {place}. Check the path, free some space, or choose a folder that "
            "you may write to; a run that stopped goes on with the same --out.",
            err=True,
        )
        sys.exit(2)
    finally:
        logger.removeHandler(notes)
