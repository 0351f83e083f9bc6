"""What can be asked from a shell? Every verb reads artifacts or writes them.

Its flags are the arguments of one public function. Nothing heavy is imported until a verb needs it,
so that ``--help`` answers at once.
"""

import logging
import sys

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
