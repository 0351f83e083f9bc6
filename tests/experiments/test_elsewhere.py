"""Cells computed one by one, by jobs that fail, die or come back: the run of one process."""

import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import sweep_toys
from sweep_toys import Sweep
from toy_tasks import content

from persona_interp.errors import StoreError
from persona_interp.experiments import compute, compute_planned, elsewhere, plan, retry
from persona_interp.experiments.elsewhere import run_on_slurm
from persona_interp.experiments.jobs import Job
from persona_interp.experiments.states import ready_cells, run_states
from persona_interp.experiments.worker import check_needs
from persona_interp.schema.words import CellState
from persona_interp.store import Cell, Store
from persona_interp.store.garbage import collect_garbage, list_garbage
from tests.test_cli import cli

SMALL = Sweep(n=3, sleep=0)


@pytest.fixture
def straight(tmp_path: Path) -> Store:
    """The run of one process."""
    compute(SMALL, tmp_path / "straight", workers=0, progress=False)
    return Store(tmp_path / "straight")


class Cluster:
    """The border of a scheduler: it computes what it is sent, but for what is killed."""

    def __init__(self, killed: Callable[[Cell, int], bool] = lambda cell, n: False) -> None:
        self.killed = killed
        self.sent: list[list[str]] = []
        self.queue: dict[str, Job] = {}

    def send(self, cells: Iterable[Cell], store: Store, **settings: Any) -> list[str]:
        cells = list(cells)
        self.sent.append([cell.label for cell in cells])
        for cell in cells:
            if self.killed(cell, len(self.sent)):
                continue
            try:
                compute_planned(store.root, cell.id)
            except StoreError:  # the job ends, and its log says why
                continue
        return [str(len(self.sent))]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(elsewhere, "send", lambda *args, **kw: cluster.send(*args, **kw))
    monkeypatch.setattr(elsewhere, "jobs_in_queue", lambda root: cluster.queue)
    return cluster


def elsewhere_run(root: Path, experiment: Sweep = SMALL) -> Store:
    compute(experiment, root, on="slurm", progress=False)
    return Store.open(root)


def test_cells_one_by_one_are_the_bytes_of_a_run(tmp_path: Path, straight: Store) -> None:
    store = plan(SMALL, tmp_path / "run")
    order = []
    while ready := ready_cells(store):
        order.append(len(ready))
        assert {compute_planned(store.root, cell.id) for cell in ready} == {"done"}
    assert order == [3, 1]
    assert content(store) == content(straight)
    times = {file: file.stat().st_mtime_ns for file in store.root.rglob("*")}
    assert compute_planned(store.root, SMALL.cells()[0].id) == "done before"
    assert times == {file: file.stat().st_mtime_ns for file in store.root.rglob("*")}


def test_a_cell_whose_needs_are_missing_says_so(tmp_path: Path) -> None:
    store = plan(SMALL, tmp_path / "run")
    (top,) = SMALL.cells()
    with pytest.raises(StoreError, match=r"needs cells that are not done: draw 0 .* is missing"):
        compute_planned(store.root, top.id)
    assert (
        store.status().set_index("cell").reason[top.id]
        == "needs draw 0, which is missing and 2 more"
    )
    with pytest.raises(StoreError, match="did you mean"):
        compute_planned(store.root, top.id[:-1] + "x")


def test_a_folder_that_is_seen_late_is_waited_for(tmp_path: Path, straight: Store) -> None:
    """As on NFS: the manifest lists a cell whose folder this node does not see yet."""
    (top,) = SMALL.cells()
    folder = straight.root / "cells" / top.needs[0].id
    folder.rename(tmp_path / "unseen")
    threading.Timer(0.3, (tmp_path / "unseen").rename, [folder]).start()
    check_needs(top, straight)
    folder.rename(tmp_path / "unseen")
    with pytest.raises(StoreError, match="not done"):
        check_needs(top, straight, patience=0.1)


