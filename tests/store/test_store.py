"""What exists is what the manifest lists, and what it lists was computed; nothing else counts."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from persona_interp.errors import StoreError
from persona_interp.store import Cell, Store, lineage
from persona_interp.store.manifest import lock


def cell(seed: int = 0, *needs: Cell) -> Cell:
    return Cell("draw", {"seed": seed, "lr": 1e-3}, needs, label=f"draw {seed}")


def commit(store: Store, cell: Cell, text: str = "9") -> Path:
    (store.work(cell) / "x.txt").write_text(text)
    store.commit(cell, seconds=0.5)
    return store.path(cell, "x.txt")


def test_an_id_depends_on_what_is_computed_and_on_nothing_else() -> None:
    first = Cell("f", {"a": 1, "b": [1, 2]})
    assert first.id == Cell("f", {"b": (1, 2), "a": 1}, label="other").id
    assert first == Cell("f", {"b": (1, 2), "a": 1}, label="other")
    text = b'{"config":{"a":1,"b":[1,2]},"needs":[],"task":"f"}'
    assert first.id == hashlib.sha256(text).hexdigest()[:16]
    others = [
        Cell("g", {"a": 1, "b": [1, 2]}),
        Cell("f", {"a": 1, "b": [2, 1]}),
        Cell("f", {"a": 1, "b": [1, 2], "c": None}),
        Cell("f", {"a": 1, "b": [1, 2]}, (first,)),
        Cell("f", {"a": 1, "b": [1, 2]}, (Cell("g", {}), first)),
        Cell("f", {"a": 1, "b": [1, 2]}, (first, Cell("g", {}))),
    ]
    assert len({first, *others}) == 7


def test_a_cell_keeps_its_own_copy_of_the_configuration() -> None:
    config = {"steps": [1, 2]}
    kept = Cell("f", config)
    config["steps"].append(3)
    assert kept.config == {"steps": [1, 2]}
    assert kept.id == Cell("f", {"steps": [1, 2]}).id


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"lr": np.float32(1)}, r"config\.lr is .*float32"),
        ({"stage": {"steps": (1, float("nan"))}}, r"config\.stage\.steps\[1\] is nan"),
        ({"stage": {3: 1}}, r"config\.stage has the key 3 of type int"),
        ({"out": Path("x")}, r"config\.out is .*Path"),
        ({"traits": {"a", "b"}}, r"config\.traits is .*set"),
    ],
)
def test_a_configuration_that_json_cannot_hold_is_refused_by_its_key(
    value: dict, named: str
) -> None:
    with pytest.raises(StoreError, match=named):
        Cell("f", value)


@pytest.mark.parametrize("task", ["", ":f", "f()", "m;f", "../m.f", "a.b.c", "package.tasks:f"])
def test_a_task_is_a_short_name(task: str) -> None:
    with pytest.raises(StoreError, match="a short name such as 'learn'"):
        Cell(task, {})


def test_lineage_lists_needs_first_and_each_once() -> None:
    base = cell(0)
    left, right = cell(1, base), cell(2, base)
    top = cell(3, left, right)
    assert lineage([top, left]) == [base, left, right, top]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="is not a run folder and nothing was written"):
        Store(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "thesis.txt")
    with pytest.raises(StoreError, match=r"no manifest\.jsonl"):
        Store.open(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_only_a_committed_file_has_a_path(tmp_path: Path) -> None:
    store, done = Store(tmp_path), cell()
    (store.work(done) / "x.txt").write_text("half")
    with pytest.raises(StoreError, match=r"draw 0 \(.*\) is not done"):
        store.path(done)
    file = commit(store, done)
    assert store.has(done)
    assert file.read_text() == "9"
    assert store.path(done) == file.parent
    with pytest.raises(StoreError, match=r"did you mean 'x\.txt'"):
        store.path(done, "x.tx")
    with pytest.raises(StoreError, match="unknown"):
        store.path(done, "../../manifest.jsonl")
    shutil.rmtree(file.parent)
    assert not store.has(done)


def test_files_reach_the_disk_before_their_folder_and_the_folder_before_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, done = Store(tmp_path), cell()
    (store.work(done) / "deep").mkdir()
    (store.work(done) / "deep" / "y.txt").write_text("81")
    events: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename
    entry = f"..cell.json.{os.getpid()}.tmp"

    def fsync(handle: int) -> None:
        real_fsync(handle)
        inode = os.fstat(handle).st_ino
        events.append(
            next(p.name for p in [tmp_path, *tmp_path.rglob("*")] if p.stat().st_ino == inode)
        )

    def rename(source: Path, target: Path) -> None:
        real_rename(source, target)
        events.append("rename")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    commit(store, done)
    files, folders = events[: events.index("rename")], events[events.index("rename") + 1 :]
    assert sorted(files[:-2]) == sorted(["x.txt", "deep", "y.txt", done.id])
    assert files[-2:] == [entry, done.id]
    assert folders == ["cells", "work", "manifest.jsonl"]


def test_the_first_of_two_commits_stays(tmp_path: Path) -> None:
    store, twice = Store(tmp_path), cell()
    commit(store, twice, "first")
    assert commit(store, twice, "second").read_text() == "first"
    assert not (tmp_path / "work" / twice.id).exists()


def test_a_torn_last_line_is_ignored_and_then_repaired(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, cell(0))
    commit(store, cell(1))
    manifest = tmp_path / "manifest.jsonl"
    whole = manifest.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in (second, *range(second + 1, len(whole), 9), len(whole) - 1):
        manifest.write_bytes(whole[:cut])
        store = Store.open(tmp_path)
        assert [store.has(cell(seed)) for seed in (0, 1)] == [True, False]
        assert manifest.read_bytes() == whole[:cut], "opening a run changes nothing"
        store.recover()
        assert manifest.read_bytes() == whole, "the cell vouches for itself"
        assert store.has(cell(1))


def test_a_lost_line_and_a_flipped_bit_cost_one_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, cell(0))
    file = commit(store, cell(1))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().split(b"\n")[0] + b"\n")
    file.write_text("8")
    assert list(store.verify().query("status != 'ok'").cell) == [cell(1).id]
    store.recover()
    assert [store.has(cell(seed)) for seed in (0, 1)] == [True, False]
    assert not list((tmp_path / "work").iterdir()), "nothing that may be damaged is gone on with"
    assert (tmp_path / "quarantine" / f"{cell(1).id}-0" / "x.txt").read_text() == "8"
    assert commit(store, cell(1)).read_text() == "9"


def test_a_cell_from_before_cells_vouched_for_themselves_is_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, cell(0))
    (tmp_path / "cells" / cell(0).id / ".cell.json").unlink()
    assert list(store.verify().status) == ["ok", "missing"]
    store.recover()
    assert (tmp_path / "cells" / cell(0).id / ".cell.json").is_file(), "listed, so signed"
    (tmp_path / "cells" / cell(0).id / ".cell.json").unlink()
    (tmp_path / "manifest.jsonl").write_bytes(b"")
    store.recover()
    assert not store.has(cell(0))


def test_a_flipped_bit_in_the_manifest_costs_one_cell(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in range(3):
        commit(store, cell(seed))
    manifest = tmp_path / "manifest.jsonl"
    whole = manifest.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b'"seed":1')] ^= 1
    manifest.write_bytes(flipped)
    bad = store.verify().query("status != 'ok'")
    assert list(bad.file) == ["manifest.jsonl line 2", ""]
    assert list(bad.cell) == ["", cell(1).id]
    assert [store.has(cell(seed)) for seed in range(3)] == [True, False, True]
    store.recover()
    assert store.has(cell(1))
    assert set(store.verify().status) == {"ok"}


def test_a_manifest_from_elsewhere_cannot_point_outside(tmp_path: Path) -> None:
    store, done = Store(tmp_path / "run"), cell()
    commit(store, done)
    (tmp_path / "secret").write_text("9")
    manifest = tmp_path / "run" / "manifest.jsonl"
    entry = json.loads(manifest.read_text())
    del entry["sum"]
    manifest.write_text(json.dumps(entry).replace("x.txt", "../../../secret") + "\n")
    assert "corrupt" in set(store.verify().status)
    with pytest.raises(StoreError, match="is corrupt"):
        store.path(done, "../../../secret")


def test_a_quarantined_cell_is_missing_until_it_is_computed_again(tmp_path: Path) -> None:
    store, sick = Store(tmp_path), cell()
    for times in (1, 2):
        commit(store, sick)
        store.quarantine(sick)
        assert not store.has(sick)
        assert store.verify().empty
        assert len(list((tmp_path / "quarantine").iterdir())) == times
    commit(store, sick)
    assert list(store.verify().status) == ["ok"]


def test_time_and_host_stay_out_of_the_results(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store = Store(tmp_path / name)
        commit(store, cell())
    assert (tmp_path / "a" / "manifest.jsonl").read_bytes() == (
        tmp_path / "b" / "manifest.jsonl"
    ).read_bytes()
    log = json.loads((tmp_path / "a" / "log.jsonl").read_text())
    assert log["seconds"] == 0.5
    assert {"time", "host", "pid", "label"} <= log.keys()


def test_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    config = {"world": {"john": 1, "sam": 0}, "seeds": (0, 1)}
    Store(tmp_path).describe(config)
    Store(tmp_path).describe(config)
    with pytest.raises(
        StoreError, match=r"world\.sam is 0 there and 2 here; lr is 'absent' there and 0\.1 here"
    ):
        Store(tmp_path).describe({"world": {"john": 1, "sam": 2}, "seeds": [0, 1], "lr": 0.1})
    recorded = json.loads((tmp_path / "run.json").read_text())
    assert len(recorded.pop("sum")) == 16
    assert recorded == {"world": {"john": 1, "sam": 0}, "seeds": [0, 1]}


def test_status_counts_what_was_planned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    top = cell(2, cell(0), cell(1))
    store.plan([top])
    commit(store, cell(0))
    try:
        raise ValueError("no")
    except ValueError as error:
        assert store.fail(cell(1), error) == "ValueError: no"
    with store.claim(top):
        table = Store.open(tmp_path).status()
    assert list(table.state) == ["done", "failed", "running"]
    assert list(table.label) == ["draw 0", "draw 1", "draw 2"]
    assert list(store.status([top]).state) == ["done", "failed", "missing"]
    assert store.planned() == lineage([top])


def commit_many(root: str, start: str) -> None:
    store = Store(root)
    for seed in range(int(start), int(start) + 40):
        with store.claim(cell(seed)):
            if not store.has(cell(seed)):
                commit(store, cell(seed))


def test_a_commit_waits_for_the_manifest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, cell(0))
    waiting = threading.Thread(target=commit, args=(store, cell(1)))
    with lock(tmp_path / "manifest.jsonl"):
        waiting.start()
        waiting.join(timeout=0.3)
        assert waiting.is_alive()
        assert not store.has(cell(1))
    waiting.join(timeout=60)
    assert store.has(cell(1))


def test_two_writers_lose_no_line(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import test_store; test_store.commit_many(*sys.argv[2:])"
    )
    args = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "run")]
    writers = [subprocess.Popen([*args, str(start)]) for start in (0, 20)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    store = Store.open(tmp_path / "run")
    assert set(store.manifest()) == {cell(seed).id for seed in range(60)}
    assert set(store.verify().status) == {"ok"}


def test_scratch_is_never_left_half_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, draw = Store(tmp_path), cell()
    (store.work(draw) / "deep" / ".model").mkdir(parents=True)
    for name in ("weights", "index"):
        (store.work(draw) / "deep" / ".model" / name).write_text("half a model is none")

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", die)
        commit(store, draw)
    assert not (store.work(draw) / "deep" / ".model").exists()
    commit(store, draw)
    assert list(Store(tmp_path).verify([draw]).file) == ["x.txt"]


def test_a_plan_alone_is_a_run(tmp_path: Path) -> None:
    """Death before the first cell, and the manifest lost: two faults of one young run."""
    cell = Cell("square", {"x": 3})
    Store(tmp_path).plan([cell])
    (tmp_path / "manifest.jsonl").unlink()
    assert Store(tmp_path).planned() == [cell]
    (tmp_path / "manifest.jsonl").unlink()
    (tmp_path / "plan.json").write_text('[{"cell": "of another program"}]')
    with pytest.raises(StoreError, match="is not a run folder"):
        Store(tmp_path)
