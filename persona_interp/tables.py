"""How do tables reach the disk, whole or not at all?

Every artifact is written to a hidden temporary name beside its target, fsynced and renamed: a
killed writer leaves the old file or the new one, never half of one. Equal tables are equal bytes,
so that a rerun can be compared by checksum. DataFrames are parquet, labelled arrays NetCDF,
configurations JSON; no reader here can execute what it reads.
"""

import io
import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from persona_interp import files
from persona_interp.errors import SchemaError, StoreError, excerpt
from persona_interp.files import MOST_UNPACKED, atomic, most_unpacked
from persona_interp.netcdf import check_netcdf

FREE_ROWS = 2**27
"""Rows may always unpack to so many bytes."""
FREE_CELLS = 1_000_000
"""A table may always have so many cells; above it, see ``MOST_UNPACKED``."""
MOST_HEADER, MOST_COLUMNS = 2**26, 2**20
"""Most bytes of a text in a parquet header, and most entries of a list in it."""
IDS: dict[Any, Any] = {"commit": str, "cell": str, "sha256": str}
"""Columns of a CSV that name something in hexadecimal: 024e174 is a commit, not a large number."""
BATCH = 1024
"""Rows unpacked at once."""
VERIFY = "`persona-interp verify RUN` names corrupt files of a run."
MOST_REASON = 300
"""Most characters of a library's own words."""


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
    with _border(path, "parquet"):
        _check_parquet(path)
        table = pd.read_parquet(path, engine="pyarrow")
        nested = [field for field in pq.read_schema(path) if pa.types.is_list(field.type)]
        if not nested:
            return table
        arrow = pq.read_table(path)
    # pandas gives nested columns back as numpy arrays, which compare element by element; the
    # schema's tables hold lists of messages (structs) and tuples of labels.
    for field in nested:
        sequence = list if pa.types.is_struct(field.type.value_type) else tuple
        rows = [row if row is None else sequence(row) for row in arrow[field.name].to_pylist()]
        table[field.name] = pd.Series(rows, index=table.index, dtype=object)
    return table


def read_rows(path: Path | str) -> list[dict[str, Any]]:
    """Rows of anybody's parquet file.

    Args:
        path: The file.

    Returns:
        One dict a row, of lists, dicts and plain values.

    Raises:
        SchemaError: The file is missing, not parquet, has no rows, or holds more than is read.

    >>> import tempfile
    >>> table = pd.DataFrame({"text": ["a", None]})
    >>> read_rows(write_table(table, Path(tempfile.mkdtemp()) / "t.parquet"))
    [{'text': 'a'}, {'text': None}]
    """
    rows: list[dict[str, Any]] = []
    size = 0
    with _border(path, "parquet", of_run=False):
        path = Path(path).expanduser()
        file = _check_parquet(path)
        columns = _columns(file.schema_arrow)
        for batch in file.iter_batches(batch_size=BATCH, columns=list(columns)):
            size += batch.nbytes
            # texts that all rows share, such as a system message, are in the file once
            if size > max(FREE_ROWS, most_unpacked(path.stat().st_size)):
                raise ValueError(f"it unpacks to more than {size / 2**20:,.0f} MiB")
            rows += batch.rename_columns(list(columns.values())).to_pylist()
        if not rows:
            raise ValueError("it has no rows")
    return rows


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
    with _border(path, "NetCDF"):
        check_netcdf(path)
        return xr.load_dataset(path, engine="h5netcdf")


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
        raise StoreError(f"{_unreadable_message(path, 'JSON', error)}; {VERIFY}") from error


def read_csv(path: Path | str, *, texts: Iterable[str] = ()) -> pd.DataFrame:
    """A table from a CSV file, such as those beside a figure.

    Args:
        path: The file.
        texts: Columns that hold texts, whatever these look like; those that are not there are
            none.

    Returns:
        The table; an empty cell is a text, NaN a number, and a column of ``IDS`` is texts.

    Raises:
        StoreError: It cannot be read.
    """
    with _border(path, "CSV"):
        text = files.read_text(path)
        # a table that is beside a figure has one header, and rows of as many cells
        return pd.read_csv(
            io.StringIO(text),
            keep_default_na=False,
            na_values=["NaN", "nan"],
            index_col=False,
            converters=IDS | dict.fromkeys(texts, str),
        )


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


@contextmanager
def _border(path: Path | str, kind: str, *, of_run: bool = True) -> Iterator[None]:
    """Turn whatever a foreign library raises on a damaged file into one error.

    A file of a run is damaged, which ``verify`` finds; anybody's own is not what was expected.
    """
    try:
        with warnings.catch_warnings():
            # what a library warns of in a file that it reads is nobody's to mend
            warnings.simplefilter("ignore")
            yield
    # of whatever class: libraries raise KeyError, TypeError, struct.error and their own
    except Exception as error:
        message = _unreadable_message(path, kind, error)
        raise (
            StoreError(f"{message}; {VERIFY}") if of_run else SchemaError(f"{message}.")
        ) from error


def _columns(fields: pa.Schema) -> dict[str, str]:
    """Columns of a file's rows, and what they are called."""
    names = list(fields.names)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the column {excerpt(twice[0])} is there twice")
    columns = {}
    for name in names:
        if not name.startswith("__index_level"):
            columns[name] = name
        # pandas keeps the numbers of rows in a column without a name, but names of rows too
        elif not pa.types.is_integer(fields.field(name).type):
            columns[name] = name if "index" in {*names, *columns.values()} else "index"
    return columns


def _check_parquet(path: Path | str) -> pq.ParquetFile:
    """Refuse a file that claims more than is read, before anything is unpacked."""
    size = Path(path).stat().st_size
    file = pq.ParquetFile(
        path, thrift_string_size_limit=MOST_HEADER, thrift_container_size_limit=MOST_COLUMNS
    )
    meta = file.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    claims = sum(max(group.total_byte_size, 0) for group in groups)
    # rows of nothing cost no bytes, so cells are counted too
    cells = meta.num_rows * max(meta.num_columns, 1)
    if (
        meta.num_rows < 0
        or claims > most_unpacked(size)
        or cells > max(FREE_CELLS, MOST_UNPACKED * size)
    ):
        raise ValueError(
            f"its {size:,} bytes claim {meta.num_rows:,} rows and {claims / 2**20:,.0f} MiB"
        )
    return file


def _unreadable_message(path: Path | str, kind: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    reason = reason if len(reason) <= MOST_REASON else f"{reason[: MOST_REASON - 1]}…"
    return f"{path} is not a readable {kind} file ({reason})"
