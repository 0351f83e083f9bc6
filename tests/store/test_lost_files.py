"""Every file whose name the store knows is named when it is lost, empty or cut."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_interp.errors import StoreError
from persona_interp.store import Store, layout
from tests.store.test_promises import BASE, TABLE, TUNED, root, write_table
from tests.test_cli import cli

__all__ = ["root"]  # the fixture
FILES = {
    "RUN": layout.RUN,
    "PLAN": layout.PLAN,
    "MANIFEST": layout.MANIFEST,
    "LOG": layout.LOG,
    "ENTRY": f"{layout.CELLS}/{TUNED.id}/{layout.ENTRY}",
}
CUTS: dict[str, Callable[[Path], None]] = {
    "lost": Path.unlink,
    "empty": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
}


def test_every_name_of_a_file_stands_here() -> None:
    names = {name for name, value in vars(layout).items() if name.isupper()}
    assert names == {*FILES, "CELLS", "UNVOUCHED", "WORK", "FAILED", "ASIDE", "JOBS"}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", FILES)
def test_it_is_named_and_a_rerun_mends_it(
    root: Path, name: str, cut: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / FILES[name]
    CUTS[cut](file)
    code, said, error = cli(capsys, "verify", root)
    assert code != 0 and file.name in said + error
    code, said, error = cli(capsys, "status", root)
    assert name == "ENTRY" or file.name in error
    if (name, cut) == ("MANIFEST", "lost"):
        assert code == 2 and "Run the experiment again with this --out" in error
    else:
        assert code == 0
    store = Store(root)
    store.recover()
    store.describe({"experiment": "draw", "seeds": [0, 1]})
    store.plan([TUNED])
    for cell in (BASE, TUNED):
        assert store.has(cell)
    store.vouch(path for path in root.rglob("*") if path.suffix in (".html", ".csv", ".png"))
    assert set(Store.open(root).verify().status) == {"ok"}
    code, said, error = cli(capsys, "status", root)
    assert (code, error) == (0, "") and "2 of 2 cells done" in said


def test_a_line_of_the_log_is_missed(root: Path) -> None:
    log = root / layout.LOG
    first, second = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(second)
    bad = Store.open(root).verify().query("status != 'ok'")
    assert [*bad.file] == [f"log.jsonl line of {BASE.id}"] and [*bad.status] == ["missing"]
    Store(root).recover()
    lines = log.read_bytes().splitlines(keepends=True)
    assert lines[0] == second and b'"seconds":null' in lines[1] and BASE.id.encode() in lines[1]
    assert first not in lines


def test_a_cell_that_a_kill_left_without_a_line_is_told_of(root: Path) -> None:
    # between the rename of its folder and the two lines
    for name in (layout.LOG, layout.MANIFEST):
        lines = (root / name).read_bytes().splitlines(keepends=True)
        (root / name).write_bytes(
            b"".join(x for x in lines if f'"cell":"{TUNED.id}"'.encode() not in x)
        )
    assert not Store(root).has(TUNED)
    Store(root).recover()
    assert Store(root).has(TUNED) and set(Store(root).verify().status) == {"ok"}


def test_a_run_that_has_not_begun_lacks_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    assert store.verify().empty
    store.plan([TUNED])
    assert set(store.verify().status) == {"ok"}
    write_table(TABLE, store.work(BASE) / "t.parquet")
    assert set(store.verify().status) == {"ok"}


def test_a_folder_that_is_no_run_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Give the folder a run was --out to"):
        Store.open(tmp_path)
