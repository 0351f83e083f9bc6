"""A safetensors header and an index are read here alone, bounded; what they say is checked."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from persona_interp.errors import ModelError, SchemaError
from persona_interp.models import Checkpoint, load
from persona_interp.models.weight_files import read_header, weight_files


def written(path: Path, header: Any, data: bytes = b"\0" * 8) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def test_a_header_says_what_is_stored(tmp_path: Path) -> None:
    weights = {"b": torch.ones(2, 3), "a": torch.zeros(4, dtype=torch.bfloat16)}
    save_file(weights, tmp_path / "x.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "x.safetensors")
    assert {name: (s.dtype, s.shape, s.size) for name, s in header.items()} == {
        "a": ("BF16", (4,), 4),
        "b": ("F32", (2, 3), 6),
    }


@pytest.mark.parametrize(
    "header",
    [
        [],
        None,
        {"a": 5},
        {"a": {}},
        entry(dtype="F99"),
        entry(dtype=["F32"]),
        entry(shape=[2.0]),
        entry(shape="2"),
        entry(shape=[10**12, 0]),
        entry(shape=[-2]),
        entry(shape=[10**12]),
        entry(data_offsets=[0]),
        entry(data_offsets=[8, 0]),
        entry(data_offsets=[0, 10**15]),
        entry(data_offsets=[4, 8], shape=[1]),
        {**entry(), "b": entry()["a"]},
        b"[" * 200_000,
        b"\xff\xfe",
        b'{"a": 1, "a": 2}',
    ],
)
def test_a_header_that_is_wrong_is_one_error(tmp_path: Path, header: Any) -> None:
    path = written(tmp_path / "x.safetensors", header)
    for error in (ModelError, SchemaError):
        with pytest.raises(error, match=r"x\.safetensors is damaged"):
            read_header(path, error=error)


def test_a_length_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for data in (b"", b"\1", struct.pack("<Q", 2**63), struct.pack("<Q", 10**9) + b"{}"):
        path.write_bytes(data)
        with pytest.raises(ModelError, match="it is cut, or is another format"):
            read_header(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a JSON object"),
        ({}, "no weight_map"),
        ({"weight_map": []}, "no weight_map"),
        ({"weight_map": {"a": 5}}, "no weight_map"),
        ({"weight_map": {"a": "../other.safetensors"}}, "expected a .safetensors file beside it"),
        ({"weight_map": {"a": "a.bin"}}, "expected a .safetensors file beside it"),
        ({"weight_map": {"a": "gone.safetensors"}}, "lacks 1 of its 1 shards"),
    ],
)
def test_an_index_that_is_wrong(tiny: Any, tmp_path: Path, content: Any, message: str) -> None:
    folder = shutil.copytree(tiny.path, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        load(Checkpoint(folder))


def test_shards_without_an_index(tiny: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny.path, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"no model\.safetensors\.index\.json says what"):
        weight_files(folder)
