"""On a real Slurm, whatever is killed, cancelled or requeued: the tables of a local run."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_tasks import content

from persona_interp.experiments.jobs import jobs_in_queue
from persona_interp.store import Store
from persona_interp.store.states import claim_file
from persona_interp.tables import read_json
from tests.faults import start

SEED = int(os.environ.get("SOAK_SEED", "0"))
HERE = Path(__file__).parent
CLI = "from persona_interp.cli import main; main()"
LONGEST = 1_200
"""Seconds for a sweep with its kills."""

pytestmark = pytest.mark.slow


def ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm that answers."""
    pytest.importorskip("submitit", reason="submitit is not installed: Slurm was not tested")
    if shutil.which("sinfo") is None or "up" not in ask("sinfo", "--noheader", "--format=%a"):
        pytest.skip("there is no Slurm here (`.ci/slurm` starts one): Slurm was not tested")
    yield


def sweep(name: str, out: Path, *options: object) -> "subprocess.Popen[str]":
    run = ["-c", CLI, "run", f"{HERE / 'sweep_toys.py'}:{name}", "--out", out]
    return start(*run, *options)


def finish(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, errors


def disturb(root: Path, rng: random.Random) -> str:
    """Kill, cancel or requeue one of the jobs that compute now; returns what was done, or ""."""
    jobs = {key: job for key, job in jobs_in_queue(root).items() if job.state == "RUNNING"}
    if not jobs:
        return ""
    key = rng.choice(sorted(jobs))
    name = f"{jobs[key].array}_{jobs[key].number}".rstrip("_")
    way = rng.choice(("kill", "kill", "scancel", "requeue", "signal"))
    if way == "kill":
        claim = claim_file(root, key)
        if not claim.exists() or not claim.read_bytes():
            return ""
        try:
            os.kill(read_json(claim)["pid"], signal.SIGKILL)
        except ProcessLookupError:
            return ""  # of a process killed before: the job runs again, and has claimed nothing yet
    elif way == "scancel":
        ask("scancel", "--signal=KILL", "--full", name)
    elif way == "requeue":
        ask("scontrol", "requeue", name)
    else:  # as a Slurm that preempts
        ask("scancel", "--signal=USR2", name)
    return way


@pytest.fixture
def root(tmp_path: Path, slurm: None) -> Iterator[Path]:
    """Run folder whose jobs are cancelled afterwards, also where the test fails."""
    root = tmp_path / "killed"
    yield root
    if (root / "jobs").is_dir():
        for array in {job.array for job in jobs_in_queue(root).values()}:
            ask("scancel", array)


def assert_same(root: Path, straight: Path) -> None:
    store, other = Store.open(root), Store.open(straight)
    assert set(store.verify().status) == {"ok"}
    assert set(store.status().state) == {"done"}
    assert content(store) == content(other)
    for file in sorted((straight / "tables").iterdir()):
        assert (root / "tables" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(("name", "n", "kills"), [("Sweep", 41, 14), ("Lessons", 4, 3)])
def test_tables_are_those_of_a_local_run_whatever_is_killed(
    root: Path, tmp_path: Path, name: str, n: int, kills: int
) -> None:
    finish(sweep(name, tmp_path / "straight", "--workers", 0))
    rng, done, is_sender_killed = random.Random(f"{SEED} {name}"), [], False
    options = ("--on", "slurm", "--workers", 2, "--slurm", "cpus-per-task=1", "--slurm", "time=10")
    process = sweep(name, root, *options)
    deadline = time.monotonic() + LONGEST
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.2, 1.5))
        if len(done) >= kills or not (root / "jobs").is_dir():
            continue
        if way := disturb(root, rng):
            done.append(way)
        if len(done) == kills // 2 and not is_sender_killed:  # and jobs go on
            is_sender_killed = True
            process.kill()
            process.communicate()
            process = sweep(name, root, *options)
    finish(process)
    assert len(done) >= kills and is_sender_killed, done
    assert len(Store.open(root).planned()) == n
    assert_same(root, tmp_path / "straight")
    print(f"{name}, seed {SEED}: {len(done)} of {n} jobs disturbed ({', '.join(done)}), equal")  # noqa: T201
