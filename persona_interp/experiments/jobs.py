"""Which jobs were sent for which cells, and what does Slurm say of them?

Before an array is sent, ``jobs/NAME.json`` of the run folder lists its cells in order; the array
has that name in Slurm, so that nothing is lost where a sender is killed in between.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from persona_interp.errors import StoreError
from persona_interp.files import read_json, write_bytes
from persona_interp.store import Cell
from persona_interp.store.layout import JOBS
from persona_interp.tables import json_bytes

COLUMNS = "%j|%F|%K|%T|%r"
"""Of squeue: name, id of the array, number in it, state, reason."""


class Job(NamedTuple):
    """One job in Slurm's queue.

    Attributes:
        array: Id of its array, or its own.
        number: Its number in the array; "" where it is alone.
        state: PENDING, RUNNING, ...
        reason: Why it waits; "None" where it does not.
    """

    array: str
    number: str
    state: str
    reason: str

    def __str__(self) -> str:
        name = f"{self.array}_{self.number}" if self.number else self.array
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"job {name} is {self.state.lower()}{reason}"


def note_jobs(root: Path, name: str, cells: Iterable[Cell]) -> None:
    """Write down for which cells an array is sent.

    Args:
        root: The run folder.
        name: Of the array.
        cells: In the order of the array.
    """
    data = json_bytes({"cells": [cell.id for cell in cells]})
    write_bytes(data, root / JOBS / f"{name}.json")


def jobs_in_queue(root: Path) -> dict[str, Job]:
    """Jobs of a run that Slurm still has.

    Args:
        root: The run folder.

    Returns:
        By id of their cell; empty where none was ever sent.

    Raises:
        StoreError: Slurm does not answer, or a list of cells is damaged.
    """
    files = {file.stem: file for file in sorted((root / JOBS).glob("*.json"))}
    if not files:
        return {}
    jobs: dict[str, Job] = {}
    cells: dict[str, list[str]] = {}
    for line in _queue(files):
        name, array, number, state, reason = line.split("|", maxsplit=4)
        if name not in cells:
            cells[name] = _cells_of(files[name])
        is_alone = not number.isdigit()
        key = cells[name][0 if is_alone else int(number)]
        jobs[key] = Job(array, "" if is_alone else number, state, reason)
    return jobs


def _cells_of(file: Path) -> list[str]:
    value = read_json(file, error=StoreError)
    if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
        raise StoreError(f"{file} is no list of the cells of jobs; was it changed?")
    return value["cells"]


def _queue(names: Iterable[str]) -> list[str]:
    """Lines of squeue, one a job, of jobs with these names."""
    command = ["squeue", "--noheader", "--array", f"--format={COLUMNS}"]
    command.append(f"--name={','.join(names)}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except FileNotFoundError as error:
        raise StoreError(
            "jobs of this run were sent to Slurm, and squeue is not here to ask for them; ask "
            "where it is."
        ) from error
    except (subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise StoreError(f"Slurm does not answer: {said}.") from error
    return done.stdout.splitlines()
