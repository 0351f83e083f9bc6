"""Notebooks run from top to bottom, offline, and show pictures; they are stored without outputs."""

from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = ROOT / "build" / "notebooks"
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@BY_NAME
def test_it_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []
    assert max(len(cell.source.splitlines()) for cell in code) <= 10


@pytest.mark.notebook
@pytest.mark.filterwarnings("default")  # of the notebook client; the kernel is another process
@BY_NAME
def test_it_runs_and_draws(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv(
        "MPLBACKEND", raising=False
    )  # the kernel has its own, which shows figures inline
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=1_800, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    # the documentation site shows what was executed here (docs/site.py)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / path.name)
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    drawn = sum(
        cell.source.count("pi.plots.") for cell in notebook.cells if cell.cell_type == "code"
    )
    assert len(figures) == drawn > 0
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert [text for text in said if "Traceback" in text or "Warning" in text] == []
