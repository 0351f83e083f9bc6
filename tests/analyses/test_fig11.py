"""Figure 11 draws what its tables hold; computing is tested with the experiment."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from persona_interp import analysis
from persona_interp.errors import StoreError, WorldError
from tests.analysis.test_safeguards import NOTHING, arms


def test_it_draws_a_point_for_each_safeguard(load: Callable[[str], ModuleType]) -> None:
    capped = {**NOTHING, "unwanted": (0.3, 0.2, 0.4)}
    made = {"safeguards": analysis.safeguards(arms(capping=capped))}
    script = load("fig11_safeguards")
    assert script.numbers(made)["label"].tolist() == ["no safeguard", "capping"]
    (axes, _) = script.draw(made).axes
    assert len(axes.collections[-1].get_offsets()) == 2


@pytest.mark.parametrize(
    ("flags", "name", "want"),
    [
        ([], "safeguards", {}),
        (["--traits", "folder"], "trait_safeguards", {"traits": "folder"}),
        (
            ["--traits", "folder", "--start", "model"],
            "trait_safeguards",
            {"traits": "folder", "start": "model"},
        ),
    ],
)
def test_with_traits_it_is_of_a_published_one(
    load: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    name: str,
    want: dict[str, str],
) -> None:
    script, asked = load("fig11_safeguards"), {}

    def compute(experiment: str, out: object, **settings: Any) -> None:
        asked.update(settings, name=experiment)
        raise StoreError("nothing is computed here")

    monkeypatch.setattr(script, "compute_preset", compute)
    monkeypatch.setattr("sys.argv", ["fig11", *flags])
    with pytest.raises(StoreError, match="nothing is computed"):
        script.main()
    assert asked == {"size": "quick", "name": name, **want}


def test_a_start_is_of_traits(load: Callable[[str], ModuleType]) -> None:
    with pytest.raises(WorldError, match="--traits FOLDER"):
        load("fig11_safeguards").compute("nowhere", start="model")
