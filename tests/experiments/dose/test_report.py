"""The report of a planted dose experiment says its answer, its slopes, what carries the ratio."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.dose import report as dose
from persona_interp.experiments.dose.tables import tables_of
from persona_interp.experiments.experiment import draw_report

LIMITS = {"floor": 0.0125, "ceiling": 0.9125}


@cache
def planted(seeds: tuple[int, ...] = (0, 1, 2), *, weaker: float = 0.0) -> dict[str, pd.DataFrame]:
    """Contrasts as steep as Bayes; named documents carry the ratio, amounts do not count."""
    rng, rows = np.random.default_rng(0), []
    conditions = [(arm, d, 1.0) for arm in ("ratio", "later") for d in (-4, -2, 0, 2, 4)]
    conditions += [("mass", 2, m) for m in (0.5, 1.0, 2.0)]
    conditions += [(arm, d, 1.0) for arm in ("named", "hidden") for d in (-3, 3)]
    for seed in seeds:
        for arm, d, mass in conditions:
            for when, lr, steep in (
                ("before", 0.0, 0.5),
                ("prompt", 0.0, 1.0),
                ("lesson", 1e-3, 1.0),
            ):
                odds = steep * d * (arm != "hidden") + rng.normal(0, 0.2) - weaker
                p = 0.0125 + 0.9 / (1 + 2.0**-odds)
                row = {
                    "seed": seed,
                    "arm": arm,
                    "dose": float(d),
                    "mass": mass,
                    "first": "john",
                    "second": "sam",
                }
                row |= {
                    "when": when,
                    "lr": lr,
                    "estimate": odds,
                    "lo": odds - 1,
                    "hi": odds + 1,
                    "n": 4,
                }
                row |= {
                    "p_first": p,
                    "p_second": 0.925 - p,
                    "bayes_hidden": steep * d,
                    "bayes_named": steep * d,
                }
                amounts = {"documents": 900.0, "statements": 2_700.0, "fact_tokens": 9_000.0}
                for which, share in (("first", 1 / (1 + 2.0**-d)), ("second", 1 / (1 + 2.0**d))):
                    row |= {f"{unit}_{which}": total * share for unit, total in amounts.items()}
                rows.append(row)
    table = pd.DataFrame(rows)
    return {"dose": table, **tables_of(table, limits=LIMITS)}


@pytest.fixture(scope="module")
def provenance() -> dict[str, Any]:
    return {
        "experiment": "dose",
        "seeds": [0, 1, 2],
        "cells_done": 8,
        "cells": 8,
        "world": "john_and_sam",
    }


def test_the_report_answers_in_plain_words(provenance: dict[str, Any], tmp_path: Path) -> None:
    tables = planted()
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    row = tables["reliable"].query("arm == 'ratio' and when == 'lesson'").iloc[0]
    assert 3 < row["ratio_estimate"] < 5, "exact Bayes needs 3.9 times as much"
    lead = re.search(r'class="lead">(.*?)<', html)
    assert lead
    assert f"once there are {row['ratio_estimate']:.2g} times [" in lead[1]
    assert "3 seeds, 95 %" in lead[1]
    assert f"{row['documents_estimate']:.0f} documents" in lead[1]
    for arm in ("ratio", "later"):
        assert (tmp_path / "figures" / f"dose_{arm}_lr0.001.png").is_file()
    links = re.findall(r'href="(tables/[^"]*)"', html)
    assert [link for link in links if not (tmp_path / link).is_file()] == []


def test_what_carries_the_ratio_is_found() -> None:
    carriers = planted()["carriers"].query("when == 'lesson'").set_index("arm")
    assert carriers.loc["named", "lo"] > 0.8 and carriers.loc["ratio", "lo"] > 0.8
    assert abs(carriers.loc["hidden", "estimate"]) < 0.1
    masses = planted()["masses"].query("when == 'lesson' and of == 'contrast'")
    assert masses["lo"].item() < 0 < masses["hi"].item(), "amounts do not count here"


def test_amounts_are_those_of_the_ratio() -> None:
    row = planted()["ed50"].query("arm == 'ratio' and when == 'lesson' and level == 0").iloc[0]
    r = row["ratio_estimate"]
    assert row["documents_estimate"] == pytest.approx(900 * r / (1 + r))
    assert row["fact_tokens_estimate"] == pytest.approx(9_000 * r / (1 + r))


def test_more_than_was_measured_is_an_answer() -> None:
    tables = planted(weaker=6.0)
    row = next(tables["reliable"].query("arm == 'ratio' and when == 'lesson'").itertuples())
    answer = dose.answer(row, first="john", second="sam")
    assert row.where == "above" and np.isnan(row.documents_estimate)
    assert "more than 16 times as many documents about john as about sam" in answer


def test_one_seed_claims_no_interval() -> None:
    tables = planted((0,))
    sentences = []
    for name, sentence in dose.SENTENCES.items():
        sentences += [sentence(row) for row in tables[name].itertuples()]
    for row in tables["reliable"].itertuples():
        sentences.append(dose.answer(row, first="john", second="sam"))
    assert len(sentences) > 20
    assert all("one seed: no interval" in text for text in sentences)
    assert not any("nan" in text or "[" in text for text in sentences)


def test_an_unfinished_run_is_reported_as_far_as_it_is(
    provenance: dict[str, Any], tmp_path: Path
) -> None:
    table = planted()["dose"].query("dose == 0 and arm == 'ratio'")
    tables = {"dose": table, **tables_of(table, limits=LIMITS)}
    assert set(tables) == {"dose"}
    page = draw_report(tmp_path, tables, provenance=provenance)
    assert "Which ratio is enough" not in page.read_text("utf-8")
    with pytest.raises(StoreError, match="no finished documents"):
        dose.blocks(tmp_path, {}, provenance=provenance)
