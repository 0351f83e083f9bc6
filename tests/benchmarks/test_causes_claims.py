"""Claims about causes are decided by intervals over finetunes, and computed from raw tables."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import causes_claims
import validate
from causes_claims import Removal, claims_of, inside, removals_of
from persona_interp.experiments import run as compute
from persona_interp.experiments.causes.sources import search
from persona_interp.experiments.causes.tables import summarize
from persona_interp.schema.words import Group, Ruling, Way
from persona_interp.store import Store
from tests.experiments.causes.conftest import save_models
from trial import Trial

WORKS = Removal(2.5, 0.75, 0.95, 1.0, 0.02, (0.3, 0.4), 0.2)
N_DECIDED = 4


def rulings(*removals: Removal) -> list[Ruling]:
    decided = [c.ruling for c in claims_of(0, list(removals)) if c.ruling != Ruling.REPORTED]
    assert len(decided) == N_DECIDED
    return decided


def spread(**wide: float) -> list[Removal]:
    """Three finetunes that differ a little, and in what is named by as much as is said."""
    widths = {"whole": 0.01, "nats": 0.01, "others": 0.01} | wide
    return [
        WORKS._replace(**{name: getattr(WORKS, name) + i * w for name, w in widths.items()})
        for i in (-1, 0, 1)
    ]


def test_what_holds_in_three_finetunes_holds() -> None:
    assert rulings(*spread()) == [Ruling.HOLDS] * N_DECIDED


def test_a_mean_on_the_right_side_is_no_claim() -> None:
    assert rulings(*spread(whole=0.2))[0] == Ruling.UNDECIDED
    assert rulings(*spread(others=0.2))[2] == Ruling.UNDECIDED
    assert set(rulings(*spread()[:1])) == {Ruling.UNDECIDED}


def test_a_broken_model_is_no_success() -> None:
    broken = [removal._replace(nats=removal.nats + 3) for removal in spread()]
    assert rulings(*broken) == [Ruling.HOLDS, Ruling.FAILS, Ruling.HOLDS, Ruling.HOLDS]


def test_where_nothing_moved_nothing_is_said() -> None:
    nothing = Removal(0.1, *[np.nan] * 4, (np.nan, np.nan), np.nan)
    shares = rulings(nothing, *spread()[:2])[:3]
    assert shares == [Ruling.UNDECIDED] * 3


def test_zero_lies_inside_a_band_around_it_and_outside_one_beside_it() -> None:
    assert inside(np.array([-0.1, 0.0, 0.1])) > 0.3
    assert inside(np.array([0.9, 1.0, 1.1])) < -0.4


@pytest.mark.slow
def test_the_group_runs_from_the_command_line_and_agrees_with_the_packages_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    made = save_models(tmp_path)
    experiment = search(made.pop("base"), made.pop("tuned"), **made)

    def here(self: Trial, cells: Any) -> Store:
        return compute(cells, Store(self.out), workers=0)

    monkeypatch.setattr(causes_claims, "search_of", lambda trial, seed: experiment)
    monkeypatch.setattr(Trial, "run", here)
    out, table = tmp_path / "run", tmp_path / "validate.csv"
    command = ["validate.py", "--claims", "causes", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out), "--table", str(table)])
    validate.main()
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "causes, seed 0: " in line]) == len(pd.read_csv(table))
    # the same numbers as the package's own tables
    removals = removals_of(Trial([0], None, out), 0)
    carriers = summarize(experiment, Store(out))["carriers"]
    removed = carriers.loc[(carriers["how"] == Way.REMOVED) & (carriers["measure"] == "behavior")]
    own = removed.loc[removed["candidate"].str.startswith("john:")].sort_values("size")
    shares = own["share_of_patch"].tolist()
    assert np.mean([r.directions for r in removals]) == pytest.approx(shares[0])
    assert np.mean([r.whole for r in removals]) == pytest.approx(shares[-1])
    others = removed.loc[removed["group"] == Group.OTHER, "share_of_patch"].mean()
    assert np.mean([r.others for r in removals]) == pytest.approx(others)
    whole = own.iloc[-1]
    assert all(min(r.inside) > 0 for r in removals) == (whole["null_lo"] < 0 < whole["null_hi"])
    assert np.mean([r.nats for r in removals]) == pytest.approx(whole["excess"], abs=0.05)
