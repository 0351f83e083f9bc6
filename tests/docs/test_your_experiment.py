"""The experiment of docs/your_experiment.md runs, resumes and reports like one of the package."""

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
from persona_interp.tables import read_json, write_json

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


def test_the_shell_runs_and_reports_it(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shell("run", f"{file}:Mine", "--out", out, "--workers", 2)
    table = pd.read_csv(out / "tables" / "transfer.csv")
    assert set(table["arm"]) == {"1 steps", "2 steps"} and len(table) > 4
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Mine: does a longer lesson bring more along?" in page and str(file.parent) not in page
    (out / "report.html").unlink()
    shell("report", out)
    assert (out / "report.html").is_file() and (out / "figures" / "transfer.png").is_file()
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


def test_code_never_comes_with_a_run_folder(file: Path, tmp_path: Path) -> None:
    run = tmp_path / "stranger"
    store = Store(run)
    planted = run / "mine.py"
    planted.write_text("raise SystemExit('executed')")
    store.describe({"experiment": "mine.py:Mine", "source": str(run), "seeds": [0]})
    with pytest.raises(StoreError, match="nothing in a run folder is executed"):
        report(run)
    config = read_json(run / "run.json")
    write_json({**config, "source": str(file.parent / ".." / "stranger")}, run / "run.json")
    with pytest.raises(StoreError, match="nothing in a run folder is executed"):
        report(run)


def test_a_class_of_no_file_is_refused(tmp_path: Path) -> None:
    made = type("Mine", (), {"seeds": (0,), "cells": lambda self: [], "__module__": "nowhere"})
    with pytest.raises(StoreError, match="is in no file"):
        to_dict(made())
