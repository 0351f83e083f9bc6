"""What does a GGUF file say it holds? Its header, read here alone and bounded.

The library that reads such files walks on behind their end without noticing.
"""

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import ModelError, excerpt

MAGIC, VERSIONS = b"GGUF", (2, 3)
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""Formats (``struct``) of its numbers, by their code."""
TEXT, ARRAY = 8, 9
MOST_DIMS = 8


class GgufHeader(NamedTuple):
    """What stands before the weights of a GGUF file.

    Attributes:
        fields: Numbers and texts by name; of an array, its length.
        tensors: Sizes of every tensor, by name.
    """

    fields: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]

    @property
    def n_values(self) -> int:
        """Values of all tensors together."""
        return sum(math.prod(shape) for shape in self.tensors.values())


def read_gguf_header(path: Path) -> GgufHeader:
    """Header of a GGUF file.

    Args:
        path: The file.

    Returns:
        Its fields and tensors.

    Raises:
        ModelError: It is no GGUF file, or is cut or damaged in its header.
    """
    try:
        with (
            path.open("rb") as handle,
            mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _Walk(data).header()
    except OSError as cause:
        raise ModelError(f"{path} cannot be read: {cause.strerror}.") from cause
    # struct.error: its end comes too early
    except (ValueError, struct.error) as cause:
        raise ModelError(
            f"{path} is not a GGUF language model, or is cut or damaged: {cause}. Fetch it again."
        ) from cause


class _Walk:
    """A place in a file that moves on as things are read."""

    def __init__(self, data: Any) -> None:
        self.data, self.place = data, 0

    def header(self) -> GgufHeader:
        """Everything before the weights."""
        if self.data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self.place = 4
        version = self.number("I")
        if version not in VERSIONS:
            raise ValueError(f"its version {version} is none of {VERSIONS}")
        n_tensors, n_fields = self.number("Q"), self.number("Q")
        fields: dict[str, Any] = {}
        for _ in range(n_fields):
            name = self.text()
            if name in fields:
                raise ValueError(f"the field {excerpt(name)} is there twice")
            fields[name] = self.value(self.number("I"))
        tensors: dict[str, tuple[int, ...]] = {}
        ends = [0]
        for _ in range(n_tensors):
            name, n_dims = self.text(), self.number("I")
            if n_dims > MOST_DIMS or name in tensors:
                raise ValueError(f"the tensor {excerpt(name)} has {n_dims} dims, or is there twice")
            tensors[name] = tuple(self.number("Q") for _ in range(n_dims))
            self.number("I")  # its kind of quantization
            ends.append(self.number("Q"))
        if self.place + max(ends) > len(self.data):
            raise ValueError("its last tensor begins behind its end")
        return GgufHeader(fields, tensors)

    def number(self, kind: str) -> Any:
        """The number that stands here."""
        value = struct.unpack_from(f"<{kind}", self.data, self.place)[0]
        self.place += struct.calcsize(f"<{kind}")
        return value

    def text(self) -> str:
        """The text that stands here."""
        start = self.place + 8
        length = self.number("Q")
        if length > len(self.data) - start:
            raise ValueError("a text is longer than the file")
        self.place = start + length
        return self.data[start : self.place].decode("utf-8")

    def value(self, kind: int) -> Any:
        """The value of a field; of an array its length, once all of it is known to be there."""
        if kind == TEXT:
            return self.text()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != ARRAY:
            raise ValueError(f"a field is of the unknown kind {kind}")
        inner, length = self.number("I"), self.number("Q")
        if inner in NUMBERS:
            self.place += length * struct.calcsize(f"<{NUMBERS[inner]}")
        elif inner == TEXT:
            for _ in range(length):
                self.text()
        else:
            raise ValueError(f"an array holds the unknown kind {inner}")
        if self.place > len(self.data):
            raise ValueError("an array is longer than the file")
        return length
