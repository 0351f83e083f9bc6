"""What can be asked from a shell? Every verb reads artifacts or writes them.

Its flags are the arguments of one public function. Nothing heavy is imported until a verb needs it,
so that ``--help`` answers at once.
"""

import errno
import logging
import sys

import typer

from persona_interp.cli.app import app
from persona_interp.cli.compare import compare
from persona_interp.cli.doctor import doctor
from persona_interp.cli.folder import report, show, status, verify
from persona_interp.cli.run import run_experiment
from persona_interp.errors import PersonaInterpError

__all__ = [
    "app",
    "compare",
    "doctor",
    "main",
    "report",
    "run_experiment",
    "show",
    "status",
    "verify",
]


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a disk that is full, or whose owner does not let this user write or read."""

VERBS = (run_experiment, compare, report, status, verify, show, doctor)
app.registered_commands.sort(key=lambda command: [*VERBS, None].index(command.callback))


def main() -> None:
    """Run the command line; an expected error is one paragraph on stderr and exit code 2."""
    logger, notes = logging.getLogger("persona_interp"), logging.StreamHandler()
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)  # what a file was taken for
    try:
        app()
    except PersonaInterpError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in DISK:
            raise
        typer.echo(
            f"{error.strerror}: {error.filename or 'while writing'}. Free some space or choose a "
            "folder that you may write to; a run that stopped goes on with the same --out.",
            err=True,
        )
        sys.exit(2)
    finally:
        logger.removeHandler(notes)
