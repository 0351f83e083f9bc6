"""A table comes back as it was, from equal bytes, or not at all."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from persona_interp.errors import SchemaError, StoreError
from persona_interp.tables import (
    atomic,
    read_csv,
    read_dataset,
    read_json,
    read_rows,
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


def test_a_small_file_that_claims_much_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    table = pa.table({"text": pa.nulls(2_000_000)})
    pq.write_table(table, file)
    with pytest.raises(SchemaError, match="bytes claim 2,000,000 rows"):
        read_rows(file)
    with pytest.raises(StoreError, match="bytes claim 2,000,000 rows"):
        read_table(file)
    with h5py.File(tmp_path / "d.nc", "w") as claims:
        claims.create_dataset("act", (10**6, 10**6), "f8", chunks=(100, 100))
    with pytest.raises(StoreError, match=r"bytes claim .* MiB of arrays"):
        read_dataset(tmp_path / "d.nc")


def test_damaged_texts_of_a_dataset_are_refused_at_once(tmp_path: Path) -> None:
    data = bytearray(write_dataset(dataset(), tmp_path / "d.nc").read_bytes())
    heap = data.index(b"GCOL\x01")
    # the first text is number 0 and has no bytes: HDF5 would look for the second for ever
    data[heap + 16 : heap + 32] = bytes(16)
    (tmp_path / "d.nc").write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"the texts at byte .* are damaged"):
        read_dataset(tmp_path / "d.nc")


def test_rows_of_others_are_plain_and_without_their_index(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", None], "n": [[1], []]}, index=pd.Index([5, 7]))
    table.to_parquet(tmp_path / "t.parquet")
    assert read_rows(tmp_path / "t.parquet") == [{"text": "a", "n": [1]}, {"text": None, "n": []}]
    for wrong in (b"", b"PAR1"):
        (tmp_path / "t.parquet").write_bytes(wrong)
        with pytest.raises(SchemaError, match="not a readable parquet file"):
            read_rows(tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match="has no rows"):
        read_rows(write_table(table.iloc[:0], tmp_path / "e.parquet"))


def test_a_commit_of_digits_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("commit,n\n024e174,1\n0012345,2\n")
    table = read_csv(tmp_path / "t.csv")
    assert table["commit"].tolist() == ["024e174", "0012345"] and table["n"].tolist() == [1, 2]


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2,3\n1,2,3,4\n", b"a\n\xff\n", b'a\n"b\n'])
def test_a_csv_that_is_none_is_a_store_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(StoreError, match="not a readable CSV"):
        read_csv(tmp_path / "t.csv")
