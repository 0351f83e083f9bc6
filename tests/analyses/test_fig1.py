"""Figure 1 computes at a toy size and draws what it computed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fig1_transfer", ROOT / "analyses" / "fig1_transfer.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def toy() -> dict[str, Any]:
    """The quick preset at a size that learns nothing."""
    from persona_interp.models import Stage

    return {
        "arms": ("lesson", "unrelated lesson"),
        "lrs": (1e-3,),
        "documents": Stage(steps=60, batch=16, lr=4e-3, loss="all"),
        "lesson": Stage(steps=2, batch=8),
        "snapshots": (2,),
        "n_documents": 1_000,
        "bystanders": ("named",),
        "sae": {"d_sae": 32, "k": 4, "steps": 20, "batch": 256, "n_tokens": 2_000},
        "n_sae_documents": 200,
        "n_samples": 1,
    }


def numbers(figure: Figure) -> set[str]:
    """Which numbers stand in the cells?"""
    texts = (text.get_text() for axes in figure.axes for text in axes.texts)
    return {text.split()[0].replace("−", "-") for text in texts if text.strip("•\u2009 ")}


@pytest.mark.slow
def test_it_computes_draws_and_saves(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = script.compute(tmp_path / "run", workers=0, **toy())
    table = script.shown(tables)
    assert list(dict.fromkeys(table.arm)) == ["lesson", "unrelated lesson"]
    assert set(table.trait) == {"sport=football", "art=renaissance", "food=pizza", "music=jazz", "mean"}
    figure = script.draw(tables)
    assert {f"{x:+.2f}" for x in table.estimate} <= numbers(figure)
    assert figure.axes[0].get_title(loc="left") == "Shift of untaught traits after a lesson on place=beach"

    finished = script.compute
    monkeypatch.setattr(script, "compute", lambda out, **_: finished(out, workers=0, **toy()))
    monkeypatch.setattr(sys, "argv", ["fig1_transfer.py", "--out", str(tmp_path / "run")])
    script.main()
    saved = tmp_path / "run" / "figures"
    names = [f"fig1_transfer.{suffix}" for suffix in ("csv", "meta.json", "pdf", "png")]
    assert sorted(p.name for p in saved.iterdir()) == names
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
    table = script.shown(tables)
    assert table.trait.tolist() == ["sport=football", "mean"]
    assert table.estimate.tolist() == [2.5, 2.5]
    assert table.n_seeds.tolist() == [2, 2]
    assert numbers(script.draw(tables)) == {"+2.50"}
