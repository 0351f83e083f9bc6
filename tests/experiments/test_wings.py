"""Parts are found by name; ids stay when code moves; wrong names are answered."""

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments import wing_names
from persona_interp.experiments.wings import PACKAGE, Wing, wing_named
from persona_interp.store import Cell, Store
from persona_interp.store.cell import canonical, digest

RUN = """
import json, sys
from persona_interp.experiments import compute, preset
from persona_interp.models import Stage
from persona_interp.store import Store

if __name__ == "__main__":
    stage = Stage(steps=2, batch=4, lr=1e-3, loss="all")
    small = {"documents": stage, "lesson": stage, "snapshots": (1,), "n_documents": 40}
    toy = preset("quick", "generators", arms=("titled, scrambled",), **small)
    tables = compute(toy, sys.argv[1], workers=0, progress=False)
    print(json.dumps({name: table.to_csv() for name, table in tables.items()}))
"""


def test_every_wing_has_its_parts() -> None:
    assert "transfer" in wing_names() and len(wing_names()) >= 9
    for name in wing_names():
        wing = Wing(name)
        assert wing.experiment_class.__module__ == f"{PACKAGE}.{name}.config"
        assert wing.function("tables", "summarize").__doc__
        assert wing.function("report", "blocks") and wing.part("report").TITLE


def test_every_task_that_is_listed_is_there() -> None:
    tasks = ["learn", "prompt"]
    for name in wing_names():
        tasks += [f"{name}.{task}" for task in import_module(f"{PACKAGE}.{name}").TASKS]
    assert len(tasks) > 20
    for task in tasks:
        assert callable(Wing("").task(task))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lern", "did you mean 'learn'"),
        ("transfer.leson", "did you mean 'transfer.lesson'"),
        ("transfr.lesson", "did you mean 'transfer.lesson'"),
    ],
)
def test_a_wrong_task_is_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Wing("").task(name)


def test_a_wrong_experiment_is_answered_with_the_nearest() -> None:
    with pytest.raises(StoreError, match="did you mean 'transfer'"):
        wing_named("transfr").part("config")


def test_a_run_folder_from_before_is_refused_in_one_sentence(tmp_path: Path) -> None:
    store, cell = Store(tmp_path / "run"), Cell("square", {"x": 3})
    (store.work(cell) / "square.txt").write_text("9")
    store.commit(cell, seconds=0.0)
    manifest = tmp_path / "run" / "manifest.jsonl"
    entry = json.loads(manifest.read_text())
    spec = {"task": "package.tasks:square", "config": {"x": 3}, "needs": []}
    del entry["sum"]  # lines had none then
    manifest.write_bytes(canonical({**entry, **spec, "cell": digest(spec)}) + b"\n")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match="before tasks had names of their own") as error:
        Store.open(tmp_path / "run")
    assert len(str(error.value).split(". ")) <= 2
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before, "nothing in it is changed"


@pytest.mark.slow
def test_a_moved_task_recomputes_nothing(tmp_path: Path) -> None:
    def run(package: Path) -> str:
        done = subprocess.run(
            [sys.executable, tmp_path / "run.py", tmp_path / "run"],
            env={**os.environ, "PYTHONPATH": str(package)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.splitlines()[-1]

    (tmp_path / "run.py").write_text(RUN)
    here = Path(__file__).parents[2]
    tables = run(here)
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    copy = tmp_path / "copy" / "persona_interp"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(here / "persona_interp", copy, ignore=ignore)
    wing = copy / "experiments" / "generators"
    (wing / "tasks.py").rename(wing / "sources.py")
    contents = wing / "__init__.py"
    contents.write_text(contents.read_text().replace('"tasks:', '"sources:'))
    assert run(copy.parent) == tables
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log, "no cell was computed again"
    shutil.rmtree(next((tmp_path / "run" / "cells").iterdir()))
    assert run(copy.parent) == tables, "and a lost one is computed by the moved code"
    assert (tmp_path / "run" / "log.jsonl").read_bytes() != log
