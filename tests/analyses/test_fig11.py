"""Figure 11 draws what its tables hold; computing is tested with the experiment."""

from collections.abc import Callable
from types import ModuleType

from persona_interp import analysis
from tests.analysis.test_safeguards import NOTHING, arms


def test_it_draws_a_point_for_each_safeguard(load: Callable[[str], ModuleType]) -> None:
    capped = {**NOTHING, "unwanted": (0.3, 0.2, 0.4)}
    made = {"safeguards": analysis.safeguards(arms(capping=capped))}
    script = load("fig11_safeguards")
    assert script.numbers(made)["label"].tolist() == ["no safeguard", "capping"]
    (axes, _) = script.draw(made).axes
    assert len(axes.collections[-1].get_offsets()) == 2
