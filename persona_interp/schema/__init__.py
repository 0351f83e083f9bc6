"""What do the tables between the rooms look like?

Tables on disk are the only bridge between the model side (torch) and the analysis side. This folder
is their reference: ``TABLES`` and ``DATASETS`` name what each holds, ``check`` refuses what does
not fit. Units are **bits** (log2) in storage; ``answer_mass``, ``fvu`` and probabilities are
fractions. ``persona`` is ``""`` for the nameless assistant. Extra columns (``world``, ``lesson``,
``lr``, ``arm``) are welcome everywhere.
"""

from typing import Any

import pandas as pd
import xarray as xr

from persona_interp.errors import SchemaError, unknown
from persona_interp.schema.behavior import BEHAVIOR
from persona_interp.schema.comparison import COMPARISON
from persona_interp.schema.findings import FINDINGS
from persona_interp.schema.inside import INSIDE

TABLES: dict[str, dict[str, str]] = {**BEHAVIOR, **INSIDE, **FINDINGS, **COMPARISON}

DATASETS: dict[str, dict[str, tuple[str, ...]]] = {
    "activations": {"act": ("checkpoint", "prompt", "d_model")},
    "features": {"act": ("checkpoint", "prompt", "feature"), "fvu": ("checkpoint", "prompt")},
}

ARRAYS: dict[str, tuple[str, ...]] = {"directions": ("name", "hook", "d_model")}


def names(prompts: Any) -> list[Any]:
    """What is each of these prompts called?

    Args:
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by
            ``doc``).

    Returns:
        The names, in order.

    Raises:
        SchemaError: It is neither, is empty, or two prompts have one name.

    >>> names(pd.DataFrame({"doc": [7, 8], "kind": "hidden", "persona": "", "messages": [[]] * 2, "statements": ""}))
    [7, 8]
    """
    column = "prompt" if "prompt" in getattr(prompts, "columns", ()) else "doc"
    check(prompts, "prompts" if column == "prompt" else "corpus")
    twice = prompts[column][prompts[column].duplicated()].tolist()
    if twice:
        raise SchemaError(
            f"every prompt needs a name of its own; {column} {twice[0]!r} occurs twice."
        )
    return prompts[column].tolist()


def check(table: Any, kind: str) -> Any:
    """Does this table hold what a function of its kind needs?

    Args:
        table: A DataFrame (kinds in ``TABLES``) or xarray Dataset (kinds in ``DATASETS``).
        kind: The kind expected; one of ``ARRAYS`` is an xarray DataArray.

    Returns:
        The table itself, so that a call can be wrapped around an argument.

    Raises:
        SchemaError: Columns, variables or dimensions are missing, or the table has no rows.

    >>> check(pd.DataFrame({"doc": [0], "kind": "hidden", "persona": "", "messages": [[]]}), "corpus")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a corpus table lacks the columns statements; it has doc, kind, persona, messages.
    """
    if kind in TABLES:
        if not isinstance(table, pd.DataFrame):
            raise SchemaError(f"a {kind} table is a pandas DataFrame; got {type(table).__name__}.")
        missing = [c for c in TABLES[kind] if c not in table.columns]
        if missing:
            has = ", ".join(map(str, table.columns)) or "no columns"
            raise SchemaError(
                f"a {kind} table lacks the columns {', '.join(missing)}; it has {has}."
            )
        if table.empty:
            raise SchemaError(
                f"this {kind} table has no rows; make one that has, or check the filter that "
                "emptied it."
            )
        return table
    if kind in ARRAYS:
        if not isinstance(table, xr.DataArray) or table.dims != ARRAYS[kind] or not table.size:
            got = (
                f"{table.dims} of sizes {table.shape}"
                if isinstance(table, xr.DataArray)
                else type(table).__name__
            )
            raise SchemaError(
                f"{kind} are a DataArray of dims {ARRAYS[kind]}, as record.mean_difference gives "
                f"them; got {got}. "
                'Picking one name keeps the dim with a list: directions.sel(name=["john"]).'
            )
        return table
    if kind not in DATASETS:
        raise SchemaError(unknown("schema kind", kind, [*TABLES, *DATASETS, *ARRAYS]))
    if not isinstance(table, xr.Dataset):
        raise SchemaError(f"{kind} come as an xarray Dataset; got {type(table).__name__}.")
    for name, dims in DATASETS[kind].items():
        if name not in table or table[name].dims != dims:
            got = dict(zip(table.data_vars, (table[v].dims for v in table.data_vars), strict=True))
            raise SchemaError(
                f"{kind} need a variable '{name}' of dims {dims}; this Dataset holds {got}."
            )
    if not all(table.sizes.values()):
        raise SchemaError(f"these {kind} are empty: sizes {dict(table.sizes)}.")
    return table
