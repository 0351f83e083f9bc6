"""``report``, ``browse``, ``status``, ``verify``, ``show``: what is in a run folder."""

import gc
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from persona_interp.cli.app import PATH, Run, app, print_table, printable, read_path
from persona_interp.errors import StoreError, unknown

File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .parquet, .csv, .nc or .json file.", parser=read_path),
]
Rows = Annotated[int, typer.Option(help="How many rows to show.", min=1)]


@app.command()
def report(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write into; RUN by default.", **PATH),
    ] = None,
) -> None:
    """Write tables, figures and report.html of a run again, from its finished cells."""
    from persona_interp import experiments

    for room in ("analysis", "plots", "report", "tables"):
        import_module(f"persona_interp.{room}")
    # what was imported stays; to look through it for garbage, again and again, takes seconds
    gc.freeze()
    typer.echo(str(experiments.report(run, out=out)))


@app.command()
def browse(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(help="File; RUN/features.html by default.", **PATH),
    ] = None,
) -> None:
    """Write a page of all features of a run, to be sorted, searched and looked into offline."""
    from persona_interp import experiments

    typer.echo(str(experiments.browse(run, out=out)))


@app.command()
def status(
    run: Run,
    ready: Annotated[
        bool,
        typer.Option("--ready", help="Only ids of cells that can be computed now, one a line."),
    ] = False,
) -> None:
    """List every cell of a run with its state and the reason, and n of N done."""
    from persona_interp.experiments.states import ready_cells, run_states
    from persona_interp.schema.words import CellState, FileStatus
    from persona_interp.store import Store
    from persona_interp.store.verification import run_conditions

    store = Store.open(run)
    if ready:
        for cell in ready_cells(store):
            typer.echo(cell.id)
        return
    table = run_states(store)
    files = run_conditions(run)
    n_done = int((table.state == CellState.DONE).sum())
    others = _counts(table.state, without=CellState.DONE)
    print_table(table)
    typer.echo(f"{n_done} of {len(table)} cells {CellState.DONE}{others}")
    for row in files.loc[files.status != FileStatus.OK].to_dict("records"):
        name = row["file"] or f"cells/{row['cell']}"
        typer.echo(f"{name} is {row['status']}", err=True)


@app.command()
def verify(run: Run) -> None:
    """Check all files of a run; name what is missing or corrupt, and exit 1 if anything is."""
    from persona_interp.schema.words import FileStatus
    from persona_interp.store import Store

    files = Store.open(run).verify()
    bad = files.loc[files.status != FileStatus.OK]
    if bad.empty:
        typer.echo(f"all {len(files)} files are as they were written")
        return
    print_table(bad)
    typer.echo(
        f"{len(files) - len(bad)} of {len(files)} files {FileStatus.OK}"
        f"{_counts(files.status, without=FileStatus.OK)}. "
        "Run the experiment again with this --out: it quarantines damaged cells, lists whole ones "
        f"again, and computes no others; a report is written anew. {FileStatus.UNLISTED}: nothing "
        "vouches for that file."
    )
    raise typer.Exit(1)


@app.command()
def show(file: File, rows: Rows = 10) -> None:
    """Print the head of an artifact, and its attributes."""
    from persona_interp.store import check
    from persona_interp.tables import read_csv, read_dataset, read_json, read_table

    readers = {".parquet": read_table, ".csv": read_csv, ".nc": read_dataset, ".json": read_json}
    if file.suffix not in readers:
        raise StoreError(unknown("kind of artifact", file.suffix or file.name, readers))
    if file.is_dir():
        raise StoreError(f"{file} is a folder; show takes a file in it.")
    if file.exists() and not file.is_file():
        raise StoreError(f"{file} is a pipe or device; show takes a file.")
    if not file.is_file():
        near = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
        raise StoreError(unknown(f"file of {file.parent}", file.name, near))
    check(file)
    artifact = readers[file.suffix](file)
    if file.suffix == ".nc":
        typer.echo(str(artifact))
        return
    if file.suffix == ".json":
        import json

        typer.echo(json.dumps(artifact, indent=1, ensure_ascii=False))
        return
    print_table(artifact.head(rows))
    typer.echo(f"{len(artifact)} rows x {artifact.shape[1]} columns")
    for key, value in artifact.attrs.items():
        typer.echo(f"{printable(key)}: {printable(str(value))}")


def _counts(states: Iterable[str], *, without: str) -> str:
    counts = Counter(states)
    return "".join(f", {n} {state}" for state, n in sorted(counts.items()) if state != without)
