"""What in a table or a Dataset broke a function that did not look for it?

Asked behind a raw error only (``arguments``): what is said here is the first thing that no function
could compute with.
"""

import math
import re
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from persona_interp.errors import excerpt, unknown
from persona_interp.schema.cells import is_number_column

SEVERAL = re.compile(r"(?:Column not found: |\[')([^']*)(?:'.*)?", re.DOTALL)
FILTER = "check the filter that emptied it"


def flaw(value: Any, name: str) -> str | None:
    """Sentence about what is wrong within a table, a Dataset or numbers.

    Args:
        value: An argument.
        name: Of it, for the message.

    Returns:
        The sentence; None where nothing is seen.

    >>> flaw(pd.DataFrame({"lr": [None]}), "curve")
    "column 'lr' of curve= holds nothing, None or NaN in every row; fill it or leave it out."
    """
    if isinstance(value, pd.DataFrame):
        return _of_table(value, name)
    if isinstance(value, xr.Dataset | xr.DataArray):
        return _of_array(value, name)
    if isinstance(value, np.ndarray | list | tuple):
        return _of_numbers(value, name)
    return None


def lack(value: Any, name: str, *, column: Any) -> str | None:
    """Sentence about a table that lacks a column which was looked up.

    Args:
        value: An argument.
        name: Of it, for the message.
        column: What was not found.

    Returns:
        The sentence; None where the argument is no table, or has the column.

    >>> lack(pd.DataFrame({"steps": [1]}), "odds", column="step")
    "column of odds= 'step' is unknown; did you mean 'steps'? Valid: 'steps'."
    """
    if not isinstance(value, pd.DataFrame) or not isinstance(column, str):
        return None
    # pandas says of several columns which are not there in a text
    if match := SEVERAL.fullmatch(column):
        column = match[1]
    if column in value:
        return None
    return unknown(f"column of {name}=", column, map(str, value.columns))


def _of_table(table: pd.DataFrame, name: str) -> str | None:
    if table.empty:
        return f"{name}= has no rows; {FILTER}."
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        return f"column {twice!r} of {name}= is there twice; keep one."
    for column, values in table.items():
        if values.isna().to_numpy().all():
            return (
                f"column {column!r} of {name}= holds nothing, None or NaN in every row; fill it or "
                "leave it out."
            )
        if (
            pd.api.types.is_numeric_dtype(values)
            and np.isinf(values.to_numpy(float, na_value=0.0)).any()
        ):
            return f"column {column!r} of {name}= holds an infinite number; leave such rows out."
        wrong = [v for v in values if isinstance(v, str)] if is_number_column(str(column)) else []
        if wrong:
            return f"column {column!r} of {name}= holds numbers; got {excerpt(wrong[0])}."
    if _is_repeated(table):
        return f"every row of {name}= is there more than once; drop_duplicates() keeps one."
    return None


def _is_repeated(table: pd.DataFrame) -> bool:
    return bool(table.astype(str).duplicated(keep=False).all()) and len(table) > 1


def _of_array(array: xr.Dataset | xr.DataArray, name: str) -> str | None:
    for dim, size in array.sizes.items():
        if not size:
            return f"{name}= is empty along {dim!r}; {FILTER}."
        if dim not in array.coords and dim in ("checkpoint", "prompt", "name", "feature", "hook"):
            return f"{name}= does not name its {dim}s; assign_coords({dim}=[...]) does."
    parts = array.data_vars.values() if isinstance(array, xr.Dataset) else [array]
    for part in parts:
        if part.dtype.kind == "f" and not np.isfinite(part.to_numpy()).any():
            return f"{name}= holds no finite number; look at how it was recorded."
    return None


def _of_numbers(values: Any, name: str) -> str | None:
    if not len(values):
        return f"{name}= is empty; {FILTER}."
    numbers = [v for v in np.ravel(np.asarray(values, dtype=object)) if isinstance(v, Real)]
    if any(math.isnan(v) for v in numbers):
        return f"{name}= holds NaN; leave it out."
    if numbers and len(numbers) < len(np.ravel(np.asarray(values, dtype=object))):
        return f"{name}= mixes numbers with something else: {excerpt(values)}."
    return None
