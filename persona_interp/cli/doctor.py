"""``doctor``: is a model read as it should be, and does an SAE fit it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_interp.cli.app import PATH, Batch, Device, app
from persona_interp.models.dtype import FULL

if TYPE_CHECKING:
    import pandas as pd


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
        Path | None,
        typer.Option(
            help="Chats or texts to measure on; built-in text by default.",
            **PATH,
        ),
    ] = None,
    skip: Annotated[
        list[int] | None,
        typer.Option(help="Row of --text to leave out, as errors number them; repeat."),
    ] = None,
    hook: Annotated[
        str | None, typer.Option(help="Where the SAE reads, if its folder does not say.")
    ] = None,
    n_tokens: Annotated[
        int, typer.Option(help="About how many tokens to measure on.", min=100)
    ] = 4000,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the table, .parquet.", **PATH),
    ] = None,
    device: Device = None,
    dtype: Annotated[str, typer.Option(help="Of the models: float32, bfloat16, or auto.")] = FULL,
    batch: Batch = "auto",
) -> None:
    """Check that a model is read as it should be and an SAE fits it; exit 1 if any is red."""
    import pandas as pd

    from persona_interp import dictionaries, models, readers
    from persona_interp.models.device import resolve_batch
    from persona_interp.models.load import load_tokenizer
    from persona_interp.schema.words import Light
    from persona_interp.store import check_outside
    from persona_interp.tables import write_table

    if out:
        check_outside(out)
    resolve_batch(batch)  # models alone are examined without one
    checkpoints, reading = [], dict[str, Any](device=device, dtype=dtype)
    for start in (model, *(tuned or ())):
        checkpoints += models.sources(start, base=base)
    tables = []
    corpus = readers.read(text, "documents", skip=skip or ()) if text else None
    if sae:
        if corpus is None:
            corpus = dictionaries.neutral_text(load_tokenizer(checkpoints[0]))
        for source in sae:
            dictionary = dictionaries.load_pretrained(source, hook=hook)
            table = dictionaries.diagnose(
                dictionary, checkpoints, corpus, n_tokens=n_tokens, batch=batch, **reading
            )
            tables.append(table.assign(dictionary=dictionary.name))
    else:
        probe = {} if corpus is None else {"text": corpus.messages.iloc[0][0]["content"]}
        tables = [models.checkup(checkpoint, **probe, **reading) for checkpoint in checkpoints]
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