def test_a_claimed_cell_is_waited_for_and_the_status_says_who_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = plan(SMALL, tmp_path / "run")
    cell = SMALL.cells()[0].needs[0]
    outcome: list[str] = []
    with store.claim(cell):
        thread = threading.Thread(
            target=lambda: outcome.append(compute_planned(store.root, cell.id))
        )
        thread.start()
        row = store.status().set_index("cell").loc[cell.id]
        assert row.state == CellState.RUNNING and "process" in row.reason
        while "waiting for it" not in caplog.text:
            thread.join(0.05)
        assert not outcome
    thread.join()
    assert outcome == ["done"]


def test_no_cell_is_lost_to_jobs_that_are_killed(
    tmp_path: Path, cluster: Cluster, straight: Store
) -> None:
    cluster.killed = lambda cell, n: cell.label == f"draw {n}"
    store = elsewhere_run(tmp_path / "run")
    assert cluster.sent == [
        ["draw 0", "draw 1", "draw 2", "total"],
        ["draw 1", "total"],
    ]
    assert content(store) == content(straight)
    elsewhere_run(tmp_path / "run")
    assert len(cluster.sent) == 2, "nothing was left to send"


def test_jobs_that_are_killed_again_and_again_end_the_run(tmp_path: Path, cluster: Cluster) -> None:
    cluster.killed = lambda cell, n: cell.label == "draw 1"
    with pytest.raises(StoreError, match=r"2 of 4 cells are not done, first draw 1 .* 3 times"):
        elsewhere_run(tmp_path / "run")
    assert len(cluster.sent) == 4  # the first one finished something


