"""Runs that were half copied, closed to their reader, or written into by somebody else."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.cells import run
from persona_interp.experiments.experiment import report_folder
from persona_interp.store import Cell, Store, check_listed, check_outside, verification
from persona_interp.tables import write_table


@pytest.fixture
def cells() -> list[Cell]:
    return [Cell("base", {"seed": seed}) for seed in (0, 1)]


@pytest.fixture
def store(tmp_path: Path, cells: list[Cell]) -> Store:
    store = Store(tmp_path / "run")
    store.plan(cells)
    for cell in cells:
        write_table(pd.DataFrame({"x": [1]}), store.work(cell) / "t.parquet")
        store.commit(cell, seconds=1)
    return store


def close(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let no file of this name be read, as for a user who may not."""
    condition = verification.condition

    def refuse(folder: Path, file: dict[str, Any]) -> Any:
        if file["path"] == name:
            raise PermissionError(13, "Permission denied", str(folder / name))
        return condition(folder, file)

    monkeypatch.setattr(verification, "condition", refuse)


def test_what_cannot_be_read_is_named_and_the_rest_is_looked_at(
    store: Store, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / "cells" / cells[1].id / "t.parquet").write_text("damaged")
    close(monkeypatch, ".cell.json")
    files = store.verify()
    assert set(files.loc[files.status == "unreadable", "file"]) == {".cell.json"}
    assert list(files.loc[files.status == "corrupt", "cell"]) == [cells[1].id]


def test_a_cell_that_cannot_be_read_is_not_computed_again(
    store: Store, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    close(monkeypatch, "t.parquet")
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match=r"2 files of finished cells .* nothing was changed"):
        run(cells, store, workers=0, progress=False)
    assert {p: p.read_bytes() for p in store.root.rglob("*") if p.is_file()} == before


def test_a_listed_cell_whose_folder_is_gone_is_damage(store: Store, cells: list[Cell]) -> None:
    check_listed(store.root)
    (store.root / "cells" / cells[0].id).rename(store.root.with_name("elsewhere"))
    with pytest.raises(StoreError, match=f"cells/{cells[0].id} is in a line of it and not there"):
        check_listed(store.root)


@pytest.mark.parametrize("inside", ["cells", "work", "cells/ab/deep", "tables"])
def test_nothing_is_written_into_a_run_by_another(store: Store, inside: str) -> None:
    place = store.root / inside
    for write in (Store, check_outside, lambda path: report_folder(store.root, path)):
        with pytest.raises(StoreError, match="lies in the run folder"):
            write(place / "new" if inside == "cells" and write is Store else place)
    assert not (store.root / "cells" / "new").exists()
    assert report_folder(store.root, store.root.with_name("report")).name == "report"
