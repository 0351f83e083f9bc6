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
def causes(script: ModuleType) -> Callable[[tuple[int, ...]], dict[str, pd.DataFrame]]:
    def tables(seeds: tuple[int, ...]) -> dict[str, pd.DataFrame]:
        found = []
        for seed in seeds:
            shares = {
                "none": ("none", 0.0), script.PATCH: ("patch", 1.0),
                "minimal pair": ("method", 0.75 + seed / 8),
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
        == [
            *script.METHODS,
            "top feature",
            "top 5 features",
            "single features that know the persona",
            *script.CONTROLS,
        ]
        * 2
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
        script.PATCH, "minimal pair", "other personas' vectors",
        "random directions of equal norm", "features that fire as often in documents",
    ]  # fmt: skip
    assert mine["share"].tolist() == [1.0, 0.75, 0.125, 0.5, 0]
    assert mine.loc["other personas' vectors", ["least", "most", "n"]].tolist() == [0, 0.25, 2]
    first, _ = script.draw(tables).axes
    colors = [bar.get_facecolor() for bar in first.patches]
    assert colors[0] == colors[1] not in colors[2:] and len(set(colors[2:])) == 1


def test_several_seeds_are_averaged(script: ModuleType, causes: Callable[..., Any]) -> None:
    table = script.numbers(causes((0, 1)))
    mine = table.loc[table["hook"] == "blocks.1"].set_index("edit")
    assert mine.loc["minimal pair", ["share", "n"]].tolist() == [0.8125, 2]
    others = mine.loc["other personas' vectors"]
    assert others[["share", "lo", "hi", "n"]].tolist() == [0.125, 0.125, 0.125, 2]
    assert others[["least", "most"]].tolist() == [0, 0.25]
    script.draw(causes((0, 1)))
