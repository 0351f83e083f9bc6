"""A whole transfer run, killed again and again: its tables are those of an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from persona_interp.experiments import summarize, to_dict
from persona_interp.store import Store

if TYPE_CHECKING:
    from persona_interp.experiments.transfer.config import Transfer

KILLS = 10
RUN = """
import json, sys
from persona_interp.experiments import from_dict, run, to_dict
from persona_interp.store import Store

if __name__ == "__main__":
    toy = from_dict(json.load(open(sys.argv[1])))
    store = Store(sys.argv[2])
    store.describe(to_dict(toy))
    print("ready", flush=True)
    run(toy.cells(), store, workers=0, progress=False)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """The toy run in a process of its own, from when it is about to compute."""
    command = [sys.executable, folder / "run.py", folder / "toy.json", folder / "run"]
    process = subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_tables_survive_ten_kills(tmp_path: Path, toy: "Transfer", finished: Store) -> None:
    (tmp_path / "run.py").write_text(RUN)
    (tmp_path / "toy.json").write_text(json.dumps(to_dict(toy)))
    random.seed(0)
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path)
        time.sleep(random.uniform(0.5, 6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 3, "the run was over before it could be killed"
    process = start(tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    store = Store.open(tmp_path / "run")
    assert (store.verify().status == "ok").all()
    again, straight = summarize(toy, store), summarize(toy, finished)
    assert set(again) == set(straight)
    for name, table in straight.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True, obj=name)
