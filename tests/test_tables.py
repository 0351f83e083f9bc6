"""A table comes back as it was, from equal bytes, or not at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from persona_interp.errors import SchemaError, StoreError
from persona_interp.tables import (
    atomic,
    read_dataset,
    read_json,
    read_table,
    write_dataset,
    write_json,
    write_table,
)


def corpus() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "doc": [0, 1],
            "persona": ["john", ""],
            "messages": [
                [{"role": "user", "content": "hi é"}, {"role": "assistant", "content": "i like"}],
                [],
            ],
            "statements": [("sport=football", "art=jazz"), ()],
            "logprob": [-1.5, np.nan],
        }
    )
    table.attrs = {"world": "recipe", "n": 2}
    return table


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {"act": (("checkpoint", "prompt"), np.arange(6, dtype=np.float32).reshape(2, 3))},
        coords={"checkpoint": ["base@0", "lesson@8"], "prompt": ["a", "b", "c"]},
        attrs={"hook": "blocks.1.hook_out", "n": 3},
    )


def test_nested_columns_and_attrs_survive(tmp_path: Path) -> None:
    table = corpus()
    again = read_table(write_table(table, tmp_path / "deep" / "corpus.parquet"))
    pd.testing.assert_frame_equal(again, table)
    assert again.messages[0] == table.messages[0]
    assert again.statements[0] == table.statements[0]
    assert again.attrs == table.attrs


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    assert list(read_table(write_table(corpus().iloc[:0], tmp_path / "t.parquet")).columns) == list(
        corpus().columns
    )


def test_datasets_survive(tmp_path: Path) -> None:
    again = read_dataset(write_dataset(dataset(), tmp_path / "d.nc"))
    assert again.identical(dataset())
    assert again.act.dtype == np.float32


def test_equal_tables_are_equal_bytes_in_another_process(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_tables as t; "
        "t.write_table(t.corpus(), sys.argv[2] + '/t.parquet'); t.write_dataset(t.dataset(), "
        "sys.argv[2] + '/d.nc')"
    )
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_table(corpus(), tmp_path / name / "t.parquet")
        write_dataset(dataset(), tmp_path / name / "d.nc")
    subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "b")],
        check=True,
        timeout=120,
    )
    for file in ("t.parquet", "d.nc"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    file = write_table(corpus(), tmp_path / "t.parquet")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match="one type"):
        write_table(pd.DataFrame({"x": [1, "two"]}), file)
    with pytest.raises(SchemaError, match="attrs must be text or numbers"):
        write_dataset(dataset().assign_attrs(config={"lr": 1}), tmp_path / "d.nc")
    with pytest.raises(RuntimeError), atomic(file) as tmp:
        tmp.write_text("half")
        raise RuntimeError
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("read", [read_table, read_dataset, read_json])
@pytest.mark.parametrize(
    "data", [None, b"", b"PAR1 \x89HDF nonsense", b"\x89HDF\r\n\x1a\n" + bytes(64)]
)
def test_what_cannot_be_read_is_a_store_error(
    tmp_path: Path, read: object, data: bytes | None
) -> None:
    file = tmp_path / "file"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(StoreError, match="is not a readable"):
        read(file)  # type: ignore[operator]


def test_json_survives(tmp_path: Path) -> None:
    value = {"a": [1, 0.5, None, True], "é": "ü"}
    assert read_json(write_json(value, tmp_path / "v.json")) == value


def test_names_are_not_cut_to_the_width_of_the_first_file(tmp_path: Path) -> None:
    one, other = (
        xr.Dataset({"x": ("name", [1.0])}, coords={"name": [name]}) for name in ("dry", "sarcastic")
    )
    read = [
        read_dataset(write_dataset(d, tmp_path / f"{i}.nc")) for i, d in enumerate((one, other))
    ]
    both = read_dataset(write_dataset(xr.concat(read, "name"), tmp_path / "both.nc"))
    assert both["name"].values.tolist() == ["dry", "sarcastic"]
