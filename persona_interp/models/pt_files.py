"""What does a ``.pt`` file of another tool hold? Read without executing anything in it.

The one way from such a file to tensors. Before torch opens it, its ZIP directory and the pickle in
it are read as data: what would unpack to more than the file's own size warrants, or names anything
but dense tensors, is refused there. Afterwards the tensors are added up, since a view may claim any
number of elements of a small storage.
"""

import io
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from persona_interp.errors import LONGEST, N_CHOICES, ModelError, excerpt
from persona_interp.files import FREE_BYTES, atomic, plain_file
from persona_interp.values import MOST_DEPTH

Rows = npt.NDArray[np.float32]

MOST_UNPACKED = 4
"""How many times its own size a file may unpack to; ``torch.save`` does not compress."""
MOST_DIRECTORY = 2**22
"""Largest directory of a ZIP file: 70,000 entries."""
MOST_PICKLE = 2**24
"""Largest pickle beside the tensors."""
MOST_STEPS = 700_000
"""Most steps of a pickle: 24,000 tensors."""
MOST_REASON = 200
"""Most characters that a message quotes of torch."""
ZIP, ZIP_END, ZIP64_END = b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"
LEGACY = 0x1950A86A20F9469CFC6C
"""Number with which files of torch before 1.6 begin; five pickles follow, then the tensors."""
NAMES = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch.nn.parameter Parameter",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
}
"""What a pickle of dense tensors asks for, besides storages and dtypes."""
NUMBERS = re.compile(r"torch (\w+Storage|(bfloat|float|u?int)\d+|bool)|torch.storage \w+Storage")


def load_tensors(path: str | Path) -> Any:
    """Content of a ``.pt`` file.

    Args:
        path: The file.

    Returns:
        Dense tensors, numbers, texts, and lists and dicts of them.

    Raises:
        ModelError: The file is missing or broken, unpacks to far more than its size, or needs code
            to be run, which is never done.
    """
    path = plain_file(path, error=ModelError)
    try:
        with path.open("rb") as file:
            _check_pickles(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are read or fail
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check_content(content, most=_most_bytes(path.stat().st_size))
    except Exception as error:  # whatever a broken or hostile file raises
        raise ModelError(
            f"{path} cannot be read as dense tensors, numbers and texts; nothing else is loaded, "
            f"because a pickle can run any code: {_reason(error)}."
        ) from error
    return content


def _most_bytes(size: int) -> int:
    return max(FREE_BYTES, MOST_UNPACKED * size)


def _reason(error: Exception) -> str:
    """Reason why a file is not loaded, without torch's advice to lift the restriction."""
    text = str(error)
    if code := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {code[1].rstrip('.')}"
    if "weights_only" in text or not text:
        return type(error).__name__
    return text.split("\n")[0][:MOST_REASON].rstrip(".")


def _check_pickles(file: IO[bytes]) -> None:
    """Refuse a file that would unpack to too much, or whose pickles ask for more than tensors."""
    start = file.read(len(ZIP))
    if start == ZIP:
        _check_archive(file)
        return
    # older files: five pickles in a row, then the bare numbers
    pickles = io.BytesIO(start + file.read(MOST_PICKLE))
    if LEGACY not in [argument for _, argument in _steps(pickles)]:
        raise ValueError("torch.save did not write it")
    for _ in range(4):
        _check_names(pickles)


def _check_archive(file: IO[bytes]) -> None:
    size = file.seek(0, io.SEEK_END)
    if _directory_bytes(file, size) > MOST_DIRECTORY:
        raise ValueError("its directory lists too many parts")
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        unpacked = sum(part.file_size for part in parts)
        if unpacked > _most_bytes(size):
            raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}")
        # torch ignores case in names of parts
        for part in parts:
            if part.filename.lower().endswith("data.pkl"):
                if part.file_size > MOST_PICKLE:
                    raise ValueError(f"its pickle has {part.file_size:,} bytes")
                _check_names(io.BytesIO(archive.read(part)))


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """Size of a ZIP file's directory, which ``zipfile`` reads whole whatever it is."""
    file.seek(max(0, size - 98))
    tail = file.read()
    # the records that close a file: 56 bytes, 20 bytes and 22 bytes; torch writes no comment
    if tail[-22:-18] != ZIP_END:
        raise ValueError("it ends in the middle")
    if tail[-98:-94] == ZIP64_END:
        return struct.unpack("<Q", tail[-58:-50])[0]
    return struct.unpack("<I", tail[-10:-6])[0]


