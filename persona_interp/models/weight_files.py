"""Which weights does a folder hold? Names, dtypes and shapes, before any is loaded.

A safetensors file begins with a header that says where every tensor is. It is read here alone,
bounded, so that a damaged or hostile file ends in one error before a foreign library sees it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from persona_interp.errors import LONGEST, ModelError, PersonaInterpError, excerpt
from persona_interp.files import read_object
from persona_interp.models.cache import hash_files
from persona_interp.values import parse_json

ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SHARD = re.compile(r"[^/\\\0]{1,200}\.safetensors")
MOST_HEADER = 100 * 2**20
"""Longest header that safetensors reads (bytes)."""
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip
"""Bits of one value, by dtype."""


WHOLE = ("BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64")
"""Dtypes of whole numbers; floats of 8 bits have names of their own."""
WEIGHT = re.compile(r"(^|[._])(weight|bias|lora_\w+)(\.|$)")
"""Names of what a layer multiplies by or adds; masks and positions have others."""


class Stored(NamedTuple):
    """A tensor in a file.

    Attributes:
        dtype: As safetensors calls it ("BF16").
        shape: Its sizes.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def weight_files(folder: Path) -> list[Path]:
    """Files of a model's weights: the one, or those that its index names.

    Args:
        folder: A model folder.

    Returns:
        The files, in order of name; none where there are none. Other safetensors, such as a shard
        of an earlier save, are left aside.

    Raises:
        ModelError: The index cannot be read, names a file that is not here, or stands beside one
            file of all weights; or shards have no index.
    """
    one, index = folder / ONE_FILE, folder / INDEX
    fix = "save it there with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
    if not index.is_file():
        others = [file for file in folder.glob("*.safetensors") if file.name != ADAPTER_WEIGHTS]
        if not one.is_file() and others:
            raise ModelError(
                f"{folder} has no {ONE_FILE}, and no {INDEX} says what {min(others).name} is; {fix}"
            )
        return [one] if one.is_file() else []
    shards = sorted(set(_weight_map(index).values()))
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        raise ModelError(
            f"{folder} lacks {len(absent)} of its {len(shards)} shards of weights, first "
            f"{absent[0][:LONGEST]}; {fix}"
        )
    if one.is_file() and shards != [ONE_FILE]:
        raise ModelError(
            f"{folder} holds its weights twice, in {ONE_FILE} and in the {len(shards)} shards of "
            f"{INDEX}, and only one of them is meant; move the other out of the folder."
        )
    return [folder / shard for shard in shards]


def stored_weights(files: Iterable[Path]) -> dict[str, Stored]:
    """Tensors of these files, by name.

    Args:
        files: Safetensors files of one model.

    Returns:
        What is stored under each name.

    Raises:
        ModelError: A file is damaged, or two hold one name.
    """
    weights: dict[str, Stored] = {}
    for file in files:
        for name, stored in read_header(file).items():
            if name in weights:
                raise ModelError(
                    f"{file} holds {excerpt(name)}, which another shard holds too; save the model "
                    "again."
                )
            weights[name] = stored
    return weights


def check_floats(source: Path, stored: Mapping[str, Stored]) -> None:
    """Refuse weights that are whole numbers: as floats they would be other weights.

    Args:
        source: The folder or file, for the message.
        stored: What is stored under each name.

    Raises:
        ModelError: A weight is not of floats; the first is named.
    """
    whole = [name for name, weight in stored.items() if weight.dtype in WHOLE and weight.size]
    whole = [name for name in whole if WEIGHT.search(name)]
    if whole:
        raise ModelError(
            f"{source} holds {len(whole)} weights of whole numbers, first {excerpt(whole[0])} "
            f"({stored[whole[0]].dtype}): they are quantized, and the scales that make floats of "
            "them are not read. Save the model dequantized, in float32 or bfloat16."
        )


def hash_weight_files(folder: Path) -> str:
    """Hash of a model's weights, bit for bit.

    Args:
        folder: A model folder.

    Returns:
        sha256 over its weight files (hex).

    Raises:
        ModelError: As of ``weight_files``.
    """
    return hash_files(weight_files(folder))


def read_header(path: Path, *, error: type[PersonaInterpError] = ModelError) -> dict[str, Stored]:
    """Tensors of a safetensors file; only its header is read.

    Args:
        path: The file.
        error: Kind of error to raise.

    Returns:
        What is stored under each name, in order of place.

    Raises:
        PersonaInterpError: It is no whole safetensors file.
    """
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            length = int.from_bytes(handle.read(8), "little")
            if not 2 <= length <= min(size - 8, MOST_HEADER):
                raise ValueError("it is cut, or is another format")
            content = parse_json(handle.read(length).decode("utf-8").rstrip("\0"))
        return _tensors(content, n_bytes=size - 8 - length)
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}.") from cause
    except ValueError as cause:
        raise error(
            f"{path} is damaged and no whole safetensors file: {cause}. Copy or save it again."
        ) from cause


def _tensors(content: Any, *, n_bytes: int) -> dict[str, Stored]:
    """Tensors of a header; together they fill the file without a gap."""
    if not isinstance(content, dict):
        raise ValueError("its header is no object")
    places: list[tuple[int, int, str]] = []
    tensors: dict[str, Stored] = {}
    for name, entry in content.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            raise ValueError(f"{excerpt(name)} has no dtype, shape and data_offsets")
        stored, start, stop = _tensor(name, entry)
        places.append((start, stop, name))
        tensors[name] = stored
    end = 0
    for start, stop, name in sorted(places):
        if start != end:
            raise ValueError(f"{excerpt(name)} does not begin where the tensor before it ends")
        end = stop
    if end != n_bytes:
        raise ValueError(f"its tensors take {end} bytes, and it has {n_bytes}")
    return {name: tensors[name] for _, _, name in sorted(places)}


def _tensor(name: str, entry: dict[str, Any]) -> tuple[Stored, int, int]:
    """One tensor of a header, and where its bytes begin and end."""
    keys = ("dtype", "shape", "data_offsets")
    dtype, shape, offsets = (entry.get(key, 0) for key in keys)
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{excerpt(name)} has the unknown dtype {excerpt(dtype)}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{excerpt(name)} has no shape and data_offsets of whole numbers")
    stored, (start, stop) = Stored(dtype, tuple(shape)), offsets
    if stored.size * BITS[dtype] != 8 * (stop - start):
        raise ValueError(f"{excerpt(name)} has a shape of another size than its bytes")
    return stored, start, stop


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _weight_map(index: Path) -> dict[str, str]:
    """File of every weight, as an index says it."""
    places = read_object(index, error=ModelError).get("weight_map")
    shards = places.values() if isinstance(places, dict) else ()
    if not shards or not all(isinstance(shard, str) for shard in shards):
        raise ModelError(
            f"{index} is corrupt: it has no weight_map of names and files. Save the model again."
        )
    # a shard beside the index, never a file elsewhere
    for shard in shards:
        if not SHARD.fullmatch(shard):
            raise ModelError(
                f"{index} names the file {excerpt(shard)}; expected a .safetensors file beside it."
            )
    return dict(places or {})
