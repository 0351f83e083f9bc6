"""How are cells sent to Slurm? As job arrays, through submitit; the only file that imports it.

A job carries the run folder and the id of a cell, nothing else. Cells of one level (those whose
needs all lie in levels before) are one array, or several where Slurm takes no longer ones; a level
begins when the jobs of the levels before have ended, however they ended.
"""

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import StoreError
from persona_interp.experiments.jobs import note_jobs
from persona_interp.experiments.worker import THREADS, compute_planned
from persona_interp.models.device import BATCH, DEVICE
from persona_interp.schema.words import On
from persona_interp.store import Cell, Store
from persona_interp.store.layout import JOBS

MINUTES = 240
"""Longest that a job runs unless ``time`` says otherwise; one that takes longer is requeued."""
MOST_TIMEOUTS = 20
"""How often a job that ran out of time is requeued; the next attempt goes on where it was."""
MOST_TASKS = 1_001
"""Longest array of a Slurm that does not say; its own default."""
OURS = ("array", "dependency", "error", "job-name", "open-mode", "output", "signal")
"""Options of sbatch that a run sets itself."""


class CellJob:
    """What a job calls: it computes a cell, and is sent again when it is asked to leave."""

    def __call__(self, run: str, cell: str) -> str:
        """Compute one planned cell; see ``worker.compute_planned``."""
        _leave_at_once()
        return compute_planned(run, cell)

    def checkpoint(self, run: str, cell: str) -> Any:
        """The same again: what was done is in the cell's work folder."""
        return _submitit().helpers.DelayedSubmission(self, run, cell)


def send(
    cells: Iterable[Cell],
    store: Store,
    *,
    options: Mapping[str, str],
    most: int | None,
    after: Iterable[str] = (),
    cluster: str = On.SLURM,
) -> list[str]:
    """Send cells to Slurm.

    Args:
        cells: Cells to compute, needs first; a need that is not among them is done or ``after``.
        store: Their run folder, which every node sees under this path.
        options: Of sbatch, such as ``{"partition": "gpu", "time": "2-00:00:00"}``.
        most: Jobs at a time; None: as many as Slurm lets run.
        after: Ids of jobs that compute needs of these cells already.
        cluster: As of submitit: "slurm", or "local" for processes of this machine.

    Returns:
        Ids of the jobs; an array is one.

    Raises:
        StoreError: submitit or Slurm is not here, or Slurm refuses (what it took before runs).
    """
    sbatch = dict(options)
    minutes = to_minutes(sbatch.pop("time", str(MINUTES)))
    wrong = sorted({key.replace("_", "-") for key in sbatch} & {*OURS})
    if wrong:
        raise StoreError(f"--slurm {wrong[0]}=...: the run sets this option itself; leave it out.")
    executor = _executor(store.root / JOBS, cluster)
    before, sent = list(after), list[str]()
    for level in levels(cells):
        this_level = list[str]()
        for chunk in _chunks(level, longest_array() if cluster == On.SLURM else MOST_TASKS):
            # Arrays beside each other would run more jobs at a time than were asked for.
            first = [*before, *(this_level if most else ())]
            name = f"persona-{secrets.token_hex(6)}"
            executor.update_parameters(
                timeout_min=minutes,
                slurm_job_name=name,
                slurm_array_parallelism=most or len(chunk),
                slurm_dependency=f"afterany:{':'.join(first)}" if first else None,
                slurm_setup=_exports(),
                slurm_additional_parameters={"requeue": True, **_flags(sbatch)},
            )
            note_jobs(store.root, name, chunk)
            this_level.append(_send_one(executor, chunk, store=store, n_before=len(sent)))
            sent.append(this_level[-1])
        before += this_level
    return sent


