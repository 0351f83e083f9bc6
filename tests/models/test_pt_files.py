"""Hostile ``.pt`` files: refused with a reason, in little time and memory; nothing in them runs."""

import io
import resource
import time
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models.pt_files import load_tensors

SECONDS, MEGABYTES = 2, 200


def saved(value: Any, path: Path, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def laughs() -> list[Any]:
    """A list of 10 that stands for 10^9 values."""
    value: list[Any] = [0] * 10
    for _ in range(8):
        value = [value] * 10
    return value


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def odd_tensors() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "meta": torch.empty(10, 10, device="meta"),
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            "sparse": torch.ones(3, 3).to_sparse(),
            "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        }


HOSTILE = {
    "stride 0": (lambda: torch.ones(1).expand(10**12), "4,000,000,000,000 bytes of tensors"),
    "many views": (lambda: [torch.ones(2**20)] * 50, "bytes of tensors"),
    "deep": (lambda: nested(200), "deeper than 100"),
    "deep key": (lambda: {(((1,),),): 1, "x": nested(150)}, "deeper than 100"),
    "laughs": (laughs, "values"),
    "itself": (itself, "deeper than 100"),
    "bytes": (lambda: {"a": bytearray(10)}, "asks for __builtin__.bytearray"),
    "code": (lambda: {"a": print}, "asks for .*print"),
    "odd": (lambda: Path("x"), "asks for pathlib"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_hostile_is_refused_soon(kind: str, legacy: bool, tmp_path: Path) -> None:
    make, reason = HOSTILE[kind]
    path = saved(make(), tmp_path / "a.pt", legacy=legacy)
    start, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=rf"a\.pt cannot be read .*{reason}") as error:
        load_tensors(path)
    assert len(str(error.value)) < 1000
    assert time.perf_counter() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 2**10


@pytest.mark.parametrize("kind", ["meta", "nested", "sparse", "quantized"])
def test_tensors_without_dense_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    path = saved({"a": odd_tensors()[kind]}, tmp_path / "a.pt")
    with pytest.raises(
        ModelError, match=r"cannot be read as dense tensors.*asks for torch\._utils"
    ):
        load_tensors(path)


def rezipped(source: Path, target: Path, change: Any, *, compression: int = 0) -> Path:
    """The same parts in another archive; ``change(name, data)`` gives their new bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """The zeros of a tensor of 1 GB take a thousandth of it."""
    path, parts = tmp_path / "bomb.pt", io.BytesIO()
    torch.save(torch.zeros(4), parts)
    with zipfile.ZipFile(parts) as old, zipfile.ZipFile(path, "w", 8, compresslevel=1) as new:
        for name in old.namelist():
            if name.endswith("data/0"):
                with new.open(name, "w", force_zip64=True) as part:
                    for _ in range(2**6):
                        part.write(bytes(2**24))
            else:
                new.writestr(name, old.read(name))
    assert path.stat().st_size < 6e6
    start, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"its 4,\d+,\d+ bytes unpack to 1,073,"):
        load_tensors(path)
    assert time.perf_counter() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 2**10


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    source = saved({"a": torch.arange(1000.0)}, tmp_path / "a.pt")
    path = rezipped(source, tmp_path / "b.pt", lambda _, data: data, compression=8)
    assert torch.equal(load_tensors(path)["a"], torch.arange(1000.0))


def test_a_claim_beyond_the_storage_is_refused(tmp_path: Path) -> None:
    """A storage of 4 numbers that says it has 250: never read beyond its end."""
    source = saved(torch.arange(4.0), tmp_path / "a.pt")
    path = rezipped(source, tmp_path / "b.pt", lambda _, data: data.replace(b"K\x04", b"K\xfa"))
    with pytest.raises(ModelError, match=r"b\.pt cannot be read"):
        load_tensors(path)


def test_a_second_pickle_in_capitals_is_looked_at(tmp_path: Path) -> None:
    source = saved(torch.ones(2), tmp_path / "a.pt")
    path = rezipped(source, tmp_path / "b.pt", lambda _, data: data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/DATA.PKL", b"\x80\x02cposix\nsystem\nq\x00.")
    with pytest.raises(ModelError, match=r"asks for posix\.system"):
        load_tensors(path)


def test_a_directory_of_a_hundred_thousand_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    # the end record of a ZIP file with an absurd directory size
    data = path.read_bytes()
    path.write_bytes(data[:-10] + (2**30).to_bytes(4, "little") + data[-6:])
    with pytest.raises(ModelError, match="directory lists too many parts"):
        load_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_plain_values_are_read(legacy: bool, tmp_path: Path) -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    value = {
        "half": rows.half(),
        "brain": rows.bfloat16(),
        "turned": rows.T,
        "parameter": torch.nn.Parameter(rows),
        "whole": torch.tensor(3),
        "view": rows[1],
        "repeated": torch.ones(1).expand(4),
        5: [1, 2.5, "text", None, True, (1, 2)],
        "ordered": OrderedDict(a=rows),
        "shape": rows.shape,
        "dtype": torch.float16,
    }
    read = load_tensors(saved(value, tmp_path / "a.pt", legacy=legacy))
    assert read.keys() == value.keys() and read[5] == value[5] and read["shape"] == (3, 4)
    for key in ("half", "brain", "turned", "parameter", "whole", "view", "repeated"):
        assert torch.equal(read[key], value[key]), key


@pytest.mark.parametrize("path", ["gone.pt", ".", "a\0b.pt", "/dev/zero"])
def test_no_file_is_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read|is a folder|is a pipe"):
        load_tensors(tmp_path / path)
