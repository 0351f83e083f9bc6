"""``run``: an experiment by its name, from training to report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from persona_interp.cli.app import (
    PATH,
    Batch,
    Device,
    Place,
    Slurm,
    Wait,
    Workers,
    app,
    print_table,
    read_options,
)
from persona_interp.cli.folder import report
from persona_interp.errors import StoreError
from persona_interp.experiments.wings import wing_names

MOST_SEEDS = 10_000
MOST_SEED = 2**31 - 1


@app.command("run")
def run_experiment(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"{', '.join(wing_names())}; or a class of your own, path/to/mine.py:Mine.",
            autocompletion=wing_names,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Run folder; a run that was killed resumes there.",
            **PATH,
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="quick (one seed), standard (three), paper (ten), real (chat model), real-..."
        ),
    ] = "quick",
    world: Annotated[
        Path | None,
        typer.Option(
            help="World file, YAML or JSON; the preset's world by default.",
            **PATH,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Start: tiny, a model folder, a .gguf file or a hub id.")
    ] = None,
    traits: Annotated[
        Path | None,
        typer.Option(
            help="Folder of trait files: 'transfer', 'dictionaries' and 'safeguards' are then of "
            "its traits.",
            **PATH,
        ),
    ] = None,
    trait: Annotated[
        list[str] | None,
        typer.Option(
            help="A trait of that folder; repeat. The preset's by default; 'all'. Of 'safeguards' "
            "the first is the unwanted one."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="First seed; the preset's by default.", min=0, max=MOST_SEED)
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Number of seeds; the preset's by default.", min=1, max=MOST_SEEDS),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Arm; repeat for several, 'lesson' first.")
    ] = None,
    lr: Annotated[
        list[float] | None, typer.Option(help="Learning rate of the lesson; repeat for several.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, or auto: what is faster on this machine.")
    ] = None,
    on: Place = None,
    slurm: Slurm = None,
    wait: Wait = True,
    plan_only: Annotated[
        bool,
        typer.Option("--plan-only", help="Write down the cells; compute none (see `worker`)."),
    ] = False,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Say what it will cost, from a miniature of it; OUT stays as it is."
        ),
    ] = False,
    workers: Workers = None,
    device: Device = None,
    batch: Batch = "auto",
) -> None:
    """Run an experiment: train, record, score; write tables, figures and report.html into OUT."""
    from persona_interp import worlds
    from persona_interp.experiments import compute, plan
    from persona_interp.experiments import estimate as estimate_of
    from persona_interp.experiments import preset as preset_of_name
    from persona_interp.experiments.dtypes import with_dtype
    from persona_interp.schema.words import On

    if name in ("transfer", "dictionaries", "safeguards") and traits:
        name = f"trait_{name}"
    experiment = preset_of_name(preset, name)
    settings = {
        "world": worlds.load(world) if world else None,
        "start": model,
        "traits": str(traits) if traits else None,
        "names": _trait_names(trait),
        "arms": tuple(arm) if arm else None,
        "lrs": tuple(lr) if lr else None,
        "seeds": _seeds(experiment.seeds, first=seed, n=seeds),
    }
    if dtype:
        experiment = with_dtype(experiment, dtype)
    experiment = _with_settings(experiment, name, settings)
    if name in ("trait_transfer", "trait_safeguards"):
        minutes = experiment.core_minutes()
        typer.echo(f"about {minutes:.0f} minutes of one core with a model of 135M parameters")
    if estimate:
        costs = estimate_of(experiment, workers=workers or 1, device=device, batch=batch)
        print_table(costs.kinds)
        typer.echo(str(costs))
        return
    if plan_only:
        typer.echo(f"{len(plan(experiment, out).planned())} cells are planned in {out}")
        return
    compute(
        experiment,
        out,
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


def _seeds(preset: tuple[int, ...], *, first: int | None, n: int | None) -> tuple[int, ...]:
    """Seeds in a row: a preset's own where nothing else was said."""
    start = preset[0] if first is None else first
    return tuple(range(start, start + (n or len(preset))))


def _trait_names(trait: list[str] | None) -> tuple[str, ...] | None:
    """Names as the experiment takes them: None = the preset's, () = all."""
    if not trait:
        return None
    return () if trait == ["all"] else tuple(trait)


def _with_settings(experiment: Any, name: str, settings: dict[str, Any]) -> Any:
    """The experiment with what was set on the command line; a flag that it has not is an error."""
    from dataclasses import fields, replace

    values = {key: value for key, value in settings.items() if value is not None}
    extra = sorted(set(values) - {field.name for field in fields(experiment)})
    if extra:
        flags = {"start": "--model", "arms": "--arm", "lrs": "--lr", "names": "--trait"}
        wrong = ", ".join(flags.get(key, f"--{key}") for key in extra)
        raise StoreError(f"the experiment '{name}' has no {wrong}; leave it out.")
    return replace(experiment, **values)
