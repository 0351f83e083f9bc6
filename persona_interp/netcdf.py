"""Does a NetCDF file hold what it claims? HDF5 believes whatever is written in it."""

import platform
import struct
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from persona_interp.files import most_unpacked

# h5py asks for the name of this machine's processor when it is imported, and Python starts
# `uname -p` to find it; what is known already is not asked for.
_machine = vars(platform.uname())
_machine.setdefault("processor", "")
import h5py  # noqa: E402

_machine.pop("processor")

HEAP = b"GCOL\x01\0\0\0"
"""How a heap of texts begins."""
MOST_GROUPS = 2**20


def check_netcdf(path: Path | str) -> None:
    """Refuse a file whose arrays claim to be much larger than it is, before any is read.

    Args:
        path: A NetCDF file, which is an HDF5 file.

    Raises:
        ValueError: It claims more than its size allows, or its heaps of texts are damaged.
        OSError: It is no HDF5 file.
    """
    size, claims = Path(path).stat().st_size, 0
    _check_heaps(path)
    with h5py.File(path, "r") as file:
        groups: list[Any] = [file["/"]]
        for group in groups:  # grows while it is read
            for name in group:
                entry = group[name]
                if isinstance(entry, h5py.Group):
                    groups.append(entry)
                elif isinstance(entry, h5py.Dataset):
                    claims += (entry.size or 0) * entry.dtype.itemsize
                    claims += _claimed_texts(path, entry)
            if len(groups) > MOST_GROUPS or claims > most_unpacked(size):
                raise ValueError(f"its {size:,} bytes claim {claims / 2**20:,.0f} MiB of arrays")


def _check_heaps(path: Path | str) -> None:
    """Refuse a file whose heaps of texts are damaged; HDF5 walks some of them without an end."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        start = data.find(HEAP)
        while start >= 0:
            (length,) = struct.unpack_from("<Q", data, start + 8)
            place, stop = start + 16, start + length
            # entries are a number (0: the rest is free), their length at byte 8, and their bytes
            while place + 16 <= stop <= len(data):
                number, length = struct.unpack_from("<H6xQ", data, place)
                place += length if number == 0 else 16 + -(-length // 8) * 8
                if number == 0 and place != stop:
                    break
            if place > stop or place + 16 <= stop:
                raise ValueError(f"the texts at byte {start:,} are damaged")
            start = data.find(HEAP, start + 8)


def _claimed_texts(path: Path | str, array: h5py.Dataset) -> int:
    """Bytes that texts in an array claim to have; HDF5 itself believes four gigabytes of one."""
    place = array.id.get_offset()
    if array.dtype.kind != "O" or place is None:
        return 0
    # each is its length, and the place of its bytes in the file: 4, 8 and 4 bytes
    with Path(path).open("rb") as file:
        file.seek(place)
        data = file.read(16 * (array.size or 0))
    words = np.frombuffer(data[: len(data) // 16 * 16], dtype="<u4")
    return int(words[::4].astype(np.int64).sum())
