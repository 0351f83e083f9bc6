"""Figure 5 computes at a toy size and draws what it computed."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from persona_interp.models import Stage


@pytest.mark.slow
def test_it_computes_and_draws(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    script = load("fig5_order")
    small = Stage(steps=4, batch=8, lr=4e-3, loss="all")
    fixed = {
        "base": small,
        "phase": small,
        "sft": Stage(steps=2, batch=8),
        "lesson": Stage(steps=2, batch=4),
    }
    tables = script.compute(tmp_path / "run", workers=0, replays=(0.0, 0.25), **fixed)
    table, figure = script.numbers(tables), script.draw(tables)
    assert (
        len(table.query("quantity == 'contrast'")) == 3 * 4
        and len(table.query("quantity == 'own'")) == 2 * 2
    )
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "sam last",
        "john last",
        "mixed",
    ]
    assert figure.get_suptitle() == "Contrast of john over sam"
