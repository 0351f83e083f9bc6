"""``forecast``: what a lesson will move, before it is taught."""

from pathlib import Path
from typing import Annotated, Any

import typer

from persona_interp.cli.app import PATH, Base, Batch, Device, app


@app.command()
def forecast(
    base: Base,
    lesson: Annotated[Path, typer.Argument(help="File of the lesson's chats.", **PATH)],
    world: Annotated[Path, typer.Option(help="File of the base's world (docs/worlds.md).", **PATH)],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the forecast and its report.html; or a .parquet file.", **PATH
        ),
    ],
    taught: Annotated[
        list[str] | None,
        typer.Option(help="Trait that the lesson teaches, topic=value; repeat for several."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps of the lesson.", min=1)] = 40,
    documents: Annotated[int, typer.Option(help="Documents a step.", min=1)] = 16,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 3e-4,
    pilot: Annotated[
        int, typer.Option(help="Cost of a micro pilot in steps of the lesson.", min=0, max=2)
    ] = 0,
    names: Annotated[bool, typer.Option(help="Ask the base about everybody by name.")] = True,
    rows: Annotated[
        int, typer.Option(help="Rows named for each trait that rises most; 0: none.", min=0)
    ] = 3,
    exact: Annotated[
        bool, typer.Option("--exact", help="Leave out each row in turn: costs many lessons.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Forecast what a lesson will move that it does not teach; write OUT/report.html in words."""
    from persona_interp import readers, worlds
    from persona_interp.experiments.forecast import sources
    from persona_interp.experiments.forecast.findings import risers, row_sentences, sentences
    from persona_interp.experiments.forecast.folder import check_folder, write_forecast
    from persona_interp.experiments.forecast.rows import forecast_rows
    from persona_interp.models import Stage
    from persona_interp.tables import write_table

    is_file = out.suffix == ".parquet"
    if not is_file:
        check_folder(out)
    chats = readers.read(lesson, "chats")
    shared: dict[str, Any] = {
        "world": worlds.load(world),
        "stage": Stage(steps=steps, batch=documents, lr=lr),
        "seed": seed,
        "device": device,
        "batch": batch,
    }
    table = sources.forecast(base, chats, taught=taught or (), pilot=pilot, names=names, **shared)
    lines, named = sentences(table), None
    if rows:
        named = forecast_rows(base, chats, risers(table), n=rows, exact=exact, **shared)
        lines += row_sentences(named, table)
    for line in lines:
        typer.echo(line)
    if is_file:
        out.parent.mkdir(parents=True, exist_ok=True)
        typer.echo(write_table(table, out))
    else:
        typer.echo(write_forecast(table, out, rows=named))
