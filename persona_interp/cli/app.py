"""What do all verbs share? The program, its version, and how a table is printed."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    name="persona-interp",
    help=(
        "How finetuning on one trait moves the features and the behavior of the traits that "
        "co-occur with it."
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder: what a run was given as --out.")
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; all cores by default, or one a CUDA device.", min=0),
]
Device = Annotated[
    str | None,
    typer.Option(help="Where models compute: cpu, cuda, cuda:1; cuda by default where it is."),
]


def read_batch(text: str) -> int | str:
    """Tokens a forward pass as they are written on the command line.

    Args:
        text: A number, or "auto".

    Returns:
        The number, or the text.
    """
    return int(text) if text.isascii() and text.isdigit() else text


Batch = Annotated[
    Any,
    typer.Option(
        help="Tokens a forward pass, or auto: what fits into memory.",
        metavar="TOKENS",
        parser=read_batch,
    ),
]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options of the program itself."""
    if version:
        typer.echo(importlib.metadata.version("persona_interp"))


def print_table(table: "pd.DataFrame") -> None:
    """Print a table without its index.

    Args:
        table: Nothing is printed where it has no rows.
    """
    if not table.empty:
        typer.echo(table.to_string(index=False, max_colwidth=60))
