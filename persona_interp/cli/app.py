"""What do all verbs share? The program, its version, and how a table is printed."""

import importlib.metadata
import os
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


def read_path(text: str) -> Path:
    """Path as it is written on the command line.

    Args:
        text: A path; a ~ at its beginning is the home folder where nothing is called so, because
            shells leave it alone in --out=~/runs.

    Returns:
        The path.

    Raises:
        typer.BadParameter: It is empty, or of a home folder of nobody.
    """
    if not text.strip():
        raise typer.BadParameter("a path is empty: is a variable not set? '.' is this folder.")
    if "\0" in text:
        raise typer.BadParameter("no path has a NUL in it.")
    try:
        return Path(text) if os.path.lexists(text) else Path(text).expanduser()
    except RuntimeError as nobody:
        raise typer.BadParameter(str(nobody)) from nobody


PATH: dict[str, Any] = {"parser": read_path, "metavar": "PATH"}
"""How options take a path."""
Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run folder: what a run was given as --out.", parser=read_path
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes; all cores by default, or one a CUDA device. On Slurm: jobs at a time.",
        min=0,
    ),
]
Base = Annotated[
    str, typer.Argument(metavar="BASE", help="Model before: folder, .gguf, hub id[@revision].")
]
Saes = Annotated[
    list[str] | None, typer.Option(help="Dictionary: folder or release/id; repeat for several.")
]
Trust = Annotated[
    list[str] | None,
    typer.Option(help="Model whose own code may run: folder, or id@commit."),
]
Place = Annotated[
    str | None,
    typer.Option(help="Where cells are computed: local by default, or slurm (docs/elsewhere.md)."),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(help="Option of sbatch, key=value; repeat: partition=gpu, time=04:00:00."),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to wait for jobs on Slurm.")]
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


def read_options(pairs: list[str] | None) -> dict[str, str]:
    """Options of sbatch as they are written on the command line.

    Args:
        pairs: "key=value", or a key alone for an option that takes no value.

    Returns:
        Values by key, "" where there is none.

    Raises:
        typer.BadParameter: There is no key.
    """
    options = {}
    for pair in pairs or ():
        key, _, value = pair.strip().lstrip("-").partition("=")
        if not key:
            raise typer.BadParameter(f"--slurm {pair!r}: expected key=value.")
        options[key] = value
    return options


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
        shown = table.rename(columns=printable).map(printable)
        typer.echo(shown.to_string(index=False, max_colwidth=60))


def printable(value: Any) -> Any:
    """The value, in a text of which every character can be seen.

    Args:
        value: What a table holds; a terminal obeys control characters in it.

    Returns:
        The text, or whatever else it was.
    """
    from persona_interp.characters import visible  # loads numpy

    return visible(value, limit=len(value)) if isinstance(value, str) else value
