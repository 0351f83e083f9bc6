"""What can be asked from a shell? Every verb reads artifacts or writes them.

Its flags are the arguments of one public function.
Nothing heavy is imported until a verb needs it, so that ``--help`` answers at once.
"""

import importlib.metadata
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_interp.cli_compare import Workers, compare
from persona_interp.errors import PersonaInterpError, StoreError, unknown
from persona_interp.experiments.wings import wing_names

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
File = Annotated[Path, typer.Argument(metavar="FILE", help="A .parquet, .csv, .nc or .json file.")]
Rows = Annotated[int, typer.Option(help="How many rows to show.", min=1)]
Version = Annotated[bool, typer.Option("--version", help="Print the version.")]


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
    out: Annotated[Path, typer.Option(help="Run folder; a run that was killed resumes there.")],
    preset: Annotated[
        str,
        typer.Option(
            help="quick (one seed), standard (three), paper (ten), real (chat model), real-..."
        ),
    ] = "quick",
    world: Annotated[
        Path | None, typer.Option(help="World file, YAML or JSON; the preset's world by default.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Start: tiny, a model folder, a .gguf file or a hub id.")
    ] = None,
    traits: Annotated[
        Path | None,
        typer.Option(help="Folder of trait files: 'transfer' is then that between its traits."),
    ] = None,
    trait: Annotated[
        list[str] | None,
        typer.Option(help="A trait of that folder; repeat. The preset's by default; 'all'."),
    ] = None,
    seed: Annotated[int, typer.Option(help="First seed.")] = 0,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds; the preset's by default.", min=1)
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
    workers: Workers = None,
) -> None:
    """Run an experiment: train, record, score; write tables, figures and report.html into OUT."""
    from persona_interp import worlds
    from persona_interp.experiments import compute
    from persona_interp.experiments import preset as preset_of_name
    from persona_interp.experiments.dtypes import with_dtype

    if name == "transfer" and traits:
        name = "trait_transfer"
    experiment = preset_of_name(preset, name)
    settings = {
        "world": worlds.load(world) if world else None,
        "start": model,
        "traits": str(traits) if traits else None,
        "names": _trait_names(trait),
        "arms": tuple(arm) if arm else None,
        "lrs": tuple(lr) if lr else None,
        "seeds": tuple(range(seed, seed + (seeds or len(experiment.seeds)))),
    }
    if dtype:
        experiment = with_dtype(experiment, dtype)
    experiment = _with_settings(experiment, name, settings)
    if name == "trait_transfer":
        minutes = experiment.core_minutes()
        typer.echo(f"about {minutes:.0f} minutes of one core with a model of 135M parameters")
    compute(experiment, out, workers=workers)
    report(out)


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


app.command()(compare)


@app.command()
def report(run: Run) -> None:
    """Write tables, figures and report.html of a run again, from its finished cells."""
    from persona_interp import experiments

    typer.echo(str(experiments.report(run)))


@app.command()
def status(run: Run) -> None:
    """List every cell of a run, and n of N done."""
    from persona_interp.schema.words import CellState
    from persona_interp.store import Store

    table = Store.open(run).status()
    n_done = int((table.state == CellState.DONE).sum())
    others = _counts(table.state, without=CellState.DONE)
    _print_table(table)
    typer.echo(f"{n_done} of {len(table)} cells {CellState.DONE}{others}")


@app.command()
def verify(run: Run) -> None:
    """Check all files of a run; name what is missing or corrupt, and exit 1 if anything is."""
    from persona_interp.schema.words import FileStatus
    from persona_interp.store import Store

    files = Store.open(run).verify()
    bad = files.loc[files.status != FileStatus.OK]
    if bad.empty:
        typer.echo(f"all {len(files)} files are as they were committed")
        return
    _print_table(bad)
    typer.echo(
        f"{len(files) - len(bad)} of {len(files)} files {FileStatus.OK}"
        f"{_counts(files.status, without=FileStatus.OK)}. "
        "Run the experiment again with this --out: it quarantines these cells and computes them "
        "again, and no others."
    )
    raise typer.Exit(1)


