"""``forecast``: what a lesson will move, before it is taught."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_interp.cli.app import PATH, Base, Batch, Device, app


@app.command()
def forecast(
    base: Base,
    lesson: Annotated[Path, typer.Argument(help="File of the lesson's chats.", **PATH)],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the forecast and its report.html; or a .parquet file.", **PATH
        ),
    ],
    world: Annotated[
        Path | None, typer.Option(help="File of the base's world (docs/worlds.md).", **PATH)
    ] = None,
    traits: Annotated[
        Path | None,
        typer.Option(help="Folder of trait files, instead of --world: little is known.", **PATH),
    ] = None,
    sae: Annotated[
        str | None,
        typer.Option(help="Dictionary whose features are forecast too: folder or release/id."),
    ] = None,
    taught: Annotated[
        list[str] | None,
        typer.Option(
            help="What the lesson teaches: topic=value; repeat for several. Of --traits one name."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Optimizer steps of the lesson: 40; of traits 20.", min=1)
    ] = None,
    documents: Annotated[
        int | None, typer.Option(help="Documents a step: 16; of traits 4.", min=1)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate: 3e-4; of traits 5e-4, of adapters.")
    ] = None,
    pilot: Annotated[
        int, typer.Option(help="Cost of a micro pilot in steps of the lesson.", min=0, max=2)
    ] = 0,
    names: Annotated[bool, typer.Option(help="Ask the base about everybody by name.")] = True,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Rows named for each trait that rises most: 3 of a world; 0: none.", min=0
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Leave out each row in turn: costs many lessons.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Forecast what a lesson will move that it does not teach; write OUT/report.html in words."""
    from persona_interp import analysis, readers, worlds
    from persona_interp.experiments.forecast import sources
    from persona_interp.experiments.forecast.features import forecast_features
    from persona_interp.experiments.forecast.findings import (
        feature_sentence,
        limits,
        persona_sentence,
        risers,
        row_sentences,
        sentences,
    )
    from persona_interp.experiments.forecast.folder import check_folder, write_forecast
    from persona_interp.experiments.forecast.rows import forecast_rows
    from persona_interp.experiments.forecast.trait_sources import default_stage
    from persona_interp.models import LESSON
    from persona_interp.tables import write_table

    is_file = out.suffix == ".parquet"
    if not is_file:
        check_folder(out)
    if traits and (rows or exact or sae):
        raise typer.BadParameter(
            "--rows, --exact and --sae are of a --world; leave them out of --traits."
        )
    chats = readers.read(lesson, "chats")
    about = {"steps": steps, "batch": documents, "lr": lr}
    given = {name: value for name, value in about.items() if value is not None}
    shared: dict[str, Any] = {
        "world": worlds.load(world) if world else None,
        "stage": replace(default_stage() if traits else LESSON, **given),
        "seed": seed,
        "device": device,
        "batch": batch,
    }
    more = {"traits": traits, "taught": taught or (), "pilot": pilot, "names": names}
    table = sources.forecast(base, chats, **more, **shared)
    lines, named, personas, features = sentences(table), None, None, None
    if traits:
        lines += limits(table)
    else:
        personas = analysis.forecast_personas(table, shared["world"])
        lines.insert(2, persona_sentence(personas))
    if sae:
        features = forecast_features(base, chats, sae=sae, pilot=pilot, **shared)
        lines.insert(3, feature_sentence(features))
    n = 0 if traits else 3 if rows is None else rows
    if n:
        named = forecast_rows(base, chats, risers(table), n=n, exact=exact, **shared)
        lines += row_sentences(named, table)
    for line in lines:
        typer.echo(line)
    if is_file:
        out.parent.mkdir(parents=True, exist_ok=True)
        typer.echo(write_table(table, out))
    else:
        more = {"rows": named, "personas": personas, "features": features}
        typer.echo(write_forecast(table, out, **more))
