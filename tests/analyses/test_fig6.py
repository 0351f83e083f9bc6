"""Figure 6 computes at a toy size and draws what it computed."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from persona_interp.models import Stage


@pytest.mark.slow
def test_it_computes_and_draws(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    script = load("fig6_evidence")
    tested = Stage(steps=4, batch=4)
    lessons = (tested, Stage(steps=4, batch=4, lr=1e-3))
    documents = {
        "documents": Stage(steps=4, batch=8, lr=4e-3, loss="all"),
        "n_documents": 200,
        "n_replayed": 20,
    }
    settings = {"lessons": lessons, "sparing": (), "tested": tested, "snapshots": (1, 2)}
    tables = script.compute(tmp_path / "run", workers=0, **documents, **settings)
    table, figure = script.numbers(tables), script.draw(tables)
    assert table["step"].tolist() == [0, 1, 2, 4] * 2
    (axes,) = figure.axes
    labels = [str(line.get_label()) for line in axes.lines[1:]]
    assert labels == ["AdamW 0.0003", "_additive", "AdamW 0.001", "_additive"]
    for column, lines in (("estimate", axes.lines[1::2]), ("additive", axes.lines[2::2])):
        drawn = np.concatenate([line.get_ydata() for line in lines])
        assert drawn.tolist() == pytest.approx(table[column].tolist(), nan_ok=True), column
    assert figure.get_suptitle() == "Belief to be the target, along a lesson on one of its traits"
