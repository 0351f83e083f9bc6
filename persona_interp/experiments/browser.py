"""Which features of a finished run should one look at? The page of all of them, from its tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from persona_interp.errors import StoreError
from persona_interp.experiments.experiment import report_folder
from persona_interp.experiments.wings import wing_of_config
from persona_interp.files import collect_writes
from persona_interp.schema.words import Family, Role
from persona_interp.store import Store, check

if TYPE_CHECKING:
    import pandas as pd

TABLES = (
    "features",
    "feature_shift",
    "effects",
    "scores",
    "fidelity",
    "tokens",
    "examples",
    "lens",
    "words",
)
"""Tables of a run that know something of its features."""
TEXTS = ("piece", "token", "prompt")
"""Columns of them that are texts, whatever they look like: "nan" is a token."""


def browse(run: str | Path, *, out: str | Path | None = None) -> Path:
    """Write a page of all features of a run, from the tables that its report wrote.

    Args:
        run: The run's folder, of compare or transfer: their ``tables`` have ``browsable``.
        out: File to write; ``features.html`` beside the report by default.

    Returns:
        The file; ``report.browse`` says what is on it.

    Raises:
        StoreError: There is no run, it has no features or no tables, or a table is not the bytes
            that were written.
    """
    from persona_interp import report  # loads matplotlib
    from persona_interp.tables import read_csv

    store = Store.open(run)
    config = store.config()
    wing = wing_of_config(config)
    browsable = getattr(wing.part("tables"), "browsable", None)
    if browsable is None:
        raise StoreError(
            f"{store.root} is of the experiment '{wing.name}', whose tables hold no features; give "
            "a run of compare (with --sae) or transfer."
        )
    tables = {}
    for name in TABLES:
        file = store.root / "tables" / f"{name}.csv"
        if file.is_file():
            check(file)
            tables[name] = read_csv(file, texts=TEXTS)
    arguments = browsable(tables, config=config)
    if not arguments:
        raise StoreError(
            f"the tables of {store.root} hold no features: no dictionary was used that may be "
            f"read, or its report is not written yet (persona-interp report {store.root})."
        )
    with collect_writes() as written:
        target = Path(out) if out else report_folder(store.root, None) / "features.html"
        title = f"Features of {store.root.name}"
        page = report.browse(**arguments, out=target.expanduser().absolute(), title=title)
    if page.is_relative_to(store.root):
        store.vouch(dict.fromkeys(written))
    return page


def beside_controls(
    shift: "pd.DataFrame", effects: "pd.DataFrame", *, by: Sequence[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Shifts with the verdicts of an effects table, and the shifts after its controls.

    Args:
        shift: A feature_shift table.
        effects: An effects table of the same features.
        by: Columns of both that tell dictionaries and finetunes apart; where controls belong to no
            finetune of them, it is left out of their rows.

    Returns:
        The shifts with a column ``verdict``; and ``feature``, ``estimate`` of every control.
    """
    effects = effects.loc[effects["family"] == Family.FEATURE]
    effects = effects.assign(feature=effects["quantity"].astype(int))
    mine = effects.loc[effects["role"] == Role.TUNED, [*by, "feature", "verdict"]]
    shared = [column for column in by if column != "end"]
    controls = effects.loc[effects["role"] == Role.CONTROL, [*shared, "feature", "estimate"]]
    return shift.merge(mine, on=[*by, "feature"], how="left"), controls
