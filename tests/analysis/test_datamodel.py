"""Planted row effects are found again, and noise is not."""

import numpy as np
import pandas as pd
import pytest

from persona_interp import analysis
from persona_interp.errors import SchemaError

N_ROWS, N_SUBSETS, TRAITS = 12, 40, ("x=1", "x=2", "y=1")


def planted(noise: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scores that are right and scores of nothing; subsets; two finetunes a subset."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(N_ROWS, len(TRAITS)))
    chosen = rng.permuted(np.tile(np.arange(N_ROWS), (N_SUBSETS, 1)), axis=1) < N_ROWS // 2
    scores = []
    for name, values in (("right", effects), ("chance", rng.normal(size=effects.shape))):
        for doc in range(N_ROWS):
            for trait, value in zip(TRAITS, values[doc], strict=True):
                scores.append(("a", name, doc, trait, value))
    subsets = [("a", subset, doc) for subset, doc in zip(*np.nonzero(chosen), strict=True)]
    shifts = []
    for order in (0, 1):
        actual = chosen @ effects + noise * rng.normal(size=(N_SUBSETS, len(TRAITS)))
        for subset in range(N_SUBSETS):
            for trait, value in zip(TRAITS, actual[subset], strict=True):
                shifts.append(("a", subset, order, trait, value))
    return (
        pd.DataFrame(scores, columns=["lesson", "predictor", "doc", "trait", "score"]),
        pd.DataFrame(subsets, columns=["lesson", "subset", "doc"]),
        pd.DataFrame(shifts, columns=["lesson", "subset", "order", "trait", "estimate"]),
    )


def test_the_truth_scores_one_and_chance_nothing() -> None:
    table = analysis.datamodel_score(*planted(0.0)).set_index("predictor")
    for column in ("pearson", "spearman"):
        assert table.loc["right", column] == pytest.approx(1.0)
        assert table.loc["retrained", column] == pytest.approx(1.0)
        assert abs(table.loc["chance", column]) < 0.3
    assert set(table["n"]) == {N_SUBSETS}
    assert set(table["n_traits"]) == {3}


def test_with_noise_the_truth_reaches_the_root_of_the_ceiling() -> None:
    table = analysis.datamodel_score(*planted(1.5)).set_index("predictor")
    ceiling = table.loc["retrained", "pearson"]
    assert 0.3 < ceiling < 0.8
    assert table.loc["right", "pearson"] == pytest.approx(ceiling**0.5, abs=0.08)


def test_a_second_order_may_cover_some_subsets_only() -> None:
    scores, subsets, shifts = planted(0.5)
    shifts = shifts.loc[(shifts["order"] == 0) | (shifts["subset"] < 10)]
    table = analysis.datamodel_score(scores, subsets, shifts).set_index("predictor")
    assert (table.loc["right", "n"], table.loc["retrained", "n"]) == (N_SUBSETS, 10)


def test_what_is_missing_is_said() -> None:
    scores, subsets, shifts = planted(0.0)
    with pytest.raises(SchemaError, match="scores every row"):
        analysis.datamodel_score(scores.loc[scores["doc"] > 0], subsets, shifts)
    with pytest.raises(SchemaError, match="scores every row"):
        analysis.datamodel_score(scores.loc[scores["trait"] != "x=1"], subsets, shifts)
    with pytest.raises(SchemaError, match="at least 3 subsets"):
        analysis.datamodel_score(scores, subsets, shifts.loc[shifts["subset"] < 2])
    with pytest.raises(SchemaError):
        analysis.datamodel_score(scores.drop(columns="score"), subsets, shifts)
