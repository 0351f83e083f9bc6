"""How do rows of numbers get to the disk so that a kill at any moment loses next to nothing?

A shard is one safetensors file: document and position of every row, then the rows. It grows under
a hidden name; beside it a journal says how many rows are safely there and what their bytes hash to.
A complete shard takes its name and is never touched again; its journal stays as its record. The
index (parquet) lists the records, and is made again from them whenever it is not as it was written.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.files import atomic, fsync
from persona_interp.models.cache import hash_file, keep, read_kept, short_hash
from persona_interp.models.dtype import FULL, HALF

INDEX = "index.parquet"
JOURNAL = 2**22
"""Bytes written after which the journal is brought up to date."""
STORED = {FULL: ("F32", "<f4"), HALF: ("BF16", "<i2")}
"""Name in a safetensors header, and what numpy reads, by dtype; numpy has no bfloat16."""
HASH = b"sha256"
INDEX_SCHEMA = pa.schema(
    [
        ("shard", pa.int64()),
        ("file", pa.string()),
        ("start", pa.int64()),
        ("rows", pa.int64()),
        ("sha256", pa.string()),
    ]
)


class Shape(NamedTuple):
    """What all shards of a recording share.

    Attributes:
        address: What was recorded, as a hash.
        d_model: Width of a row.
        dtype: "float32" or "bfloat16".
        n: Rows in all.
        shard_rows: Rows of a shard; of the last what is left.
    """

    address: str
    d_model: int
    dtype: str
    n: int
    shard_rows: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.d_model * (4 if self.dtype == FULL else 2)

    @property
    def n_shards(self) -> int:
        """How many shards there are when all is recorded."""
        return -(-self.n // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Rows of a shard."""
        return min(self.shard_rows, self.n - shard * self.shard_rows)

    def header(self, shard: int) -> bytes:
        """Beginning of a shard's file: how long the header is, and where each array lies."""
        n = self.rows_of(shard)
        places, ends = 4 * n, (4 * n, 8 * n, 8 * n + n * self.row_bytes)
        about = {"address": self.address, "shard": str(shard)}
        arrays: dict[str, Any] = {
            "__metadata__": about,
            "doc": {"dtype": "I32", "shape": [n], "data_offsets": [0, places]},
            "pos": {"dtype": "I32", "shape": [n], "data_offsets": [ends[0], ends[1]]},
            "acts": {
                "dtype": STORED[self.dtype][0],
                "shape": [n, self.d_model],
                "data_offsets": [ends[1], ends[2]],
            },
        }
        text = json.dumps(arrays).encode()
        text += b" " * (-len(text) % 8)  # so that arrays begin at multiples of eight
        return len(text).to_bytes(8, "little") + text

    def acts_at(self, shard: int) -> int:
        """Byte of a shard's file at which its rows begin."""
        return len(self.header(shard)) + 8 * self.rows_of(shard)


def shard_file(folder: Path, shard: int) -> Path:
    """File of a complete shard."""
    return folder / f"{shard:06d}.safetensors"


def record_file(folder: Path, shard: int) -> Path:
    """Record of a shard: rows that are safely there, and the hash of its bytes so far."""
    return folder / f"{shard:06d}.json"


