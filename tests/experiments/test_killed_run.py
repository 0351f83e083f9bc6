"""A run of an experiment, killed again and again: its files and tables are those of no kill."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pandas as pd
import pytest
from toy_tasks import content

from persona_interp.experiments import from_dict, summarize, to_dict, wing_names
from persona_interp.store import Store
from persona_interp.tables import write_json
from tests.experiments.compare.conftest import HOOK, save_material
from tests.experiments.toys import toy
from tests.faults import finish, start

SEED = int(os.environ.get("SOAK_SEED", "0"))
KILLS = 6
"""Of every experiment; 54 altogether."""
CLI = "from persona_interp.cli import main; main()"
LONGEST = 1800
"""Seconds that an undisturbed run of a toy takes at most."""


def kill_until(begin: Callable[[], Popen[str]], moments: Callable[[], float], *, kills: int) -> int:
    """Begin a process and kill it, again and again, until it is over; returns how many kills hit.

    After so many kills it is let end.
    """
    for n in range(kills):
        process = begin()
        time.sleep(moments())
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=LONGEST)
        if process.returncode == 0:  # over before it could be killed
            return n
        assert process.returncode == -signal.SIGKILL, errors
    finish(begin(), timeout=LONGEST)
    return kills


def assert_equal(root: Path, straight: Path) -> None:
    """The run is whole, and every table of it is that of the other run."""
    store, other = Store.open(root), Store.open(straight)
    assert set(store.verify().status) == {"ok"}
    assert content(store) == content(other)
    experiment = from_dict(other.config())
    again, tables = (summarize(experiment, one) for one in (store, other))
    assert set(again) == set(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True, obj=name)


@pytest.mark.soak
@pytest.mark.parametrize("name", wing_names())
def test_tables_survive_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    config = write_json(to_dict(toy(name, tmp_path)), tmp_path / "config.json")
    script = Path(__file__).with_name("toy_run.py")
    rng = random.Random(f"{SEED} {name}")

    def begin(out: str, workers: int = 0) -> Popen[str]:
        process = start(script, config, tmp_path / out, workers)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    process, began = begin("straight"), time.monotonic()
    finish(process, timeout=LONGEST)
    seconds = time.monotonic() - began
    landed, n_runs = 0, 0
    while landed < KILLS:  # a run that is over makes way for another one
        out = f"killed {n_runs}"
        landed += kill_until(
            lambda out=out: begin(out, rng.choice((0, 0, 2))),
            lambda: rng.uniform(0, seconds),
            kills=KILLS - landed,
        )
        # answers of a base may be kept there for other runs; a run needs nothing but its folder
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        assert_equal(tmp_path / out, tmp_path / "straight")
        n_runs += 1
    print(  # noqa: T201
        f"{name}, seed {SEED}: {landed} kills in {n_runs} runs of {seconds:.0f} s, all equal"
    )


@pytest.mark.slow
def test_a_comparison_survives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    material = save_material(tmp_path)
    command: list[Any] = ["-c", CLI, "compare", material / "base", material / "planted"]
    command += ["--prompts", material / "prompts.txt", "--neutral", material / "neutral.txt"]
    command += ["--traits", material / "traits" / "dry.json", "--hook", HOOK, "--workers", 2]
    command += ["--samples", 2, "--draws", 1, "--max-new-tokens", 3, "--out"]
    began = time.monotonic()
    finish(start(*command, tmp_path / "straight"), timeout=LONGEST)
    seconds = time.monotonic() - began
    rng = random.Random(SEED)
    landed = kill_until(
        lambda: start(*command, tmp_path / "killed"), lambda: rng.uniform(0, seconds / 2), kills=4
    )
    assert landed >= 3
    assert_equal(tmp_path / "killed", tmp_path / "straight")
    for file in sorted((tmp_path / "straight" / "tables").iterdir()):
        assert (tmp_path / "killed" / "tables" / file.name).read_bytes() == file.read_bytes()
