"""Figure 4 computes at a toy size and draws what it computed."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from persona_interp.models import Stage


@pytest.mark.slow
def test_it_computes_and_draws(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    script = load("fig4_dose")
    small = Stage(steps=4, batch=8, lr=4e-3, loss="all")
    fixed = {"documents": small, "lesson": Stage(steps=2, batch=4), "n_documents": 200}
    arms = {"ratios": (-2, 0, 2), "masses": (), "kind_ratios": (), "later": (), "lrs": (3e-4, 1e-3)}
    tables = script.compute(tmp_path / "run", workers=0, **fixed, **arms)
    table, figure = script.numbers(tables), script.draw(tables)
    assert len(table) == 3 * 3 + 3 and set(table["quantity"]) == {"contrast", "probability"}
    said = table.query("quantity == 'probability'").sort_values("dose")["estimate"]
    drawn = figure.axes[1].collections[-1].get_offsets()[:, 1]
    assert sorted(drawn.tolist()) == pytest.approx(sorted(said))
    assert figure.get_suptitle() == "Contrast of john over sam"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["before", "one statement in the prompt", "after the lesson, lr 0.0003"]