class Writer:
    """Rows that are appended to the shards of a recording, from where the last writer stopped.

    Args:
        folder: Folder of the recording.
        shape: What its shards share.
        docs: Document of every row.
        pos: Position of every row in its document.
    """

    def __init__(
        self, folder: Path, shape: Shape, docs: npt.NDArray[np.int32], pos: npt.NDArray[np.int32]
    ) -> None:
        self.folder, self.shape, self.docs, self.pos = folder, shape, docs, pos
        self._handle: Any = None
        self._advance(0)

    def _advance(self, shard: int) -> None:
        """Go to the first shard from here on that is not complete."""
        while shard < self.shape.n_shards and shard_file(self.folder, shard).exists():
            shard += 1
        self._shard, self._rows, self._unsaved = shard, 0, 0
        if shard < self.shape.n_shards:
            self._open()

    @property
    def next(self) -> int:
        """Number of the row that is written next."""
        return min(self.shape.n, self._shard * self.shape.shard_rows + self._rows)

    @property
    def _part(self) -> Path:
        return self.folder / f".{self._shard:06d}.part"

    def _open(self) -> None:
        """Continue the shard that was being written, or begin it."""
        start = self.shape.header(self._shard)
        first = self._shard * self.shape.shard_rows
        own = slice(first, first + self.shape.rows_of(self._shard))
        start += self.docs[own].astype("<i4").tobytes() + self.pos[own].astype("<i4").tobytes()
        record = read_kept(record_file(self.folder, self._shard))
        known = record["rows"] if record else 0
        size = len(start) + known * self.shape.row_bytes
        self._hash = hashlib.sha256()
        is_there = known > 0 and self._part.is_file() and self._part.stat().st_size >= size
        self._handle = self._part.open("r+b" if is_there else "w+b")
        if is_there:
            # what came after the last journal may be half written
            self._handle.truncate(size)
            for piece in iter(lambda: self._handle.read(2**20), b""):
                self._hash.update(piece)
            is_there = record is not None and self._hash.hexdigest() == record["sha256"]
        self._rows = known if is_there else 0
        if not is_there:
            self._handle.seek(0)
            self._handle.truncate()
            self._hash = hashlib.sha256(start)
            self._handle.write(start)

    def append(self, rows: Tensor, at: int) -> None:
        """Write those of some rows that are not there yet; full shards are closed on the way.

        Args:
            rows: Dims (row, d_model).
            at: Number of the first.
        """
        while at <= self.next < at + len(rows):
            room = self.shape.rows_of(self._shard) - self._rows
            part = rows[self.next - at :][:room]
            data = _bytes(part, self.shape.dtype)
            self._handle.write(data)
            self._hash.update(data)
            self._rows += len(part)
            self._unsaved += len(data)
            if self._rows == self.shape.rows_of(self._shard):
                self._finish()
            elif self._unsaved >= JOURNAL:
                self.save()

    def save(self) -> None:
        """Bring the journal up to date: rows on the disk first, then what it says of them."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        record = {"rows": self._rows, "sha256": self._hash.hexdigest()}
        keep(record, record_file(self.folder, self._shard))
        self._unsaved = 0

    def _finish(self) -> None:
        """Close a full shard, give it its name, and begin the next."""
        self.save()
        self._handle.close()
        os.replace(self._part, shard_file(self.folder, self._shard))  # noqa: PTH105
        fsync(self.folder)
        self._handle = None
        self._advance(self._shard + 1)

    def close(self) -> None:
        """Stop here; whoever records again goes on from here."""
        if self._handle is not None:
            self.save()
            self._handle.close()


def _bytes(rows: Tensor, dtype: str) -> bytes:
    """Rows as they lie in a file."""
    rows = rows.to(getattr(torch, dtype)).contiguous()
    return (rows if dtype == FULL else rows.view(torch.int16)).numpy().tobytes()


def read_index(folder: Path, shape: Shape) -> pd.DataFrame:
    """Index of the complete shards, made again where it is not as it was written.

    Args:
        folder: Folder of a recording.
        shape: What its shards share.

    Returns:
        One row a shard: ``shard``, ``file``, ``start`` and ``rows`` (numbers of rows), ``sha256``.

    Raises:
        ModelError: A shard has no record, so that nothing says whether it is as it was written.
    """
    index = read_parquet(folder / INDEX)
    shards = [k for k in range(shape.n_shards) if shard_file(folder, k).is_file()]
    if index is not None and index["shard"].tolist() == shards:
        return index
    rows = []
    for shard in shards:
        record = read_kept(record_file(folder, shard))
        n = shape.rows_of(shard)
        if record is None or record.get("rows") != n:
            file = shard_file(folder, shard)
            raise ModelError(
                f"{file} has no record of its hash: {folder / INDEX} and "
                f"{record_file(folder, shard).name} are damaged or gone. Remove {file.name}, and "
                "keep_activations records it again."
            )
        file = shard_file(folder, shard).name
        rows.append((shard, file, shard * shape.shard_rows, n, record["sha256"]))
    index = pd.DataFrame(rows, columns=INDEX_SCHEMA.names)
    write_index(index, folder)
    return index


def write_index(index: pd.DataFrame, folder: Path) -> None:
    """Write an index with the hash of what it says.

    Args:
        index: The index.
        folder: Folder of a recording.
    """
    table = pa.Table.from_pandas(index, INDEX_SCHEMA, preserve_index=False)
    with atomic(folder / INDEX) as tmp:
        pq.write_table(table.replace_schema_metadata({HASH: _hash(index).encode()}), tmp)


def read_parquet(path: Path) -> pd.DataFrame | None:
    """Read an index.

    Args:
        path: Its file.

    Returns:
        The index; None where it is not there or not as it was written.
    """
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path, schema=INDEX_SCHEMA, memory_map=False)
        said = pq.read_schema(path).metadata[HASH]
        index = table.to_pandas()
        return index if said == _hash(index).encode() else None
    # of a damaged file pyarrow raises its own kinds and Python's, and pandas follows it
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError):
        return None


def _hash(index: pd.DataFrame) -> str:
    return short_hash(index.to_dict("list"))


def check_shards(folder: Path, shape: Shape, index: pd.DataFrame) -> None:
    """Refuse a shard whose bytes are not those that were written.

    Args:
        folder: Folder of a recording.
        shape: What its shards share.
        index: Its index.

    Raises:
        ModelError: One is gone or changed; it is named.
    """
    columns = (index[name].tolist() for name in ("shard", "file", "sha256"))
    for shard, name, sha256 in zip(*columns, strict=True):
        file, header = folder / name, shape.header(shard)
        if file.is_file() and hash_file(file).hex() == sha256:
            with file.open("rb") as handle:
                if handle.read(len(header)) == header:
                    continue
        raise ModelError(
            f"{file} is {'not as it was written' if file.is_file() else 'gone'}: remove it and "
            f"{record_file(folder, shard).name}, and keep_activations records it again."
        )


def map_shards(folder: Path, shape: Shape, name: str) -> Iterator[npt.NDArray[Any]]:
    """Yield an array of each shard, mapped into memory and not read.

    Args:
        folder: Folder of a recording.
        shape: What its shards share.
        name: "acts" (bfloat16 as whole numbers of 16 bits), "doc" or "pos".

    Yields:
        Dims (row, d_model) or (row,).
    """
    for shard in range(shape.n_shards):
        n, start = shape.rows_of(shard), len(shape.header(shard))
        file = shard_file(folder, shard)
        if name == "acts":
            kind, dims = STORED[shape.dtype][1], (n, shape.d_model)
            start = shape.acts_at(shard)
        else:
            kind, dims = "<i4", (n,)
            start += 4 * n * (name == "pos")
        yield np.memmap(file, dtype=kind, mode="r", offset=start, shape=dims)
