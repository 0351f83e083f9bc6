"""Figure 2 computes at a toy size and draws what it computed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("fig2_features")


def points(figure: Figure) -> list[list[float]]:
    """Where the markers of both panels are, series by series."""
    return [
        np.asarray(dots.get_offsets())[:, 0].tolist()
        for axes in figure.axes
        for dots in axes.collections[1::2]
    ]


@pytest.mark.slow
def test_it_computes_draws_and_saves(
    script: ModuleType, finished: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = script.compute
    tables = compute(finished, workers=0, **toy)
    table = script.numbers(tables)
    series = table.groupby("quantity", sort=False)["series"].unique()
    random = {"random (norm)", "random (variance)"}
    assert set(series[script.COSINE]) == {"lesson", "unrelated lesson", *random}
    assert set(series[script.RISE]) == {"best feature"}
    assert set(series[script.AUROC]) == {"best feature", "direction", script.FROZEN, *random}
    assert not table.duplicated(["quantity", "series", "name"]).any()
    assert table.loc[table["quantity"] == script.AUROC, "estimate"].between(0, 1).all()
    figure = script.draw(tables)
    assert sorted(x for values in points(figure) for x in values) == sorted(
        table.query("name != 'random'")["estimate"]
    )
    assert [
        t.get_text() for t in figure.axes[0].get_yticklabels() if t.get_fontweight() == "bold"
    ] == ["john"]

    monkeypatch.setattr(script, "compute", lambda out, **_: compute(out, workers=0, **toy))
    monkeypatch.setattr(sys, "argv", ["fig2_features.py", "--out", str(finished)])
    script.main()
    saved = finished / "figures"
    names = [f"fig2_features.{suffix}" for suffix in ("csv", "meta.json", "pdf", "png")]
    assert sorted(p.name for p in saved.glob("fig2*")) == names
    assert len(pd.read_csv(saved / "fig2_features.csv")) == len(table)


def test_several_seeds_are_averaged(script: ModuleType) -> None:
    ends = {"hook": "b", "lr": 1e-3}
    moved, known, read, risen = [], [], [], []
    for seed in (0, 1):
        for name, cosine in (("mary", 0.0), ("john", 0.5)):
            row = {"seed": seed, "name": name, "lo": 0.0, "hi": 1.0}
            shift = {**row, **ends, "method": script.METHOD, "cosine": cosine + seed / 4}
            moved += [
                {**shift, "arm": "lesson"},
                {**shift, "arm": "unrelated lesson", "cosine": -0.5},
            ]
            rise = {"excess": cosine + seed, "excess_lo": 0.0, "excess_hi": 1.0}
            risen.append({**row, **ends, **rise})
            known.append({**row, **ends, "kind": "persona", "rank": 1, "auroc": 0.75 + seed / 8})
            read += [
                {**row, "quantity": script.AUROC, "series": s, "estimate": 0.5}
                for s in ("direction", script.FROZEN)
            ]
        band = {
            "seed": seed,
            "name": "random",
            "series": "random (variance)",
            "estimate": 0.0,
            "lo": -0.25 - seed / 2,
            "hi": 0.25,
        }
        read += [{**band, "quantity": script.COSINE}, {**band, "quantity": script.AUROC}]
    moved.append({**moved[0], "method": "probe", "cosine": 9.0})
    moved.append({**moved[0], "hook": "a", "cosine": 9.0})
    known.append({**known[0], "kind": "trait", "name": "place=beach"})
    tables = {
        "directions": pd.DataFrame(moved),
        "scores": pd.DataFrame(known),
        "readings": pd.DataFrame(read),
        "roles": pd.DataFrame(risen),
    }
    table = script.numbers(tables)
    lesson = table.loc[table["series"] == "lesson"]
    assert lesson["name"].tolist() == ["john", "mary"] and lesson["estimate"].tolist() == [
        0.625,
        0.125,
    ]
    assert table["n_seeds"].unique().tolist() == [2]
    assert table.loc[table["name"] == "random", ["lo", "hi"]].values.tolist() == [[-0.5, 0.25]] * 2
    figure = script.draw({**tables, "transfer": pd.DataFrame({"persona": ["john"]})})
    assert points(figure) == [
        [0.625, 0.125],
        [-0.5, -0.5],
        [1.0, 0.5],
        [0.8125, 0.8125],
        [0.5, 0.5],
        [0.5, 0.5],
    ]