def test_a_failing_cell_costs_what_needs_it_and_is_tried_again_by_retry(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, root = tmp_path / "bad", tmp_path / "run"
    bad.touch()
    monkeypatch.setenv("SWEEP_BAD", str(bad))
    with pytest.raises(StoreError, match=r"1 of 4 cells failed: draw 1 .*: ValueError: no footb"):
        elsewhere_run(root, Sweep(n=3, sleep=0, bad=1))
    assert len(cluster.sent) == 1
    store = Store.open(root)
    table = run_states(store).set_index("label")
    assert table.state.to_dict() == {
        "draw 0": "done",
        "draw 1": "failed",
        "draw 2": "done",
        "total": "missing",
    }
    assert table.reason["draw 1"] == "ValueError: no football"
    assert table.reason["total"] == "needs draw 1, which is failed"
    bad.unlink()
    assert [cell.label for cell in retry(root, workers=0, progress=False)] == ["draw 1", "total"]
    assert set(store.status().state) == {"done"}
    assert retry(root) == []


def test_what_another_sender_sent_is_not_sent_again(tmp_path: Path, cluster: Cluster) -> None:
    store = plan(SMALL, tmp_path / "run")
    first, *others = SMALL.cells()[0].needs
    cluster.queue = {first.id: Job("7", "0", "PENDING", "Priority")}

    def other_job(cell: Cell, n: int) -> bool:
        if n == 1 and cluster.queue:
            cluster.queue = {}
            compute_planned(store.root, first.id)
        return False

    cluster.killed = other_job
    elsewhere_run(store.root)
    assert cluster.sent == [[*(cell.label for cell in others), "total"]]


def test_a_job_in_the_queue_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = plan(SMALL, tmp_path / "run")
    (top,) = SMALL.cells()
    job = Job("7", "2", "PENDING", "Priority")
    monkeypatch.setattr(
        "persona_interp.experiments.states.jobs_in_queue", lambda root: {top.id: job}
    )
    reasons = run_states(store).set_index("cell").reason
    assert reasons[top.id].startswith("job 7_2 is pending (Priority); needs draw 0")


def test_not_to_wait_is_to_send_and_to_leave(tmp_path: Path, cluster: Cluster) -> None:
    cluster.killed = lambda cell, n: True
    assert compute(SMALL, tmp_path / "run", on="slurm", wait=False, progress=False) == {}
    assert len(cluster.sent) == 1
    with pytest.raises(StoreError, match="did you mean 'slurm'"):
        compute(SMALL, tmp_path / "run", on="slrm")
    with pytest.raises(StoreError, match="go with --on slurm only"):
        compute(SMALL, tmp_path / "run", wait=False)


def test_a_slurm_that_does_not_answer_for_a_while_is_asked_again(
    tmp_path: Path,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = 0

    def queue(root: Path) -> dict[str, Job]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StoreError("Slurm does not answer: socket timed out.")
        return {}

    monkeypatch.setattr(elsewhere, "jobs_in_queue", queue)
    monkeypatch.setattr(elsewhere, "SHORTEST", 0.01)
    cluster.killed = lambda cell, n: n == 1 and cell.label == "total"
    elsewhere_run(tmp_path / "run")
    assert "Asked again soon" in caplog.text and len(cluster.sent) == 2


def test_garbage_is_what_no_plan_names(tmp_path: Path, straight: Store) -> None:
    other = Cell("sweep_toys.draw", {"seed": 9, "sleep": 0, "bad": False}, label="draw 9")
    begun = Cell("sweep_toys.draw", {"seed": 10, "sleep": 0, "bad": False}, label="draw 10")
    sweep_toys.draw(other.config, (), straight.work(other))
    straight.commit(other, seconds=0)
    (straight.work(begun) / "half.parquet").write_bytes(b"half")
    draw = SMALL.cells()[0].needs[0]
    file = straight.path(draw, "draw.parquet")
    file.write_bytes(b"broken")
    compute(SMALL, straight.root, workers=0, progress=False)  # quarantines, computes again
    (straight.work(draw) / "left").write_bytes(b"left over")
    before = content(straight)
    table = list_garbage(straight).set_index("path")
    assert set(table.index) == {
        f"quarantine/{draw.id}-0",
        f"work/{draw.id}",
        f"work/{begun.id}",
        f"cells/{other.id}",
    }
    assert table.loc[f"work/{draw.id}", "bytes"] == len("left over")
    assert content(straight) == before
    with straight.claim(begun):  # somebody works on it
        assert len(collect_garbage(straight)) == 3
    assert list(collect_garbage(straight).path) == [f"work/{begun.id}"]
    assert list_garbage(straight).empty
    assert set(straight.verify().status) == {"ok"}
    assert set(straight.status().state) == {"done"} and not straight.has(other)


def test_without_a_plan_nothing_is_garbage(straight: Store) -> None:
    straight.root.joinpath("plan.json").unlink()
    assert list_garbage(straight).empty


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, root = f"{sweep_toys.__file__}:Sweep", tmp_path / "run"
    assert cli(capsys, "run", name, "--out", root, "--plan-only")[1].startswith("41 cells are")
    code, out, _ = cli(capsys, "status", root, "--ready")
    keys = out.split()
    assert code == 0 and len(keys) == 40 and all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)
    code, out, err = cli(capsys, "worker", "--run", root, "--cell", keys[0])
    assert (code, out) == (0, f"{keys[0]} done\n"), err
    total = Store(root).planned()[-1].id
    code, _, err = cli(capsys, "worker", "--run", root, "--cell", total)
    assert code == 2 and "needs cells that are not done" in err
    assert cli(capsys, "retry", root)[:2] == (0, "no cell of this run failed\n")
    code, out, _ = cli(capsys, "gc", root, "--dry-run")
    assert (code, out) == (0, "0 bytes would be freed; no planned cell is touched\n")
    code, _, err = cli(capsys, "run", name, "--out", root, "--on", "slrum")
    assert code == 2 and "did you mean 'slurm'" in err
    code, _, err = cli(capsys, "run", name, "--out", root, "--on", "slurm", "--slurm", "=3")
    assert code == 2 and "expected key=value" in err


def test_a_run_is_complete_without_jobs_where_all_is_done(straight: Store) -> None:
    cells = SMALL.cells()
    assert run_on_slurm(cells, straight, options={}, progress=False) is straight
