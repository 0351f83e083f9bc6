"""The report of a planted order experiment tells recency, what SFT hides, and what is forgotten."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.order import report as order
from persona_interp.experiments.order.tables import tables_of

ENDS = {"first last": 1.0, "second last": -1.0, "mixed": 0.0}


def planted(seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, pd.DataFrame]:
    """Recency 4 bits after the lesson, 0 before it after SFT; who came earlier is forgotten."""
    rows = []
    conditions = [(name, 0.0, sft) for name in ENDS for sft in (False, True)]
    conditions += [(name, 0.2, False) for name in ("first last", "second last")]
    for seed in seeds:
        for name, replay, sft in conditions:
            for when in ("before", "lesson"):
                strength = 0.0 if sft and when == "before" else 2.0
                own = {"own_first": 0.875, "own_second": 0.875}
                if not replay and name != "mixed":
                    earlier = {"first last": "second", "second last": "first"}[name]
                    own[f"own_{earlier}"] = 0.125
                row = {
                    "seed": seed,
                    "lr": 2e-3,
                    "order": name,
                    "replay": replay,
                    "sft": sft,
                    "when": when,
                }
                row |= {
                    "first": "john",
                    "second": "sam",
                    "estimate": strength * ENDS[name] + seed / 8,
                    "n": 4,
                }
                rows.append({**row, "lo": -9.0, "hi": 9.0, **own})
    return tables_of(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def provenance() -> dict[str, Any]:
    return {
        "experiment": "order",
        "seeds": [0, 1, 2],
        "cells_done": 20,
        "cells": 20,
        "world": "john_and_sam",
    }


def test_recency_is_found_and_said(provenance: dict[str, Any], tmp_path: Path) -> None:
    tables = planted()
    recency = tables["recency"].set_index(["replay", "sft", "when"])["estimate"]
    assert recency[0.0, False, "lesson"] == pytest.approx(4.0)
    assert recency[0.0, True, "before"] == pytest.approx(0.0)
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    lead = re.search(r'class="lead">(.*?)<', html)
    assert lead
    assert "recency +4.00 bits [4.00, 4.00] (3 seeds, 95 %; least +4.00)" in lead[1]
    assert "least +4.00): the later one weighs more" in lead[1]
    assert "not told apart from 0" in html
    assert (tmp_path / "figures" / "order_lr0.002.png").is_file()
    links = re.findall(r'href="(tables/[^"]*)"', html)
    assert [link for link in links if not (tmp_path / link).is_file()] == []


def test_forgetting_is_told_apart_from_weight() -> None:
    own = planted()["own"].query("when == 'before' and not sft")
    own = own.set_index(["replay", "which"])["estimate"]
    assert own[0.0, "earlier"] == 0.125 and own[0.0, "later"] == 0.875
    assert own[0.2, "earlier"] == own[0.2, "later"] == 0.875, "with rehearsal nobody is forgotten"


def test_one_seed_claims_no_interval() -> None:
    rows = planted((0,))["recency"].itertuples()
    sentences = [order.recency(row, first="john", second="sam") for row in rows]
    assert sentences
    assert all("one seed: no interval" in text for text in sentences)
    assert not any("nan" in text or "[" in text for text in sentences)


def test_an_unfinished_run_says_so(provenance: dict[str, Any], tmp_path: Path) -> None:
    half = planted()["order"].query("order == 'first last'")
    tables = tables_of(half)
    assert "recency" not in tables
    with pytest.raises(StoreError, match="not finished both orders"):
        order.blocks(tmp_path, tables, provenance=provenance)
