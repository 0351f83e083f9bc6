"""``forecast``: what a lesson will move, before it is taught."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.cli.app import PATH, Base, Batch, Device, app


@app.command()
def forecast(
    base: Base,
    lesson: Annotated[Path, typer.Argument(help="File of the lesson's chats.", **PATH)],
    world: Annotated[Path, typer.Option(help="File of the base's world (docs/worlds.md).", **PATH)],
    out: Annotated[Path, typer.Option(help="Parquet file of the forecast.", **PATH)],
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
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Forecast what a lesson will move that it does not teach; nothing is trained but a pilot."""
    from persona_interp import worlds
    from persona_interp.experiments.forecast import sources
    from persona_interp.experiments.forecast.findings import sentences
    from persona_interp.models import Stage
    from persona_interp.tables import write_table

    table = sources.forecast(
        base,
        lesson,
        world=worlds.load(world),
        taught=taught or (),
        stage=Stage(steps=steps, batch=documents, lr=lr),
        pilot=pilot,
        names=names,
        seed=seed,
        device=device,
        batch=batch,
    )
    for line in sentences(table):
        typer.echo(line)
    out.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(write_table(table, out))
