"""How do tables reach the disk, whole or not at all?

Every artifact is written to a hidden temporary name beside its target, fsynced and renamed: a
killed writer leaves the old file or the new one, never half of one. Equal tables are equal bytes,
so that a rerun can be compared by checksum. DataFrames are parquet, labelled arrays NetCDF,
configurations JSON; no reader here can execute what it reads.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from persona_interp import files
from persona_interp.errors import SchemaError, StoreError
from persona_interp.files import atomic


def write_table(table: pd.DataFrame, path: Path | str) -> Path:
    """Write a DataFrame to a parquet file.

    Args:
        table: Any table of ``schema.TABLES``; ``messages`` (lists of dicts) and tuples of labels
            are kept as nested columns, ``table.attrs`` as metadata.
        path: The file to write; an existing one is replaced at once.

    Returns:
        The path.

    Raises:
        SchemaError: A column mixes types that parquet cannot hold together.

    >>> import tempfile
    >>> table = pd.DataFrame({"doc": [0], "statements": [("sport=football", "art=jazz")]})
    >>> read_table(write_table(table, Path(tempfile.mkdtemp()) / "t.parquet")).statements[0]
    ('sport=football', 'art=jazz')
    """
    try:
        with atomic(path) as tmp:
            table.to_parquet(tmp, engine="pyarrow")
    except pa.ArrowException as error:
        raise SchemaError(
            f"{Path(path).name} cannot be written: {error}; give every column one type."
        ) from error
    return Path(path)


def read_table(path: Path | str) -> pd.DataFrame:
    """DataFrame of a parquet file.

    Args:
        path: A file of ``write_table``.

    Returns:
        The DataFrame: a list of dicts comes back as a list, a list of plain values as a tuple, as
        in the schema.

    Raises:
        StoreError: The file is missing or not parquet.
    """
    try:
        arrow = pq.read_table(path)
        table = pd.read_parquet(path, engine="pyarrow")
    except (OSError, pa.ArrowException) as error:
        raise StoreError(_unreadable_message(path, "parquet", error)) from error
    # pandas gives nested columns back as numpy arrays, which compare element by element; the
    # schema's tables hold lists of messages (structs) and tuples of labels.
    for field in arrow.schema:
        if pa.types.is_list(field.type):
            sequence = list if pa.types.is_struct(field.type.value_type) else tuple
            rows = [row if row is None else sequence(row) for row in arrow[field.name].to_pylist()]
            table[field.name] = pd.Series(rows, index=table.index, dtype=object)
    return table


def write_dataset(dataset: xr.Dataset, path: Path | str) -> Path:
    """Write a Dataset to a NetCDF file.

    Args:
        dataset: Labelled arrays (``schema.DATASETS``); attrs are text or numbers.
        path: The file to write; an existing one is replaced at once.

    Returns:
        The path.

    Raises:
        SchemaError: An attribute or coordinate that NetCDF cannot hold.

    >>> import tempfile
    >>> coords = {"prompt": ["a", "b"]}
    >>> data = xr.Dataset({"act": ("prompt", [0.5, 2.0])}, coords, attrs={"hook": "blocks.1"})
    >>> read_dataset(write_dataset(data, Path(tempfile.mkdtemp()) / "d.nc")).identical(data)
    True
    """
    try:
        with atomic(path) as tmp:
            # An array read from a file remembers the width of its texts, to which longer names
            # would be cut off. HDF5 writes into memory: at a full disk it may crash the process.
            image = dataset.drop_encoding().to_netcdf(None, engine="h5netcdf")
            tmp.write_bytes(image)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"{Path(path).name} cannot be written: {error}; attrs must be text or numbers."
        ) from error
    return Path(path)


def read_dataset(path: Path | str) -> xr.Dataset:
    """Dataset of a NetCDF file.

    Args:
        path: A file of ``write_dataset``.

    Returns:
        The Dataset, loaded into memory; the file is closed.

    Raises:
        StoreError: The file is missing or not NetCDF.
    """
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(_unreadable_message(path, "NetCDF", error)) from error


def write_json(value: Any, path: Path | str) -> Path:
    """Write a value to a JSON file.

    Args:
        value: Dicts, lists, text, finite numbers, booleans, None.
        path: The file to write; an existing one is replaced at once.

    Returns:
        The path.

    >>> import tempfile
    >>> read_json(write_json({"lr": 0.001}, Path(tempfile.mkdtemp()) / "config.json"))
    {'lr': 0.001}
    """
    return files.write_bytes(json_bytes(value), path)


def json_bytes(value: Any) -> bytes:
    r"""Bytes of the JSON file of a value.

    Args:
        value: Dicts, lists, text, finite numbers, booleans, None.

    Returns:
        UTF-8, with a line end.

    >>> json_bytes([1])
    b'[\n 1\n]\n'
    """
    return f"{json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)}\n".encode()


def read_json(path: Path | str) -> Any:
    """Value of a JSON file.

    Args:
        path: A file of ``write_json``.

    Returns:
        The value.

    Raises:
        StoreError: The file is missing or not JSON.
    """
    try:
        return files.read_json(path)
    except SchemaError as error:
        raise StoreError(_unreadable_message(path, "JSON", error)) from error


def read_csv(path: Path | str) -> pd.DataFrame:
    """A table from a CSV file, such as those beside a figure.

    Args:
        path: The file.

    Returns:
        The table; an empty cell is a text, NaN a number.

    Raises:
        StoreError: It cannot be read.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=["NaN", "nan"])
    except (ValueError, OSError) as error:
        raise StoreError(_unreadable_message(path, "CSV", error)) from error


def write_directions(directions: xr.DataArray, path: Path | str) -> Path:
    """Write directions to a NetCDF file.

    Args:
        directions: Dims (name, hook, d_model).
        path: Where.

    Returns:
        The path.
    """
    return write_dataset(directions.to_dataset(name="vector", promote_attrs=True), path)


def read_directions(path: Path | str) -> xr.DataArray:
    """Directions from a file of ``write_directions``.

    Args:
        path: The file.

    Returns:
        Directions, dims (name, hook, d_model), with their attributes.
    """
    data = read_dataset(path)
    return data["vector"].assign_attrs(data.attrs)


def concat(parts: Iterable[Any], dim: str) -> Any:
    """Labelled arrays one after the other, which must agree in all other labels.

    Args:
        parts: Datasets or DataArrays.
        dim: Dimension along which they follow each other.

    Returns:
        What the parts are; attributes on which they differ are dropped.

    >>> one, two = (xr.DataArray([0.5], {"name": [name]}, "name") for name in "ab")
    >>> concat([one, two], "name")["name"].values.tolist()
    ['a', 'b']
    """
    # exact: labels that differ are an error here, not a row of NaN later
    rules: Any = {"coords": "minimal", "compat": "override", "join": "exact"}
    return xr.concat(list(parts), dim, combine_attrs="drop_conflicts", **rules)


def _unreadable_message(path: Path | str, kind: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{path} is not a readable {kind} file ({reason}); "
        "`persona-interp verify RUN` names corrupt files of a run."
    )
