import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import SchemaError
from persona_interp.plots import evidence

STEPS = [0, 1, 4, 16]


def setting(name: str, slope: float, **columns: object) -> pd.DataFrame:
    same = {
        "lr": 3e-4,
        "batch": 16,
        "optimizer": "adamw",
        "replay": 0.0,
        "sparing": False,
        "n_seeds": 3,
    }
    line = -4 + slope * np.array(STEPS)
    table = pd.DataFrame({"step": STEPS, "estimate": line, "lo": line - 1, "hi": line + 1})
    return table.assign(setting=name, **{**same, **columns})


@pytest.fixture
def curve() -> pd.DataFrame:
    return pd.concat(
        [
            setting("a", 0.4),
            setting("b", 1.0, lr=1e-3),
            setting("c", 0.3, batch=1),
            setting("d", 0.2, lr=0.1, optimizer="sgd"),
            setting("e", 0.1, lr=1e-3, replay=0.5),
            setting("f", 0.2, lr=1e-3, replay=0.5, sparing=True),
        ]
    )


def test_each_panel_changes_one_thing(curve: pd.DataFrame) -> None:
    figure = evidence(curve, title="t")
    lines = [
        {str(x.get_label()): float(x.get_ydata()[-1]) for x in axes.lines[1:]}
        for axes in figure.axes
    ]
    assert lines[0] == pytest.approx({"AdamW 0.0003": 2.4, "AdamW 0.001": 12.0, "SGD 0.1": -0.8})
    assert lines[1] == pytest.approx({"1 a step": 0.8, "16 a step": 2.4})
    assert lines[2] == pytest.approx({"0 %": 12.0, "50 %": -2.4, "50 % without hidden": -0.8})
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [len(axes.collections) for axes in figure.axes] == [3, 2, 3]
    assert "over 3 seeds" in figure.get_supxlabel().replace("\n", " ")


def test_the_additive_learner_is_dashed(curve: pd.DataFrame) -> None:
    additive = curve["estimate"].where(curve["replay"] == 0)
    figure = evidence(curve.assign(additive=additive))
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(names) == 3, "the caption says what is dashed"
    assert "evidence adds up" in figure.get_supxlabel().replace("\n", " ")


def test_one_seed_has_no_band(curve: pd.DataFrame) -> None:
    figure = evidence(curve.assign(n_seeds=1))
    assert not any(axes.collections for axes in figure.axes)
    assert "no interval over seeds" in figure.get_supxlabel().replace("\n", " ")


def test_panels_with_one_line_are_left_out(curve: pd.DataFrame) -> None:
    assert len(evidence(curve[curve["setting"].isin(["a", "b"])]).axes) == 1
    with pytest.raises(SchemaError, match="differ in one thing"):
        evidence(curve[curve["setting"] == "a"])


def test_bad_input_is_named(curve: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="column 'lr'"):
        evidence(curve.drop(columns="lr"))
    with pytest.raises(SchemaError, match="same setting and step"):
        evidence(pd.concat([curve, curve]))
