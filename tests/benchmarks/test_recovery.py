"""The recovery benchmark judges what it is given; the crosscoder holds what is promised of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import recovery_table
from persona_interp.dictionaries.planted import Planted, plant
from persona_interp.schema.words import Status
from planted.copula import copula
from recovery import SHORT, SMALL, Condition, compare, run_conditions
from recovery_findings import Findings, auroc, cosines, judge, sample
from recovery_methods import by_minimal_pairs
from recovery_table import SECONDS, Table


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(replace(SMALL, n_tokens=2_000), seed=0)


def findings(planted: Planted, **changes: object) -> Findings:
    """What a method would say that knows the truth, but for what is changed."""
    truth = planted.truth
    sizes = np.linalg.norm(planted.decoders, axis=2)
    shared = (truth["status"] == Status.SHARED).to_numpy()
    sizes = sizes / np.median(sizes[:, shared], axis=1, keepdims=True)
    at, rows = truth["at"].to_numpy(), np.arange(len(truth))
    with np.errstate(divide="ignore"):
        ratio = sizes[at, rows] / sizes[at - 1, rows]
    known = {"cosine": 1.0, "status": truth["status"], "at": at, "ratio": ratio}
    table = pd.DataFrame({**known, **changes})
    own = table["status"] != Status.SHARED
    claims = pd.DataFrame({"cosine": table["cosine"][own], "truth": truth["status"][own]})
    activity = planted.acts[sample(planted)].toarray()
    return Findings(table, cosines(planted.decoders, planted.decoders), activity, claims)


def estimates(planted: Planted, given: Findings) -> dict[str, float]:
    """Estimates by measure."""
    return {row["measure"]: row["estimate"] for row in judge(planted, given)}


def test_who_knows_the_truth_is_right_about_everything(planted: Planted) -> None:
    row = estimates(planted, findings(planted))
    for name in (
        "recovered",
        "status right",
        "change point within 1",
        "birth within 1",
        "artifact not born or dead",
        "sign right",
        "persona identified",
    ):
        assert row[name] == 1, name
    assert row["false discovery"] == 0 and row["trait instead"] == 0
    assert row["magnitude error"] == pytest.approx(0, abs=1e-6)
    assert row["persona by chance"] == pytest.approx(0.25)


def test_every_mistake_is_counted(planted: Planted) -> None:
    truth = planted.truth
    late = estimates(planted, findings(planted, at=truth["at"] + 2))
    assert late["birth within 1"] == 0 == late["change point within 1"]
    everywhere = estimates(planted, findings(planted, status=str(Status.BORN)))
    assert everywhere["status right"] == (truth["status"] == Status.BORN).mean()
    assert everywhere["artifact not born or dead"] == 0
    assert everywhere["false discovery"] == (truth["status"] == Status.SHARED).mean()
    # grown where it shrank, by the same factor
    upside_down = findings(planted)
    ratio = 1 / upside_down.features["ratio"]
    assert estimates(planted, findings(planted, ratio=ratio))["sign right"] == 0
    lost = estimates(planted, findings(planted, cosine=0.8))
    assert lost["recovered"] == 0 and lost["false discovery"] == 1


def test_a_detector_that_is_a_trait_or_a_blend_is_no_persona(planted: Planted) -> None:
    """The features of a method answer to each other's tokens, or point between two."""
    own = findings(planted)
    group = planted.truth["group"].to_numpy()
    turned = np.arange(len(group))
    for one in np.unique(group):
        members = np.flatnonzero(group == one)
        turned[members] = np.roll(members, 1)
    swapped = estimates(planted, own._replace(activity=own.activity[:, turned]))
    assert swapped["persona identified"] == 0 and swapped["trait instead"] == 1
    units = planted.decoders / np.linalg.norm(planted.decoders[-1:], axis=2, keepdims=True).clip(1)
    blends = cosines(units + units[:, turned], planted.decoders)
    blended = estimates(planted, own._replace(cosines=blends))
    assert blended["persona identified"] < 0.3 and blended["trait instead"] < 0.3


def test_shares_come_with_their_interval(planted: Planted) -> None:
    rows = {row["measure"]: row for row in judge(planted, findings(planted))}
    assert rows["recovered"]["n"] == 96 and 0.95 < rows["recovered"]["lo"] < 1
    assert rows["persona identified"]["n"] == 24
    labels = planted.acts[:, :5].toarray() > 0
    area = auroc(planted.acts[:, :5].toarray(), labels)
    assert np.diag(area) == pytest.approx(1)


def test_a_minimal_pair_finds_what_is_there(planted: Planted) -> None:
    there = np.linalg.norm(planted.decoders[-1], axis=1) > 0
    pairs = by_minimal_pairs(planted, SHORT)
    assert ((pairs.features["cosine"] > 0.95) == there).all()


@pytest.mark.parametrize("commit", ["7eb9de9", "024e174", "0012345"])
def test_what_the_table_holds_is_not_computed_again(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str
) -> None:
    monkeypatch.setattr(recovery_table, "revision", lambda: commit)
    drawn = []

    def draw() -> Planted:
        drawn.append(1)
        return planted

    path = tmp_path / "deep" / "recovery.csv"
    own = [Condition("tiny", draw, SHORT)]
    run_conditions(Table(path), own, seed=1, methods=["PCA"])
    first = path.read_text()
    run_conditions(Table(path), own, seed=1, methods=["PCA"])
    assert path.read_text() == first and len(drawn) == 1
    table = Table(path)
    run_conditions(table, own, seed=1, methods=["PCA", "minimal pair"])
    assert path.read_text().startswith(first) and len(drawn) == 2
    assert table.of("tiny", 1, "minimal pair")["recovered"] > 0.8
    assert "minimal pair" in table.text(["tiny"], [1])
    table.add("tiny", 1, "SAE", [{"measure": SECONDS, "estimate": 2.0}])
    table.add("tiny", 1, "twice", [{"measure": SECONDS, "estimate": 4.0}])
    assert table.of("tiny", 1, "SAE")["cost"] == 1 and table.of("tiny", 1, "twice")["cost"] == 2


def test_the_second_generator_plants_what_it_says() -> None:
    planted = copula(0, checkpoints=3, width=24, features=80, tokens=4_000, correlation=0.3)
    rest = planted.residuals[1] - planted.acts @ planted.decoders[1]
    assert rest.std(axis=0).max() < 0.1
    norms = np.linalg.norm(planted.decoders, axis=2)
    status = planted.truth["status"].to_numpy()
    assert (norms[0, status == Status.BORN] == 0).all()
    assert (norms[0, status != Status.BORN] > 0).all()
    assert len(planted.documents) == 4_000 and planted.acts.shape == (4_000, 80)


@pytest.mark.slow
def test_a_crosscoder_finds_features_and_what_became_of_them() -> None:
    """The promise of the issue at a small size, on seeds that nothing was chosen on.

    A world has eight births, so the shares are those of two worlds together.
    """
    torch.set_num_threads(1)
    rows = []
    for seed in (21, 22):
        rows += compare(plant(SMALL, seed=seed), SHORT, method="crosscoder")
    share = pd.DataFrame(rows).groupby("measure")["estimate"].mean()
    assert share["recovered"] >= 0.92
    assert share["status right"] >= 0.9
    assert share["birth within 1"] >= 0.9
    assert share["artifact not born or dead"] >= 0.95
    assert share["false discovery"] <= 0.06