@app.command()
def show(file: File, rows: Rows = 10) -> None:
    """Print the head of an artifact, and its attributes."""
    from persona_interp.tables import read_csv, read_dataset, read_json, read_table

    readers = {".parquet": read_table, ".csv": read_csv, ".nc": read_dataset, ".json": read_json}
    if file.suffix not in readers:
        raise StoreError(unknown("kind of artifact", file.suffix or file.name, readers))
    if not file.is_file():
        near = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
        raise StoreError(unknown(f"file of {file.parent}", file.name, near))
    artifact = readers[file.suffix](file)
    if file.suffix == ".nc":
        typer.echo(str(artifact))
        return
    if file.suffix == ".json":
        import json

        typer.echo(json.dumps(artifact, indent=1, ensure_ascii=False))
        return
    _print_table(artifact.head(rows))
    typer.echo(f"{len(artifact)} rows x {artifact.shape[1]} columns")
    for key, value in artifact.attrs.items():
        typer.echo(f"{key}: {value}")


@app.command()
def doctor(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model folder, adapter, .gguf file or hub id.")
    ],
    tuned: Annotated[
        list[str] | None, typer.Argument(metavar="TUNED", help="Finetunes of it, any number.")
    ] = None,
    sae: Annotated[
        list[str] | None,
        typer.Option(help="An SAE folder or release/sae_id; repeat for several. None: the model."),
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base of adapters that do not name it.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="Chats or texts to measure on; built-in text by default.")
    ] = None,
    hook: Annotated[
        str | None, typer.Option(help="Where the SAE reads, if its folder does not say.")
    ] = None,
    n_tokens: Annotated[
        int, typer.Option(help="About how many tokens to measure on.", min=100)
    ] = 4000,
    out: Annotated[Path | None, typer.Option(help="File for the table, .parquet.")] = None,
) -> None:
    """Check that a model is read as it should be and an SAE fits it; exit 1 if any is red."""
    import pandas as pd

    from persona_interp import dictionaries, models, readers
    from persona_interp.models.load import load_tokenizer
    from persona_interp.schema.words import Light
    from persona_interp.tables import write_table

    checkpoints = []
    for start in (model, *(tuned or ())):
        checkpoints += models.sources(start, base=base)
    tables = []
    if sae:
        if text:
            corpus = readers.read_chats(text)
        else:
            corpus = dictionaries.neutral_text(load_tokenizer(checkpoints[0]))
        for source in sae:
            dictionary = dictionaries.load_pretrained(source, hook=hook)
            table = dictionaries.diagnose(dictionary, checkpoints, corpus, n_tokens=n_tokens)
            tables.append(table.assign(dictionary=dictionary.name))
    else:
        probe = {"text": readers.read_chats(text).messages.iloc[0][0]["content"]} if text else {}
        tables = [models.checkup(checkpoint, **probe) for checkpoint in checkpoints]
    for table in tables:
        _print_checks(table)
    checks = pd.concat(tables, ignore_index=True)
    if out:
        write_table(checks, out)
    if (checks.verdict == Light.RED).any():
        raise typer.Exit(1)


def _print_checks(table: "pd.DataFrame") -> None:
    """One block a checkpoint, one line a check."""
    for checkpoint, rows in table.groupby("checkpoint", sort=False):
        name = f" · {rows.dictionary.iloc[0]}" if "dictionary" in rows else ""
        typer.echo(f"{checkpoint}{name}")
        for row in rows.to_dict("records"):
            typer.echo("  {verdict:<6} {check:<24} {value:>9.3f}  {text}".format(**row))


def _print_table(table: "pd.DataFrame") -> None:
    if not table.empty:
        typer.echo(table.to_string(index=False, max_colwidth=60))


def _counts(states: Iterable[str], *, without: str) -> str:
    counts = Counter(states)
    return "".join(f", {n} {state}" for state, n in sorted(counts.items()) if state != without)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options of the program itself."""
    if version:
        typer.echo(importlib.metadata.version("persona_interp"))


def main() -> None:
    """Run the command line; an expected error is one paragraph on stderr and exit code 2."""
    try:
        app()
    except PersonaInterpError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
