"""``worker``, ``retry``, ``gc``: cells of a run one by one, again, and what is left of them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from persona_interp.cli.app import (
    PATH,
    Batch,
    Device,
    Place,
    Run,
    Slurm,
    Wait,
    Workers,
    app,
    print_table,
    read_options,
)


@app.command()
def worker(
    run: Annotated[Path, typer.Option(help="Run folder; it plans the cell.", **PATH)],
    cell: Annotated[str, typer.Option(help="Id of the cell, as `status` lists them.")],
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Compute one cell of a run, as a job of any scheduler; exit 2 if it fails."""
    from persona_interp.experiments.worker import THREADS

    os.environ.update(dict.fromkeys(THREADS, "1"))  # before anything that computes is loaded
    from persona_interp.experiments import compute_planned
    from persona_interp.models.device import on_device

    with on_device(device, batch=batch):
        typer.echo(f"{cell} {compute_planned(run, cell)}")


@app.command()
def retry(
    run: Run,
    on: Place = None,
    slurm: Slurm = None,
    wait: Wait = True,
    workers: Workers = None,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Compute the failed cells of a run again, and those that were not tried because of them."""
    from persona_interp import experiments
    from persona_interp.schema.words import On

    cells = experiments.retry(
        run,
        on=on or On.LOCAL,
        slurm=read_options(slurm),
        wait=wait,
        workers=workers,
        device=device,
        batch=batch,
    )
    typer.echo(f"{len(cells)} cells tried again" if cells else "no cell of this run failed")


@app.command("gc")
def collect(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List it; delete nothing.")] = False,
) -> None:
    """Delete what nobody needs: damaged files set aside, leftovers, cells that no plan names."""
    from persona_interp.store import Store
    from persona_interp.store.garbage import collect_garbage, list_garbage

    store = Store.open(run)
    table = list_garbage(store) if dry_run else collect_garbage(store)
    print_table(table)
    said = "would be freed" if dry_run else "freed"
    n_bytes = sum(map(int, table["bytes"]))
    typer.echo(f"{n_bytes:,} bytes {said}; no planned cell is touched")
