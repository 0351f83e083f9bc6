"""What can be asked from a shell? Every verb reads artifacts or writes them.

Its flags are the arguments of one public function. Nothing heavy is imported until a verb needs it,
so that ``--help`` answers at once.
"""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from persona_interp.cli.app import app
from persona_interp.cli.compare import compare
from persona_interp.cli.doctor import doctor
from persona_interp.cli.folder import browse, report, show, status, verify
from persona_interp.cli.run import run_experiment
from persona_interp.errors import PersonaInterpError, quote_path

__all__ = [
    "app",
    "browse",
    "compare",
    "doctor",
    "main",
    "report",
    "run_experiment",
    "show",
    "status",
    "verify",
]


VERBS = (run_experiment, compare, report, browse, status, verify, show, doctor)
app.registered_commands.sort(key=lambda command: [*VERBS, None].index(command.callback))


class _Stopped(BaseException):
    """Ctrl-C, or a request to end; no library takes it for an error of its own."""


def main() -> None:
    """Run the command line.

    An expected error is one paragraph on stderr and exit code 2; Ctrl-C and SIGTERM are one line
    and exit codes 130 and 143.
    """
    try:
        with _stoppable():
            _run()
    except _Stopped as stopped:
        (number,) = stopped.args
        typer.echo(
            f"\nstopped ({signal.Signals(number).name}); a run goes on with the same command.",
            err=True,
        )
        sys.exit(128 + number)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end this block, and the second the process."""

    def stop(number: int, frame: object) -> None:
        del frame
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        raise _Stopped(number)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not for other threads to take
        return
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


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
