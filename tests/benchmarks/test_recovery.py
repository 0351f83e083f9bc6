"""The recovery benchmark judges what it is given; the crosscoder holds what is promised of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.dictionaries.planted import Planted, plant
from persona_interp.schema.words import Status
from planted.copula import copula
from recovery import SHORT, SMALL, compare, judge
from recovery_methods import by_minimal_pairs


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(replace(SMALL, n_tokens=2_000), seed=0)


def findings(planted: Planted, **changes: object) -> pd.DataFrame:
    """What a method would say that knows the truth, but for what is changed."""
    truth = planted.truth
    sizes = np.linalg.norm(planted.decoders, axis=2)
    sizes = sizes / np.median(sizes, axis=1, keepdims=True)
    at, rows = truth["at"].to_numpy(), np.arange(len(truth))
    with np.errstate(divide="ignore"):
        ratio = sizes[at, rows] / sizes[at - 1, rows]
    known = {"cosine": 1.0, "status": truth["status"], "at": at, "ratio": ratio}
    table = pd.DataFrame({**known, **changes})
    own = table["status"] != Status.SHARED
    claims = {"cosine": table["cosine"][own], "truth": truth["status"][own]}
    table.attrs["claims"] = pd.DataFrame(claims)
    return table


def test_who_knows_the_truth_is_right_about_everything(planted: Planted) -> None:
    row = judge(planted, findings(planted))
    for name in ("recovered", "status right", "birth within 1", "artifact not born or dead"):
        assert row[name] == 1
    assert row["false discovery"] == 0 and row["sign right"] == 1
    assert row["magnitude error"] == pytest.approx(0, abs=1e-6)


def test_every_mistake_is_counted(planted: Planted) -> None:
    truth = planted.truth
    late = judge(planted, findings(planted, at=truth["at"] + 2))
    assert late["birth within 1"] == 0
    everywhere = judge(planted, findings(planted, status=str(Status.BORN)))
    assert everywhere["status right"] == (truth["status"] == Status.BORN).mean()
    assert everywhere["artifact not born or dead"] == 0
    assert everywhere["false discovery"] == (truth["status"] == Status.SHARED).mean()
    lost = judge(planted, findings(planted, cosine=0.8))
    assert lost["recovered"] == 0 and lost["false discovery"] == 1


def test_a_minimal_pair_finds_what_is_there(planted: Planted) -> None:
    there = np.linalg.norm(planted.decoders[-1], axis=1) > 0
    assert ((by_minimal_pairs(planted, SHORT)["cosine"] > 0.95) == there).all()


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
        rows += compare("small", plant(SMALL, seed=seed), SHORT, seed=seed, only=["crosscoder"])
    share = pd.DataFrame(rows).mean(numeric_only=True)
    assert share["recovered"] >= 0.92
    assert share["status right"] >= 0.9
    assert share["birth within 1"] >= 0.9
    assert share["artifact not born or dead"] >= 0.95
    assert share["false discovery"] <= 0.06
