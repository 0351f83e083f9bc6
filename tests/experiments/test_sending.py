"""What is sent to Slurm and read of it, where scripts play sbatch, scontrol and squeue."""

import re
import sys
from pathlib import Path

import pytest
from sweep_toys import Sweep
from toy_tasks import content

from persona_interp.errors import StoreError
from persona_interp.experiments import compute, plan
from persona_interp.experiments.jobs import jobs_in_queue, note_jobs
from persona_interp.experiments.slurm import CellJob, levels, longest_array, send, to_minutes
from persona_interp.store import Store
from persona_interp.tables import read_json

SMALL = Sweep(n=5, sleep=0)
SBATCH = """#!/bin/bash
[ -e "$(dirname "$0")/refuse" ] && { echo "sbatch: error: AssocMaxSubmitJobLimit" >&2; exit 1; }
n=$(ls "$(dirname "$0")" | grep -c '^sent')
cp "$1" "$(dirname "$0")/sent$n"
echo "Submitted batch job $((70 + n))"
"""


@pytest.fixture
def bin_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that this process finds first."""
    pytest.importorskip("submitit")
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "sbatch": SBATCH,
        "srun": "#!/bin/bash\n",
        "scontrol": "#!/bin/bash\necho 'MaxArraySize            = 2'\n",
        "squeue": '#!/bin/bash\ncat "$(dirname "$0")/queue"\n',
    }
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def sent(folder: Path) -> list[dict[str, str]]:
    """Options of the arrays that were sent."""
    files = sorted(folder.glob("sent*"))
    return [dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", f.read_text(), re.M)) for f in files]


def test_levels_are_arrays_no_longer_than_slurm_takes(tmp_path: Path, bin_: Path) -> None:
    store, (top,) = plan(SMALL, tmp_path / "run"), SMALL.cells()
    assert longest_array() == 2
    options = {"partition": "gpu", "time": "1-00:00:00", "gres": "gpu:1", "exclusive": ""}
    ids = send([*top.needs, top], store, options=options, most=None)
    assert ids == ["70", "71", "72", "73"]
    first, *_, last, final = arrays = sent(bin_)
    assert [array.get("array") for array in arrays] == ["0-1%2", "0-1%2", None, None]
    # arrays of one level run beside each other; the next level waits for all of them, dead or not
    assert [array.get("dependency") for array in arrays] == [*[None] * 3, "afterany:70:71:72"]
    assert {array["time"] for array in arrays} == {"1440"}
    assert (first["partition"], first["gres"], first["exclusive"]) == ("gpu", "gpu:1", "")
    assert "requeue" in first and first["open-mode"] == "append"
    assert first["output"].startswith(str(store.root / "jobs"))
    script = (bin_ / "sent0").read_text()
    assert script.index("export OMP_NUM_THREADS=1") < script.index("srun ")
    listed = [read_json(store.root / "jobs" / f"{array['job-name']}.json") for array in arrays]
    keys = [key for one in listed for key in one["cells"]]
    assert keys == [cell.id for cell in (*top.needs, top)]
    assert set(store.verify().status) == {"ok"}, "jobs are no files of the run"
    assert last != final


def test_no_more_jobs_at_a_time_than_were_asked_for(tmp_path: Path, bin_: Path) -> None:
    store, (top,) = plan(SMALL, tmp_path / "run"), SMALL.cells()
    send(top.needs, store, options={}, most=1, after=["33"])
    arrays = sent(bin_)
    assert [array.get("array") for array in arrays] == ["0-1%1", "0-1%1", None]
    waits = [array["dependency"] for array in arrays]
    assert waits == ["afterany:33", "afterany:33:70", "afterany:33:70:71"]


def test_what_slurm_says_is_said(
    tmp_path: Path, bin_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (top,) = plan(SMALL, tmp_path / "run"), SMALL.cells()
    (bin_ / "refuse").touch()
    with pytest.raises(StoreError, match=r"did not take 2 jobs .* AssocMaxSubmitJobLimit"):
        send(top.needs, store, options={}, most=None)
    with pytest.raises(StoreError, match="the run sets this option itself"):
        send(top.needs, store, options={"job_name": "x"}, most=None)
    with pytest.raises(StoreError, match="such as 90"):
        send(top.needs, store, options={"time": "soon"}, most=None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="no Slurm: srun is not found"):
        send(top.needs, store, options={}, most=None)


def test_without_submitit_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(StoreError, match=re.escape("pip install 'persona_interp[slurm]'")):
        compute(SMALL, tmp_path / "run", on="slurm", progress=False)


def test_the_queue_is_read(tmp_path: Path, bin_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, (top,) = plan(SMALL, tmp_path / "run"), SMALL.cells()
    assert jobs_in_queue(store.root) == {}
    note_jobs(store.root, "persona-a", top.needs)
    note_jobs(store.root, "persona-b", [top])
    (bin_ / "queue").write_text(
        "persona-a|70|0|RUNNING|None\npersona-a|70|3|PENDING|Resources\n"
        "persona-b|71|N/A|PENDING|Dependency\n"
    )
    jobs = jobs_in_queue(store.root)
    assert {key: str(job) for key, job in jobs.items()} == {
        top.needs[0].id: "job 70_0 is running",
        top.needs[3].id: "job 70_3 is pending (Resources)",
        top.id: "job 71 is pending (Dependency)",
    }
    (bin_ / "squeue").write_text("#!/bin/bash\necho 'slurm_load_jobs error' >&2; exit 1\n")
    with pytest.raises(StoreError, match="Slurm does not answer: slurm_load_jobs error"):
        jobs_in_queue(store.root)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="squeue is not here"):
        jobs_in_queue(store.root)


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "-1", "1-2-3", "1.5"])
def test_a_time_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="expected a time limit"):
        to_minutes(text)


def test_three_thousand_cells_are_two_levels() -> None:
    (top,) = Sweep(n=3_000).cells()
    assert [len(level) for level in levels([*top.needs, top])] == [3_000, 1]


@pytest.mark.slow
def test_a_job_that_is_asked_to_leave_is_sent_again_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's own signal, by its executor of local processes."""
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("SWEEP_KILLS", "SIGUSR2")
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here.parents[1]}:{here}:{':'.join(sys.path)}")
    experiment = Sweep(n=1, sleep=0)
    store, cell = plan(experiment, tmp_path / "run"), experiment.cells()[0].needs[0]
    executor = submitit.AutoExecutor(folder=store.root / "jobs", cluster="local")
    executor.update_parameters(timeout_min=2)
    job = executor.submit(CellJob(), str(store.root), cell.id)
    assert job.result() == "done"
    assert "Requeued job" in job.stderr() + job.stdout()
    assert not list((store.root / "failed").glob("*"))
    monkeypatch.delenv("SWEEP_KILLS")
    compute(experiment, tmp_path / "straight", workers=0, progress=False)
    other = content(Store(tmp_path / "straight"))
    assert content(store) == {name: data for name, data in other.items() if cell.id in name}