def levels(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells in groups, each of which needs only groups before it.

    Args:
        cells: Cells, needs first; needs that are not among them do not count.

    Returns:
        The groups.

    >>> base = Cell("base", {})
    >>> tuned = [Cell("tuned", {"lr": lr}, (base,)) for lr in (0.1, 0.2)]
    >>> [len(level) for level in levels([base, *tuned])], len(levels(tuned))
    ([1, 2], 1)
    """
    depth: dict[str, int] = {}
    groups: list[list[Cell]] = []
    for cell in cells:
        depth[cell.id] = 1 + max((depth.get(need.id, -1) for need in cell.needs), default=-1)
        if depth[cell.id] == len(groups):
            groups.append([])
        groups[depth[cell.id]].append(cell)
    return groups


def to_minutes(text: str) -> int:
    """Minutes that a time limit of Slurm means.

    Args:
        text: "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours", or days before
            the latter.

    Returns:
        Minutes, seconds rounded up.

    Raises:
        StoreError: Something else.

    >>> to_minutes("90"), to_minutes("04:00:00"), to_minutes("2-00"), to_minutes("1:30")
    (90, 240, 2880, 2)
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise StoreError(
            f"--slurm time={text}: expected a time limit as of sbatch, such as 90 (minutes), "
            "04:00:00 or 2-00:00:00."
        )
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is None and len(numbers) < 3:  # minutes come first
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return max(1, int(days or 0) * 1440 + hours * 60 + minutes + -(-seconds // 60))


def longest_array() -> int:
    """Most tasks that Slurm takes in one array."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    except OSError:
        return MOST_TASKS
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(match.group(1))) if match else MOST_TASKS


def _send_one(executor: Any, chunk: list[Cell], *, store: Store, n_before: int) -> str:
    """Send one array; returns its id."""
    keys = [cell.id for cell in chunk]
    try:
        jobs = executor.map_array(CellJob(), [str(store.root)] * len(keys), keys)
    except (RuntimeError, OSError) as error:  # submitit raises what sbatch said
        raise StoreError(
            f"Slurm did not take {len(keys)} jobs of {store.root} (arrays taken before: "
            f"{n_before}): {str(error).strip() or type(error).__name__}. Change the options "
            "(--slurm key=value) or wait until other jobs are done, and run again."
        ) from error
    return str(jobs[0].job_id).partition("_")[0]


def _executor(folder: Path, cluster: str) -> Any:
    submitit = _submitit()
    try:
        return submitit.AutoExecutor(
            folder=folder, cluster=cluster, slurm_max_num_timeout=MOST_TIMEOUTS
        )
    except RuntimeError as error:
        raise StoreError(
            "this machine has no Slurm: srun is not found. Run where sbatch works, or with "
            "--on local."
        ) from error


def _submitit() -> Any:
    try:
        import submitit
        import submitit.helpers
    except ModuleNotFoundError as error:
        raise StoreError(
            "jobs are sent to Slurm by submitit, which is not installed: "
            "pip install 'persona_interp[slurm]'."
        ) from error
    return submitit


def _exports() -> list[str]:
    """Lines of the job's script: what must hold before Python starts, whatever a site exports."""
    names = {name: "1" for name in THREADS}
    names |= {name: os.environ[name] for name in (DEVICE, BATCH) if name in os.environ}
    return [f"export {name}={value}" for name, value in names.items()]


def _flags(options: Mapping[str, str]) -> dict[str, Any]:
    return {key.replace("_", "-"): value or True for key, value in options.items()}


def _chunks(cells: list[Cell], size: int) -> Iterator[list[Cell]]:
    for start in range(0, len(cells), size):
        yield cells[start : start + size]


def _leave_at_once() -> None:
    """Let the signal that asks a job to leave end the process once submitit has requeued it."""
    # submitit leaves by SystemExit, which would pass through whatever library runs just then, and
    # through the task, as an error of its own. The run folder survives this as it does a kill.
    number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
    requeue = signal.getsignal(number)
    if not callable(requeue):
        return  # outside of a job

    def leave(number: int, frame: Any) -> None:
        try:
            requeue(number, frame)
        except SystemExit as stop:
            os._exit(stop.code if isinstance(stop.code, int) else 1)

    signal.signal(number, leave)
