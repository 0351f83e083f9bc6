"""Plausible wrong values of one argument: what a first user gives instead of the right one."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

OTHER = pd.DataFrame({"colour": ["red", "blue"], "weight": [1.0, 2.0]})
"""A table of no function of this package."""
ANYTHING: tuple[Any, ...] = (None, 3, -0.5, math.nan, "nonsense", "", [], [3], {}, OTHER, object())
NUMBERS: tuple[Any, ...] = (0, -1, 2.5, math.nan, math.inf, -math.inf, "3", True, [1], None)


def wrong_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what may come instead of a valid value, with a name for each.

    Args:
        value: A valid one.

    Yields:
        Name and wrong value; another type first, then what is wrong inside.
    """
    for other in ANYTHING:
        yield f"{type(other).__name__} {str(other)[:12]!r}", other
    if isinstance(value, pd.DataFrame):
        yield from _wrong_tables(value)
    elif isinstance(value, xr.Dataset | xr.DataArray):
        yield from _wrong_arrays(value)
    elif isinstance(value, np.ndarray):
        yield "transposed", value.T[..., None]
        yield "texts", value.astype(str)
        yield "empty", value[:0]
        yield "NaN", np.full(value.shape, math.nan)
    elif isinstance(value, bool | int | float | np.number):
        yield from ((f"number {other!r}", other) for other in NUMBERS)
        yield "numpy", np.asarray(value)[()]
    elif isinstance(value, str | Path):
        yield "a list of one", [value]
        yield "a path that is not there", Path("not") / "there"
        yield "a folder", Path()
        yield "bytes", str(value).encode()
    elif isinstance(value, Mapping):
        yield "its values", list(value.values())
        yield "without values", dict.fromkeys(value)
        yield "numbers for names", dict(enumerate(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _wrong_lists(value)


def _wrong_lists(value: Any) -> Iterator[tuple[str, Any]]:
    entries = list(value)
    yield "empty", type(value)()
    if entries:
        yield "one entry alone", entries[0]
        yield "an entry twice", type(value)([*entries, entries[0]])
        yield "None within", type(value)([*entries[1:], None])
        yield "numbers within", type(value)([*entries[1:], math.nan])
        yield "a table within", [*entries[1:], OTHER]


def _wrong_tables(table: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    yield "a path", "table.parquet"
    yield "a list of tables", [table]
    yield "rows as dicts", table.to_dict("records")
    yield "no rows", table.head(0)
    yield "a column there twice", table.iloc[:, [*range(table.shape[1]), 0]]
    yield "one row", table.head(1)
    yield "every row twice", pd.concat([table, table])
    for column in table.columns:
        yield f"without {column}", table.drop(columns=[column])
        yield f"None in {column}", table.assign(**{column: None})
        if pd.api.types.is_numeric_dtype(table[column]):
            yield f"text in {column}", table.assign(**{column: "n/a"})
            yield f"NaN in {column}", table.assign(**{column: math.nan})
            first = table[column].astype(float)
            yield f"one inf in {column}", table.assign(**{column: [math.inf, *first[1:]]})
        else:
            yield f"numbers in {column}", table.assign(**{column: 1.5})


def _wrong_arrays(array: Any) -> Iterator[tuple[str, Any]]:
    yield "a path", "acts.nc"
    yield "numbers only", np.asarray(array.to_array() if isinstance(array, xr.Dataset) else array)
    yield (
        "the other kind",
        array.to_dataset(name="x")
        if isinstance(array, xr.DataArray)
        else (next(iter(array.data_vars.values()))),
    )
    for dim in array.dims:
        yield f"another name of {dim}", array.rename({dim: "axis"})
        yield f"nothing along {dim}", array.isel({dim: slice(0)})
        yield f"one along {dim}", array.isel({dim: slice(1)})
        yield f"without {dim}", array.isel({dim: 0})
    for name in list(array.coords):
        yield f"no coordinate {name}", array.drop_vars(name)
    floats = array.astype(float) * math.nan if _is_numeric(array) else array
    yield "NaN", floats


def _is_numeric(array: Any) -> bool:
    parts = array.data_vars.values() if isinstance(array, xr.Dataset) else (array,)
    return all(np.issubdtype(part.dtype, np.number) for part in parts)
