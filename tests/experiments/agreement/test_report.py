"""Sentences about planted tables, and a page of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.agreement import report as agreement

ENDS = {"p": 0.01, "null_lo": -0.4, "null_hi": 0.4, "within": 0.5, "n": 48, "n_seeds": 3}


def compared(truth: str, rho: dict[str, float]) -> pd.DataFrame:
    rows = [(truth, name, r, r - 0.125, r + 0.125) for name, r in rho.items()]
    return pd.DataFrame(rows, columns=["one", "other", "rho", "lo", "hi"]).assign(**ENDS)


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    axioms = {"estimator": ["root js", "nats"], "asymmetry": [0.0, 0.25], "violated": [0.0, 0.05]}
    spillover = {
        "predictor": ["pmi", "cosine", "style"],
        "estimate": [0.5, 0.25, np.nan],
        "lo": [0.25, -0.5, np.nan],
        "hi": [0.75, 1.0, np.nan],
    }
    fit = {"se": 0.1, "standardized": 0.2, "r2": 0.3, "n": 960, "n_clusters": 3}
    measure = compared("documents", {"binding": 0.875, "fact tokens": 1.0, "traits": 0.5})
    return {
        "measure": pd.DataFrame({"estimator": ["binding"]}),
        "measure_agreement": measure,
        "metric_agreement": compared("unshared topics", {"root js": 0.9, "steps": 0.25}),
        "axioms": pd.DataFrame(axioms).assign(
            largest=0.5, n_triples=336, called=["metric", "divergence"], seed=0
        ),
        "margins": pd.DataFrame({"persona": ["john", "sam"], "known": [True, False]}),
        "spillover": pd.DataFrame(spillover).assign(**fit),
    }


def test_what_works_is_named_with_its_interval_and_what_fails_with_a_reason(
    tables: dict[str, pd.DataFrame],
) -> None:
    works, fails = agreement.verdicts(tables, "measure")
    assert works == (
        "Of the measure (against documents, n = 48 personas, worlds: 3), these reach a rank "
        "correlation of 0.7: binding 0.88 [0.75, 1.00]."
    )
    assert fails.startswith("Of the measure these fail: traits 0.50 [0.38, 0.62]: ")
    works, fails = agreement.verdicts(tables, "metric")
    assert "n = 48 pairs" in works and "root js" in works and "steps" in fails


def test_nothing_works_is_said(tables: dict[str, pd.DataFrame]) -> None:
    tables["metric_agreement"] = compared("unshared topics", {"steps": 0.25})
    sentence = agreement.verdicts(tables, "metric")[0]
    assert "no estimator reaches a rank correlation of 0.7." in sentence


def test_without_a_truth_estimators_are_compared_with_each_other(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    for name in ("measure", "metric"):
        tables[f"{name}_agreement"] = compared("binding", {"traits": 0.5})
    sentences = agreement.verdicts(tables, "measure")
    assert sentences[0].startswith("Of this model the true measure is not known")
    assert agreement.numbers(tables).empty
    blocks = agreement.blocks(tmp_path, tables, provenance={"experiment": "agreement"})
    assert sum(block["kind"] == "figure" for block in blocks) == 2


def test_spillover_in_words(tables: dict[str, pd.DataFrame]) -> None:
    first, second, third = agreement.spillover(tables["spillover"])
    rise = "An untaught trait rises by 0.50 bits [0.25, 0.75] per bit of co-occurrence"
    assert first.startswith(rise)
    assert "not told from 0" in second and "not told from 0" not in first
    assert third == "style does not vary here, or is made of the others."


def test_metrics_are_called_what_they_are(tables: dict[str, pd.DataFrame]) -> None:
    text = agreement.kinds(tables["axioms"])
    assert text.startswith("root js: metric (asymmetry 0.00")
    assert "nats: divergence (asymmetry 0.25" in text


def test_the_page_has_all_parts(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    provenance: dict[str, Any] = {"experiment": "agreement"}
    blocks = agreement.blocks(tmp_path, tables, provenance=provenance)
    kinds = [block["kind"] for block in blocks]
    assert kinds.count("figure") == 3 and kinds.count("table") == 1 and blocks[0]["lead"]
    assert (tmp_path / "figures" / "agreement.csv").is_file()
    with pytest.raises(StoreError, match="nothing to report"):
        agreement.blocks(tmp_path, {}, provenance=provenance)
