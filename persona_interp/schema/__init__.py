"""What do the tables between the rooms look like?

Tables on disk are the only bridge between the model side (torch) and the analysis side. This folder
is their reference: ``TABLES`` and ``DATASETS`` name what each holds, ``check`` refuses what does
not fit. Units are **bits** (log2) in storage; ``answer_mass``, ``fvu`` and probabilities are
fractions. ``persona`` is ``""`` for the nameless assistant. Extra columns (``world``, ``lesson``,
``lr``, ``arm``) are welcome everywhere.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import xarray as xr

from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.schema.behavior import BEHAVIOR
from persona_interp.schema.causes import CAUSES
from persona_interp.schema.cells import check_cells
from persona_interp.schema.comparison import COMPARISON
from persona_interp.schema.findings import FINDINGS
from persona_interp.schema.forecast import FORECAST
from persona_interp.schema.inside import INSIDE

TABLES: dict[str, dict[str, str]] = {
    **BEHAVIOR,
    **INSIDE,
    **CAUSES,
    **FINDINGS,
    **COMPARISON,
    **FORECAST,
}

DATASETS: dict[str, dict[str, tuple[str, ...]]] = {
    "activations": {"act": ("checkpoint", "prompt", "d_model")},
    "heads": {"act": ("checkpoint", "prompt", "head", "d_head")},
    "features": {"act": ("checkpoint", "prompt", "feature"), "fvu": ("checkpoint", "prompt")},
    "token_activations": {"act": ("checkpoint", "token", "d_model")},
    "token_heads": {"act": ("checkpoint", "token", "head", "d_head")},
    "token_features": {"act": ("checkpoint", "token", "feature"), "fvu": ("checkpoint", "token")},
    "scaling": {
        "decoder": ("checkpoint", "feature", "d_model"),
        "tokens": ("part",),
        "error": ("part", "checkpoint"),
        "total": ("part", "checkpoint"),
        "fires": ("part", "feature"),
        "squares": ("part", "feature"),
        "left": ("part", "checkpoint", "feature", "d_model"),
        "rebuilt": ("part", "checkpoint", "feature", "d_model"),
        "unexplained": ("part", "feature"),
        "together": ("feature", "other"),
        "products": ("feature", "other"),
        "acts": ("part", "feature"),
        "gaps": ("part", "checkpoint", "d_model"),
    },
}
"""Variables and their dims, by kind (an attribute of each).

``d_model`` is as wide as the hook: the hidden layer of an MLP is wider than the residual. Along
``prompt`` stand its name and every column of the prompts that holds texts, numbers or booleans;
along ``token``, one entry for every token of every prompt in order, the same and ``pos`` (position
in the prompt), ``piece`` (text), ``role`` and ``turn`` (number of the message) of the token.
"""

ARRAYS: dict[str, tuple[str, ...]] = {"directions": ("name", "hook", "d_model")}

LABELS = ("checkpoint", "prompt", "name", "hook")
"""Dims along which rows are found by a label: two of datasets, two of directions."""


def names(prompts: Any) -> list[Any]:
    """Names of prompts or documents, one each, in order.

    Args:
        prompts: A probes or prompts table (named by ``prompt``) or a corpus table (named by
            ``doc``).

    Returns:
        The names, in order.

    Raises:
        SchemaError: It is neither, is empty, or two prompts have one name.

    >>> row = {"kind": "hidden", "persona": "", "messages": [], "statements": ()}
    >>> names(pd.DataFrame([{"doc": 7} | row, {"doc": 8} | row]))
    [7, 8]
    """
    if "prompt" in getattr(prompts, "columns", ()):
        column, kind = "prompt", "prompts"
    else:
        column, kind = "doc", "corpus"
    check(prompts, kind)
    twice = prompts[column][prompts[column].duplicated()].tolist()
    if twice:
        raise SchemaError(
            f"every prompt needs a name of its own; {column} {twice[0]!r} occurs twice."
        )
    return prompts[column].tolist()


def require(table: Any, *columns: str, name: str = "") -> None:
    """Refuse what is no table, lacks a column or has one twice.

    Args:
        table: Any table.
        columns: Names of columns that are read.
        name: Of the table, for the message, where there are several.

    Raises:
        SchemaError: One of these; of a missing column the message names the nearest.

    >>> require(pd.DataFrame({"step": [1]}), "step", "stop")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: column 'stop' is unknown; did you mean 'step'? Valid: \
