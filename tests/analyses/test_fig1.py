"""Figure 1 computes at a toy size and draws what it computed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("fig1_transfer")


def numbers(figure: Figure) -> set[str]:
    """Which numbers stand in the cells?"""
    texts = (text.get_text() for axes in figure.axes for text in axes.texts)
    return {text.split()[0].replace("−", "-") for text in texts if text.strip("•\u2009 ")}


@pytest.mark.slow
def test_it_computes_draws_and_saves(
    script: ModuleType, finished: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = script.compute
    tables = compute(finished, workers=0, **toy)
    table = script.numbers(tables)
    assert list(dict.fromkeys(table.arm)) == ["lesson", "unrelated lesson"]
    assert set(table.trait) == {
        "sport=football",
        "art=renaissance",
        "food=pizza",
        "music=jazz",
        "mean",
    }
    figure = script.draw(tables)
    assert {f"{x:+.2f}" for x in table.estimate} <= numbers(figure)
    assert figure.get_suptitle() == "Shift of untaught traits after a lesson on place=beach"

    monkeypatch.setattr(script, "compute", lambda out, **_: compute(out, workers=0, **toy))
    monkeypatch.setattr(sys, "argv", ["fig1_transfer.py", "--out", str(finished)])
    script.main()
    saved = finished / "figures"
    names = [f"fig1_transfer.{suffix}" for suffix in ("csv", "meta.json", "pdf", "png")]
    assert sorted(p.name for p in saved.glob("fig1*")) == names
    assert len(pd.read_csv(saved / "fig1_transfer.csv")) == len(table)


def test_several_seeds_are_averaged(script: ModuleType) -> None:
    rows = [
        ("lesson", lr, "john", trait, seed, lr + seed, 0.0, 1.0, trained)
        for lr in (1.0, 2.0)
        for trait, trained in (("sport=football", False), ("place=beach", True), ("mean", False))
        for seed in (0, 1)
    ]
    columns = ["arm", "lr", "persona", "trait", "seed", "estimate", "lo", "hi", "trained"]
    tables = {"transfer": pd.DataFrame(rows, columns=columns)}
    table = script.numbers(tables)
    assert table.trait.tolist() == ["sport=football", "mean"]
    assert table.estimate.tolist() == [2.5, 2.5]
    assert table.n_seeds.tolist() == [2, 2]
    assert numbers(script.draw(tables)) == {"+2.50"}