def _steps(pickle: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield name and argument of every step of a pickle; nothing is run."""
    for number, (step, argument, _) in enumerate(pickletools.genops(pickle)):
        if number == MOST_STEPS:
            raise ValueError(f"its pickle takes more than {MOST_STEPS:,} steps")
        yield step.name, argument


def _check_names(pickle: IO[bytes]) -> None:
    """Refuse a pickle that names anything but dense tensors."""
    for step, argument in _steps(pickle):
        if step in ("GLOBAL", "INST") and argument not in NAMES and not NUMBERS.fullmatch(argument):
            raise ValueError(f"it asks for {excerpt(argument.replace(' ', '.'))[1:-1]}")


def _check_content(content: Any, *, most: int) -> None:
    """Refuse values nested too deep or too many, and tensors that repeat a small storage."""
    total = n_values = 0
    level = [content]
    for _ in range(MOST_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            parts: Sequence[Any] = ()
            if isinstance(item, torch.Tensor):
                total += _tensor_bytes(item)
            elif isinstance(item, Mapping):
                parts = [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple):
                parts = item
            n_values += len(parts)
            if total > most or n_values > MOST_STEPS:
                raise ValueError(f"it stands for {total:,} bytes of tensors, {n_values:,} values")
            below += parts
        if not below:
            return
        level = below
    raise ValueError(f"values are nested deeper than {MOST_DEPTH}")


def _tensor_bytes(tensor: torch.Tensor) -> int:
    """Size of a dense tensor in memory of its own."""
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
        raise ValueError(f"a tensor in it is not dense but {describe(tensor)}")
    return tensor.numel() * tensor.element_size()


def write_tensors(content: Any, path: str | Path) -> Path:
    """Write tensors to a ``.pt`` file, whole or not at all.

    Args:
        content: Tensors, and lists and dicts of them.
        path: The file; an existing one is replaced at once.

    Returns:
        The path.
    """
    # torch's own writer names no reason where the disk is full
    data = io.BytesIO()
    torch.save(content, data)
    with atomic(path) as tmp:
        tmp.write_bytes(data.getbuffer())
    return Path(path)


def read_rows(path: Path, name: str, value: Any) -> Rows:
    """Rows of numbers of a tensor that a file holds.

    Args:
        path: The file, for messages.
        name: What the tensor is called there.
        value: What should be a tensor [layers, d_model].

    Returns:
        Its rows, float32.

    Raises:
        ModelError: It is no tensor of floats of that shape, or has numbers that are not finite.
    """
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise ModelError(
            f"{path}: {excerpt(name)} must be a dense tensor of floats; found {describe(value)}."
        )
    if value.ndim != 2 or not value.numel():
        raise ModelError(
            f"{path}: {excerpt(name)} must be [layers, d_model]; found the shape "
            f"{excerpt(tuple(value.shape))}."
        )
    rows = value.detach().float().numpy()
    bad_rows = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    if bad_rows:
        raise ModelError(
            f"{path}: {excerpt(name)} has numbers that are not finite in rows {bad_rows[:8]}; it "
            "was not computed well."
        )
    return rows


def describe(value: Any) -> str:
    """Description of a value in a few words.

    Args:
        value: What a file holds.

    Returns:
        Its type, and its shape or keys.

    >>> describe(torch.zeros(2, 3))
    'a tensor (2, 3) of float32'
    """
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"a tensor {excerpt(tuple(value.shape))} of {dtype}"
    if isinstance(value, Mapping):
        keys = [f"{str(key)[:LONGEST]} ({type(item).__name__})" for key, item in value.items()]
        return f"a dict of {', '.join(keys[:N_CHOICES]) or 'nothing'}"
    return f"{type(value).__name__} {excerpt(value)}"
