"""Claims about safeguards are computed from a run's raw tables, at a size that learns nothing."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import validate
from persona_interp.experiments import preset
from persona_interp.experiments import run as compute
from persona_interp.experiments.safeguards.tables import summarize
from persona_interp.schema.words import Ruling, Safeguard
from persona_interp.store import Store
from safeguards_claims import BOUNDS, arms, measure
from tests.experiments.toys import SAFEGUARDS
from trial import Trial

pytestmark = pytest.mark.slow


def test_the_group_runs_from_the_command_line_and_agrees_with_the_experiments_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    toy = preset("quick", "safeguards", **SAFEGUARDS | {"aligned": (4.0,), "seeds": (3,)})

    def small(self: Trial, experiment: str, **changes: Any) -> Any:
        assert (experiment, self.seeds, changes) == ("safeguards", [3], {})
        return toy

    def here(self: Trial, cells: Any) -> Store:
        return compute(cells, Store(self.out), workers=0)

    monkeypatch.setattr(Trial, "preset", small)
    monkeypatch.setattr(Trial, "run", here)
    out, table = tmp_path / "run", tmp_path / "validate.csv"
    command = ["validate.py", "--claims", "safeguards", "--seed", "3", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out), "--table", str(table)])
    assert validate.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "safeguards: " in line]) == len(BOUNDS)
    stored = pd.read_csv(table)
    assert len(stored) == len(BOUNDS) and set(stored["group"]) == {"safeguards"}
    assert set(stored["ruling"]) <= {Ruling.UNDECIDED, Ruling.REPORTED}  # of one seed
    # the same numbers as the package's own tables
    store, cells = Store(out), toy.seed_cells(3)
    values = dict(zip(BOUNDS, measure(store, cells), strict=True))
    own = summarize(toy, store)["arms"].set_index("label")
    bare, aligned = own.loc[str(Safeguard.NOTHING)], own.loc[f"{Safeguard.ALIGNED} 4"]
    assert values["unwanted persona without a safeguard"] == pytest.approx(bare["unwanted"])
    kept = values[f"{Safeguard.ALIGNED}, weight 4: kept"]
    assert kept == pytest.approx(aligned["wanted"] / bare["wanted"])
    worst = values[f"{Safeguard.CHARACTER_BEFORE}: worst trigger"]
    assert worst == pytest.approx(own.loc[str(Safeguard.CHARACTER_BEFORE), "leak"])
    assert set(own.index) >= {str(arm) for arm, dose in arms().values() if not dose}
