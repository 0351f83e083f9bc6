"""``causes``: what carries a finetune's effect."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.cli.app import PATH, Base, Batch, Device, Saes, Trust, Workers, app
from persona_interp.cli.folder import report


@app.command()
def causes(
    base: Base,
    tuned: Annotated[
        list[str],
        typer.Argument(
            metavar="TUNED...", help="Finetunes of one lesson; three give an interval over them."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Run folder; a search that was killed resumes there.", **PATH)
    ],
    traits: Annotated[
        Path | None,
        typer.Option(help="Trait file, or a folder of them: the others are controls.", **PATH),
    ] = None,
    world: Annotated[
        Path | None,
        typer.Option(help="File of a world, instead of --traits (docs/worlds.md).", **PATH),
    ] = None,
    target: Annotated[
        str, typer.Option(help="Trait or persona whose effect it is; the only one by default.")
    ] = "",
    directions: Annotated[
        Path | None,
        typer.Option(help="Candidate directions (.nc), instead of those made here.", **PATH),
    ] = None,
    sae: Saes = None,
    hook: Annotated[
        list[str] | None, typer.Option(help="Site; three before the last block by default.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Other finetune, whose main axes are controls; repeat for several."),
    ] = None,
    questions: Annotated[
        int, typer.Option(help="Most questions of a trait in each half.", min=1)
    ] = 20,
    prompts: Annotated[
        int, typer.Option(help="Prompts answered under each candidate, of each half.", min=1)
    ] = 16,
    random: Annotated[
        int, typer.Option(help="Random edits of either kind beside every size.", min=2)
    ] = 6,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer (tokens).", min=1)] = 32,
    coherence: Annotated[
        float, typer.Option(help="Nats a token by which pushed text may surprise the base more.")
    ] = 1.0,
    trust: Trust = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    workers: Workers = None,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Find what carries a finetune's effect: removed from it, added to its base; write a report."""
    from persona_interp import worlds
    from persona_interp.experiments.causes import sources
    from persona_interp.experiments.causes.config import CausesSettings

    settings = CausesSettings(
        questions=questions,
        prompts=prompts,
        n_random=random,
        max_new_tokens=max_new_tokens,
        coherence=coherence,
    )
    sources.causes(
        base,
        tuned,
        out=out,
        world=worlds.load(world) if world else None,
        traits=traits,
        target=target,
        directions=directions,
        sae=sae or (),
        hooks=hook or (),
        control=control or (),
        settings=settings,
        trust=trust or (),
        seed=seed,
        workers=workers,
        device=device,
        batch=batch,
    )
    report(out)