'step'.
    """
    of = f" of {name}" if name else ""
    if not isinstance(table, pd.DataFrame):
        raise SchemaError(f"expected a table{of}, a pandas DataFrame; got {excerpt(table)}.")
    for column in columns:
        if column not in table:
            raise SchemaError(unknown(f"column{of}", column, table.columns))
    _check_distinct(table)
    check_cells(table, columns)


def require_rows(table: Any, *columns: str) -> None:
    """Refuse what ``require`` refuses, and a table without rows.

    Args:
        table: Any table.
        columns: Names of columns that are read.

    Raises:
        SchemaError: One of these.

    >>> require_rows(pd.DataFrame({"step": []}), "step")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: this table has no rows; check the filter that emptied it.
    """
    require(table, *columns)
    if table.empty:
        raise SchemaError("this table has no rows; check the filter that emptied it.")


def list_datasets(data: Any) -> list[xr.Dataset]:
    """One Dataset or several, as a list.

    Args:
        data: A Dataset, or any iterable of them.

    Returns:
        Them.

    Raises:
        SchemaError: It is neither.
    """
    if isinstance(data, xr.Dataset):
        return [data]
    if isinstance(data, str | xr.DataArray) or not isinstance(data, Iterable):
        raise SchemaError(f"expected a Dataset, or several; got {excerpt(data)}.")
    return list(data)


def check(table: Any, kind: str) -> Any:
    """Check that a table holds what a function of its kind needs, and return it.

    Args:
        table: A DataFrame (kinds in ``TABLES``) or xarray Dataset (kinds in ``DATASETS``).
        kind: The kind expected; one of ``ARRAYS`` is an xarray DataArray.

    Returns:
        The table itself, so that a call can be wrapped around an argument.

    Raises:
        SchemaError: Columns, variables or dimensions are missing, or the table has no rows.

    >>> row = {"doc": 0, "kind": "hidden", "persona": "", "messages": []}
    >>> check(pd.DataFrame([row]), "corpus")
    Traceback (most recent call last):
    ...
    persona_interp.errors.SchemaError: a corpus table lacks the columns statements; it has doc, \
kind, persona, messages.
    """
    if kind in TABLES:
        _check_table(table, kind)
    elif kind in ARRAYS:
        _check_array(table, kind)
    elif kind in DATASETS:
        _check_dataset(table, kind)
    else:
        raise SchemaError(unknown("schema kind", kind, [*TABLES, *DATASETS, *ARRAYS]))
    return table


def _check_table(table: Any, kind: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise SchemaError(f"a {kind} table is a pandas DataFrame; got {type(table).__name__}.")
    missing = [column for column in TABLES[kind] if column not in table.columns]
    if missing:
        present = ", ".join(map(str, table.columns)) or "no columns"
        raise SchemaError(
            f"a {kind} table lacks the columns {', '.join(missing)}; it has {present}."
        )
    _check_distinct(table)
    check_cells(table, TABLES[kind])
    if table.empty:
        raise SchemaError(
            f"this {kind} table has no rows; make one that has, or check the filter that "
            "emptied it."
        )


def _check_distinct(table: pd.DataFrame) -> None:
    """Refuse a table with two columns of one name, as joins and concat leave them."""
    twice = table.columns[table.columns.duplicated()].tolist()
    if twice:
        raise SchemaError(
            f"column {twice[0]!r} is there twice, and which one is meant cannot be told; keep one: "
            "table.loc[:, ~table.columns.duplicated()]."
        )


def _check_array(array: Any, kind: str) -> None:
    dims = ARRAYS[kind]
    if isinstance(array, xr.DataArray):
        if array.dims == dims and array.size:
            _check_labels(array, kind, LABELS[2:])
            return
        description = f"{array.dims} of sizes {array.shape}"
    else:
        description = type(array).__name__
    raise SchemaError(
        f"{kind} are a DataArray of dims {dims}, as record.mean_difference gives them; got "
        f"{description}. "
        'Picking one name keeps the dim with a list: directions.sel(name=["john"]).'
    )


def _check_dataset(dataset: Any, kind: str) -> None:
    if not isinstance(dataset, xr.Dataset):
        raise SchemaError(f"{kind} come as an xarray Dataset; got {type(dataset).__name__}.")
    for name, dims in DATASETS[kind].items():
        if name not in dataset or dataset[name].dims != dims:
            variables = {name: array.dims for name, array in dataset.data_vars.items()}
            raise SchemaError(
                f"{kind} need a variable '{name}' of dims {dims}; this Dataset holds {variables}."
                f"{_advice(dataset, dims)}"
            )
    if not all(dataset.sizes.values()):
        raise SchemaError(f"these {kind} are empty: sizes {dict(dataset.sizes)}.")
    _check_labels(dataset, kind, LABELS[:2])


def _check_labels(array: Any, kind: str, dims: tuple[str, ...]) -> None:
    """Refuse what does not say which checkpoint, prompt, name or hook a row is of."""
    for dim in dims:
        if dim in array.dims and dim not in array.coords:
            raise SchemaError(
                f"these {kind} do not name their {dim}s; give them a coordinate: "
                f"assign_coords({dim}=[...])."
            )


def _advice(dataset: xr.Dataset, dims: tuple[str, ...]) -> str:
    """How a Dataset of tokens or of heads comes to have these dims; "" if it is neither."""
    if "token" in dataset.dims and "prompt" in dims:
        return (
            " Each token has numbers of its own here; record one row a prompt, "
            "position='mean' or 'last'."
        )
    if "head" in dataset.dims and "d_model" in dims:
        return " Take one head: acts.sel(head=0).rename(d_head='d_model')."
    return ""
