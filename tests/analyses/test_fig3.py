"""Figure 3 computes at a toy size and draws what it computed."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def script(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("fig3_causes")


def planted(shares: dict[str, tuple[str, float]], *, seed: int, hook: str) -> pd.DataFrame:
    """A table of causes: edit -> group and share."""
    rows = [
        {"edit": e, "group": g, "share": s, "lo": s - 0.125, "hi": s + 0.125}
        for e, (g, s) in shares.items()
    ]
    return pd.DataFrame(rows).assign(base=-4.0, tuned=4.0, edited=0.0, n=5, seed=seed, hook=hook)


@pytest.fixture
def causes() -> Callable[[tuple[int, ...]], dict[str, pd.DataFrame]]:
    def tables(seeds: tuple[int, ...]) -> dict[str, pd.DataFrame]:
        found = []
        for seed in seeds:
            shares = {
                "none": ("none", 0.0), "minimal pair": ("method", 0.75 + seed / 8),
                "mary": ("persona", 0.25), "sam": ("persona", 0.0),
                "random 0 (norm)": ("random (norm)", 0.5), "matched feature 3": ("matched", 0.0),
                "john added": ("added", 1.0),
            }  # fmt: skip
            found += [planted(shares, seed=seed, hook=hook) for hook in ("blocks.1", "blocks.0")]
        return {"causes": pd.concat(found)}

    return tables


@pytest.mark.slow
def test_it_computes_draws_and_saves(
    script: ModuleType, finished: Path, toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = script.compute
    tables = compute(finished, workers=0, **toy)
    table = script.numbers(tables)
    assert table["hook"].unique().tolist() == ["blocks.0.hook_out", "blocks.1.hook_out"]
    assert (
        table["edit"].tolist()
        == [*script.METHODS, "top feature", "top 5 features", *script.CONTROLS] * 2
    )
    figure = script.draw(tables)
    assert [axes.get_title(loc="left") for axes in figure.axes] == table["hook"].unique().tolist()

    monkeypatch.setattr(script, "compute", lambda out, **_: compute(out, workers=0, **toy))
    monkeypatch.setattr(sys, "argv", ["fig3_causes.py", "--out", str(finished)])
    script.main()
    saved = finished / "figures"
    names = [f"fig3_causes.{suffix}" for suffix in ("csv", "meta.json", "pdf", "png")]
    assert sorted(p.name for p in saved.glob("fig3*")) == names
    assert len(pd.read_csv(saved / "fig3_causes.csv")) == len(table)


def test_methods_come_first_and_controls_are_gray(
    script: ModuleType, causes: Callable[..., Any]
) -> None:
    tables = causes((0,))
    table = script.numbers(tables)
    mine = table.loc[table["hook"] == "blocks.0"].set_index("edit")
    assert mine.index.tolist() == [
        "minimal pair", "other personas, mean", "other personas, largest", "random (norm), mean",
        "features that fire as often in documents, mean",
    ]  # fmt: skip
    assert mine["share"].tolist() == [0.75, 0.125, 0.25, 0.5, 0]
    assert mine.loc["other personas, largest", ["lo", "hi", "n"]].tolist() == [0.125, 0.375, 5]
    assert mine.loc["other personas, mean", "n"] == 2, "directions"
    first, _ = script.draw(tables).axes
    colors = [bar.get_facecolor() for bar in first.patches]
    assert colors[0] not in colors[1:] and len(set(colors[1:])) == 1


def test_several_seeds_are_averaged(script: ModuleType, causes: Callable[..., Any]) -> None:
    table = script.numbers(causes((0, 1)))
    mine = table.loc[table["hook"] == "blocks.1"].set_index("edit")
    assert mine.loc["minimal pair", ["share", "n"]].tolist() == [0.8125, 2]
    assert mine.loc["other personas, largest", ["share", "lo", "hi", "n"]].tolist() == [
        0.25,
        0.25,
        0.25,
        2,
    ]
    script.draw(causes((0, 1)))
