"""``compare``: finetunes and their base."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.cli.app import (
    PATH,
    Base,
    Batch,
    Device,
    Place,
    Saes,
    Slurm,
    Trust,
    Wait,
    Workers,
    app,
    read_options,
)
from persona_interp.cli.folder import report
from persona_interp.files import read_text


@app.command()
def compare(
    base: Base,
    tuned: Annotated[
        list[str],
        typer.Argument(
            metavar="TUNED...", help="Finetunes: as BASE, an adapter, or a Trainer's output."
        ),
    ],
    prompts: Annotated[
        Path,
        typer.Option(
            help="Prompts: one a line, rows or a trait, see docs/bring_your_own.md.",
            **PATH,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Run folder; a comparison that was killed resumes there.",
            **PATH,
        ),
    ],
    skip: Annotated[
        list[int] | None,
        typer.Option(help="Row of --prompts to leave out, as errors number them; repeat."),
    ] = None,
    sae: Saes = None,
    traits: Annotated[
        Path | None,
        typer.Option(help="Trait file, or a folder of them.", **PATH),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="Control finetune; repeat. Claims need three, else it only 'differs'."),
    ] = None,
    neutral: Annotated[
        Path | None,
        typer.Option(
            help="Requests that have to do with no trait, by default sixteen of everyday life; "
            "the --prompts file where that is neutral already.",
            **PATH,
        ),
    ] = None,
    skip_neutral: Annotated[
        list[int] | None,
        typer.Option(help="Row of --neutral to leave out; repeat. Those of --skip, if one file."),
    ] = None,
    primary: Annotated[
        str, typer.Option(help="Trait named beforehand: tested alone, uncorrected.")
    ] = "",
    hook: Annotated[
        list[str] | None, typer.Option(help="Where the inside is read; three blocks by default.")
    ] = None,
    causes: Annotated[
        bool,
        typer.Option(help="Search which directions and features carry the effect on --primary."),
    ] = False,
    adapter_base: Annotated[
        str | None,
        typer.Option(help="Base of adapters whose own is not to be had; BASE by default."),
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            help="File with a chat template (Jinja) for all models, in place of their own.",
            **PATH,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Folder or hub id whose tokenizer reads text for all models."),
    ] = None,
    questions: Annotated[
        int, typer.Option(help="Most questions of a trait in each half.", min=2)
    ] = 20,
    draws: Annotated[
        int, typer.Option(help="Answers of every checkpoint to each held-out question.", min=1)
    ] = 2,
    samples: Annotated[
        int, typer.Option(help="Prompts whose answers are sampled from everybody.", min=1)
    ] = 24,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer (tokens).", min=1)] = 48,
    dtype: Annotated[
        str, typer.Option(help="Of answers and likelihoods: float32, bfloat16, or auto.")
    ] = "float32",
    trust: Trust = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    on: Place = None,
    slurm: Slurm = None,
    wait: Wait = True,
    workers: Workers = None,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Compare finetunes with their base, beyond what controls do; write OUT/report.html."""
    from persona_interp import readers
    from persona_interp.experiments.compare import sources
    from persona_interp.experiments.compare.config import CompareOptions, CompareSettings
    from persona_interp.schema.words import On

    rows = readers.read(prompts, "prompts", skip=skip) if skip else prompts
    if skip_neutral and neutral:
        neutral_rows = readers.read(neutral, "prompts", skip=skip_neutral)
    else:
        neutral_rows = rows if neutral == prompts else neutral
    settings = CompareSettings(
        questions=questions,
        draws=draws,
        samples=samples,
        max_new_tokens=max_new_tokens,
        dtype=dtype,
    )
    options = CompareOptions(
        traits=traits,
        primary=primary,
        control=control or (),
        neutral=neutral_rows,
        sae=sae or (),
        hooks=hook or (),
        causes=causes,
        adapter_base=adapter_base,
        chat_template=read_text(chat_template) if chat_template else None,
        tokenizer=tokenizer,
        trust=trust or (),
        seed=seed,
        settings=settings,
    )
    sources.compare(
        base,
        tuned,
        prompts=rows,
        out=out,
        options=options,
        on=on or On.LOCAL,
        slurm=read_options(slurm),
        wait=wait,
        workers=workers,
        device=device,
        batch=batch,
    )
    if wait:
        report(out)
    else:
        typer.echo(f"persona-interp status {out}")
