"""A run may be killed anywhere, at any moment, by anything: run again gives the same bytes."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy_tasks
from toy_tasks import content, run

from persona_interp.errors import StoreError
from persona_interp.experiments.cells import Cell
from persona_interp.store import Store
from persona_interp.tables import read_dataset, read_json
from tests.faults import CALLS, arm, fail, finish
from tests.faults import start as start_process

HERE = Path(__file__).parent


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A function that lists the tasks computed since its last call."""
    file = tmp_path / "calls"
    monkeypatch.setenv("TOY_CALLS", str(file))

    def since() -> list[str]:
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return sorted(lines)

    return since


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The run that nothing disturbed."""
    yield run(
        toy_tasks.cells(2), Store(tmp_path_factory.mktemp("straight")), workers=0, progress=False
    )


def start(script: str, *args: object) -> subprocess.Popen[str]:
    return start_process(HERE / script, *args)


def test_needs_come_first_and_done_cells_are_kept(
    tmp_path: Path, calls: Callable[[], list[str]]
) -> None:
    (top,) = toy_tasks.cells(2)
    store = run([top], Store(tmp_path / "run"), workers=0, progress=False)
    assert calls() == ["draw 0", "draw 1", "total"]
    assert read_dataset(store.path(top, "total.nc")).sizes == {"need": 2}
    run([top], Store(tmp_path / "run"), workers=0, progress=False)
    assert calls() == []
    (wider,) = toy_tasks.cells(3)
    run([wider], Store(tmp_path / "run"), workers=0, progress=False)
    assert calls() == ["draw 2", "total"]
    assert not list((tmp_path / "run" / "cells").rglob(".scratch"))


def test_the_number_of_processes_changes_no_byte_and_no_worker_is_spawned_twice(
    tmp_path: Path,
) -> None:
    (top,) = toy_tasks.cells(4)
    one = run([top], Store(tmp_path / "one"), workers=1, progress=False)
    probes = [Cell("toy_tasks.threads", {"n": n}) for n in range(6)]
    two = run([top, *probes], Store(tmp_path / "two"), workers=2, progress=False)
    pooled = content(two)
    assert content(one).items() <= pooled.items()
    workers = [read_json(two.path(probe, "threads.json")) for probe in probes]
    assert {(n_threads, torch) for n_threads, torch, _ in workers} == {("1", False)}
    assert len({pid for *_, pid in workers}) <= 2
    assert os.getpid() not in {pid for *_, pid in workers}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_cell_costs_only_what_needs_it(tmp_path: Path, workers: int) -> None:
    bad = Cell("toy_tasks.fail", {}, label="bad")
    empty = Cell("toy_tasks.nothing", {}, label="empty")
    after = Cell("toy_tasks.total", {}, (bad,), label="after")
    (top,) = toy_tasks.cells(2)
    store = Store(tmp_path)
    with pytest.raises(StoreError) as error:
        run([bad, after, empty, top], store, workers=workers, progress=False)
    message = str(error.value)
    assert "2 of 6 cells failed" in message
    assert f"bad ({bad.id}): ValueError: no football;" in message
    assert f"empty ({empty.id}): StoreError: the task wrote no file" in message
    assert "because they need them: 1" in message
    assert "ValueError: no football\ntoday" in (tmp_path / "failed" / f"{bad.id}.txt").read_text()
    states = store.status().set_index("label").state.to_dict()
    assert states.pop("total") == "done"
    assert states == {
        "bad": "failed",
        "after": "missing",
        "empty": "failed",
        "draw 0": "done",
        "draw 1": "done",
    }


def test_a_failed_cell_finds_its_work_again(tmp_path: Path) -> None:
    cell = Cell("toy_tasks.resume", {})
    with pytest.raises(StoreError, match="OSError: first attempt"):
        run([cell], Store(tmp_path), workers=0, progress=False)
    store = run([cell], Store(tmp_path), workers=0, progress=False)
    assert read_json(store.path(cell, "attempts.json")) == 1
    assert not list((tmp_path / "failed").iterdir())


def test_bad_tasks_are_named(tmp_path: Path) -> None:
    wrong = [
        Cell("toy_tasks.darw", {}),
        Cell("no_such_wing.draw", {}),
        Cell("toy_tasks.link", {}),
    ]
    with pytest.raises(StoreError) as error:
        run(wrong, Store(tmp_path), workers=0, progress=False)
    assert "did you mean 'draw'?" in str(error.value)
    assert "task 'no_such_wing.draw' is unknown" in str(error.value)
    assert "is not a plain file" in str(error.value)


def test_a_killed_worker_is_a_clear_error_and_the_run_resumes(tmp_path: Path) -> None:
    dying, (top,) = Cell("toy_tasks.die", {}, label="dying"), toy_tasks.cells(2)
    with pytest.raises(StoreError, match=r"a worker process died while computing one of: .*dying"):
        run([dying, top], Store(tmp_path), workers=2, progress=False)
    run([top], Store(tmp_path), workers=0, progress=False)


def test_an_interrupt_leaves_a_run_that_resumes(tmp_path: Path, straight: Store) -> None:
    (top,) = toy_tasks.cells(2)
    before = os.environ.get("MKL_NUM_THREADS")
    with pytest.raises(KeyboardInterrupt):
        run(
            [*top.needs, Cell("toy_tasks.interrupt", {}), top],
            Store(tmp_path),
            workers=0,
            progress=False,
        )
    assert os.environ.get("MKL_NUM_THREADS") == before
    assert content(run([top], Store(tmp_path), workers=0, progress=False)) == content(straight)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted", "folder deleted"])
def test_a_damaged_file_is_named_and_recomputed_alone(
    tmp_path: Path, calls: Callable[[], list[str]], straight: Store, damage: str
) -> None:
    (top,) = toy_tasks.cells(2)
    store = run([top], Store(tmp_path / "run"), workers=0, progress=False)
    calls()
    hurt = top.needs[1]
    file = store.path(hurt, "deep/draw.parquet")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "truncated":
        os.truncate(file, 100)
    elif damage == "flipped":
        file.write_bytes(data)
    elif damage == "deleted":
        file.unlink()
    else:
        shutil.rmtree(store.path(hurt))
    bad = store.verify().query("status != 'ok'")
    assert set(bad.cell) == {hurt.id}
    assert "deep/draw.parquet" in set(bad.file)
    assert set(bad.status) == ({"corrupt"} if damage in ("truncated", "flipped") else {"missing"})
    run([top], Store(tmp_path / "run"), workers=0, progress=False)
    assert calls() == ["draw 1"]
    assert set(store.verify().status) == {"ok"}
    assert content(store) == content(straight)
    assert (store.root / "quarantine").exists() == (damage != "folder deleted")


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, 5),
        (errno.EIO, 7),
        pytest.param(errno.ENOSPC, 1, marks=pytest.mark.slow),
        pytest.param(errno.EIO, 1, marks=pytest.mark.slow),
    ],
)
def test_an_error_at_every_write_fsync_rename_and_open_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: int
) -> None:
    straight = run(toy_tasks.cells(1), Store(tmp_path / "straight"), workers=0, progress=False)

    n, survived = 1 - step, False
    while not survived:
        n += step
        root = tmp_path / str(n)
        with monkeypatch.context() as patch:
            for module, name in CALLS:  # so that they are put back
                patch.setattr(module, name, getattr(module, name))
            calls_left = arm(n, fail(number))
            try:
                run(toy_tasks.cells(1), Store(root), workers=0, progress=False)
            except (OSError, StoreError) as error:
                assert os.strerror(number).lower() in str(error).lower()
            survived = calls_left() > 0
        again = run(toy_tasks.cells(1), Store(root), workers=0, progress=False)
        assert content(again) == content(straight)
    assert n > 50


@pytest.mark.parametrize("step", [597, pytest.param(199, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_any_byte_is_survived(tmp_path: Path, step: int) -> None:
    finish(start("toy_faults.py", "full", tmp_path / "full", step))
    straight = run(toy_tasks.cells(1), Store(tmp_path / "straight"), workers=0, progress=False)
    runs = sorted((tmp_path / "full").iterdir())
    assert len(runs) > 4_000 / step
    for root in runs:
        store = Store.open(root)
        assert content(store) == content(straight), root.name
        assert set(store.verify().status) == {"ok"}


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_death_at_every_write_fsync_rename_and_open_is_survived(tmp_path: Path, step: int) -> None:
    finish(start("toy_faults.py", "exit", tmp_path / "died", step))
    straight = run(toy_tasks.cells(1), Store(tmp_path / "straight"), workers=0, progress=False)
    runs = sorted((tmp_path / "died").iterdir())
    assert len(runs) > 90 / step
    for root in runs:
        store = Store.open(root)
        assert content(store) == content(straight), root.name
        assert set(store.verify().status) == {"ok"}


def test_kills_at_random_moments_are_survived(tmp_path: Path) -> None:
    finish(start("toy_faults.py", "kill", tmp_path / "killed", 0))
    straight = run(
        toy_tasks.cells(1, sleep=0.04), Store(tmp_path / "straight"), workers=0, progress=False
    )
    runs = sorted((tmp_path / "killed").iterdir())
    assert len(runs) == 10
    for root in runs:
        assert content(Store.open(root)) == content(straight), root.name


def test_two_runs_on_one_folder_share_the_work(
    tmp_path: Path, calls: Callable[[], list[str]]
) -> None:
    processes = [start("toy_tasks.py", tmp_path / "run", 0, 6, 0.05) for _ in range(2)]
    for process in processes:
        finish(process)
    assert calls() == [*(f"draw {seed}" for seed in range(6)), "total"]
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "manifest.jsonl").read_text().splitlines()
    ]
    lines = [line for line in lines if "cell" in line]
    assert len({line["cell"] for line in lines}) == len(lines) == 7


def test_workers_leave_with_a_killed_parent(tmp_path: Path) -> None:
    process = start("toy_tasks.py", tmp_path, 2, 2, 60)
    deadline = time.monotonic() + 60
    while Store(tmp_path).status().state.eq("running").sum() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    while Store(tmp_path).status().state.eq("running").any():  # their locks go when they do
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_pool_stops_at_once(tmp_path: Path) -> None:
    process = start("toy_tasks.py", tmp_path, 2, 2, 60)
    deadline = time.monotonic() + 50
    while Store(tmp_path).status().state.eq("running").sum() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=45)  # less than the cells sleep
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert set(Store(tmp_path).status().state) == {"missing"}


@pytest.mark.slow
def test_a_killed_pool_is_survived(tmp_path: Path) -> None:
    random.seed(0)
    straight = run(
        toy_tasks.cells(8, sleep=0.1), Store(tmp_path / "straight"), workers=0, progress=False
    )
    for n in range(10):
        process = start("toy_tasks.py", tmp_path / str(n), 2, 8, 0.1)
        assert process.stdout and process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finish(start("toy_tasks.py", tmp_path / str(n), 2, 8, 0.1))
        assert content(Store.open(tmp_path / str(n))) == content(straight)
