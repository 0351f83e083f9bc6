"""Figure 9 draws a matrix beside what may foretell it; computing is tested with the experiment."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from persona_interp.analysis import trait_predictors
from persona_interp.analysis.trait_predictors import TRAIT_PREDICTORS
from persona_interp.errors import StoreError

NAMES = ("casual", "dry", "formal", "wry", "warm")


def tables() -> dict[str, pd.DataFrame]:
    x = np.random.default_rng(0).standard_normal((4, 5, 5))
    rows = [(a, b, *x[:, i, j]) for i, a in enumerate(NAMES) for j, b in enumerate(NAMES)]
    table = pd.DataFrame(rows, columns=["taught", "trait", "estimate", *TRAIT_PREDICTORS])
    table = table.assign(lo=table["estimate"] - 1, hi=table["estimate"] + 1, p=0.5, q=0.5)
    pairs = table.query("taught != trait")
    return {
        "traits": pd.DataFrame({"trait": [*NAMES, "vague"], "aside": [False] * 5 + [True]}),
        "transfer": table.drop(columns=list(TRAIT_PREDICTORS)).assign(
            base=0.0, lesson=0.0, null=0.0, n=20, n_seeds=1, n_null=5, verdict="differs"
        ),
        "pairs": pairs,
        "predictors": trait_predictors(pairs),
    }


def test_it_draws_the_matrix_and_every_predictor(load: Callable[[str], ModuleType]) -> None:
    script, made = load("fig9_trait_transfer"), tables()
    table = script.numbers(made)
    assert len(table) == 25 and table["cosine"].notna().sum() == 20
    figure = script.draw(made)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(NAMES)
    assert len(figure.axes) == 1 + 3 + 1, "matrix, three predictors, color bar"
    assert "Set aside: vague" in figure.get_supxlabel().replace("\n", " ")
    assert len(script.numbers({"transfer": made["transfer"]})) == 25


def test_its_flags_are_settings_of_the_experiment(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, asked = load("fig9_trait_transfer"), {}

    def compute(out: Path, **settings: str) -> None:
        asked.update(settings, out=str(out))
        raise StoreError("nothing is computed here")

    monkeypatch.setattr(script, "compute", compute)
    for flags, want in (
        ([], {}),
        (["--traits", "folder", "--start", "model"], {"traits": "folder", "start": "model"}),
    ):
        asked.clear()
        monkeypatch.setattr("sys.argv", ["fig9", *flags])
        with pytest.raises(StoreError, match="nothing is computed"):
            script.main()
        assert asked == {"out": "runs/trait_transfer", "size": "quick", **want}
