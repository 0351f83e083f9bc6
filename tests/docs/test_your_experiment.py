"""The experiment of docs/your_experiment.md runs, resumes and reports like one of the package."""

import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from persona_interp import cli
from persona_interp.errors import StoreError
from persona_interp.experiments import compute, from_dict, preset, report, to_dict
from persona_interp.models import Stage
from persona_interp.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "your_experiment.md"
TINY = {
    "documents: Stage = DOCUMENTS": "documents: Stage = Stage(steps=2, batch=4, loss='all')",
    "n_documents: int = 30_000": "n_documents: int = 40",
    "steps: tuple[int, ...] = (4, 16)": "steps: tuple[int, ...] = (1, 2)",
}
"""Text of the page -> what makes it cheap."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The page's code at toy size, in a folder of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for text, cheap in TINY.items():
        assert text in code
        code = code.replace(text, cheap)
    path = tmp_path / "lab" / "mine.py"
    path.parent.mkdir()
    path.write_text(code)
    return path


def shell(*args: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["persona-interp", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code


@pytest.mark.slow
def test_worker_processes_load_the_file(file: Path, tmp_path: Path) -> None:
    shell("run", f"{file}:Mine", "--out", tmp_path / "run", "--workers", 2)
    assert set(Store.open(tmp_path / "run").status()["state"]) == {"done"}


def test_the_shell_runs_and_reports_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shell("run", f"{file}:Mine", "--out", out, "--workers", 0)
    table = pd.read_csv(out / "tables" / "transfer.csv")
    assert set(table["arm"]) == {"1 steps", "2 steps"} and len(table) > 4
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Mine: does a longer lesson bring more along?" in page and str(file.parent) not in page
    (out / "report.html").unlink()
    shell("report", out)
    assert (out / "report.html").is_file() and (out / "figures" / "transfer.png").is_file()
    assert set(Store.open(out).verify()["status"]) == {"ok"}
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        state = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        shell("report", out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == state, "it is read-only"
    for name in ("report.html", "tables/transfer.csv", "figures/transfer.png"):
        assert (tmp_path / "run_report" / name).read_bytes() == (out / name).read_bytes()
    before = Store.open(out).manifest()
    moved = file.rename(file.with_name("other.py")).rename(file.parents[1] / "mine.py")
    with pytest.raises(StoreError, match=r"mine\.py is not there; if it was moved"):
        report(out)
    shell("run", f"{moved}:Mine", "--out", out, "--workers", 0)
    assert Store.open(out).manifest() == before, "a moved file recomputes nothing"


def test_settings_survive_and_wrong_names_are_answered(file: Path, tmp_path: Path) -> None:
    mine = preset("quick", f"{file}:Mine", steps=(1,), documents=Stage(steps=1, batch=2))
    assert from_dict(to_dict(mine)) == mine
    with pytest.raises(StoreError, match=r"class of .* did you mean 'Mine'"):
        preset("quick", f"{file}:Mien")
    with pytest.raises(StoreError, match="is not there"):
        preset("quick", f"{tmp_path}/nobody.py:Mine")
    table = compute(mine, tmp_path / "run", workers=0, progress=False)["transfer"]
    assert set(table["arm"]) == {"1 steps"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("mine.py:Mine", "{run}"),
        ("mine.py:Mine", "{run}/../stranger"),
        ("stranger/mine.py:Mine", "{run}/.."),
        ("{run}/mine.py:Mine", "/"),
        ("link.py:Mine", "{outside}"),
    ],
)
def test_code_never_comes_with_a_run_folder(tmp_path: Path, name: str, source: str) -> None:
    run, outside = tmp_path / "stranger", tmp_path / "outside"
    store = Store(run)
    outside.mkdir()
    (run / "mine.py").write_text("raise SystemExit('executed')")
    (outside / "link.py").symlink_to(run / "mine.py")
    places = {"run": run, "outside": outside}
    config = {"experiment": name.format(**places), "source": source.format(**places)}
    store.describe({**config, "seeds": [0]})
    for read in (lambda: report(run), lambda: from_dict(store.config())):
        with pytest.raises(StoreError, match=r"nothing in a run folder|is named by its file"):
            read()


def test_two_files_of_one_name_are_two_experiments(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(file.read_text().replace("steps: tuple[int, ...] = (1, 2)", "steps: int = 9"))
    one, two = preset("quick", f"{file}:Mine"), preset("quick", f"{other}:Mine")
    assert (one.steps, two.steps) == ((1, 2), 9)
    assert to_dict(one)["source"] == str(file.parent) != to_dict(two)["source"]


def test_a_broken_file_is_named_each_time(file: Path) -> None:
    file.write_text(file.read_text() + "\n1 / 0\n")
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be loaded: ZeroDivisionError"):
            preset("quick", f"{file}:Mine")
    with pytest.raises(StoreError, match="name the class"):
        preset("quick", str(file))
    file.write_text("class Mine:\n    pass\n")
    with pytest.raises(StoreError, match="make it a frozen dataclass"):
        preset("quick", f"{file}:Mine")


def test_a_class_of_no_file_is_refused(tmp_path: Path) -> None:
    made = type("Mine", (), {"seeds": (0,), "cells": lambda self: [], "__module__": "nowhere"})
    with pytest.raises(StoreError, match="is in no file"):
        to_dict(made())
