"""The report of planted tables says what they hold, verdicts whichever way they fall."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.summon import report as summon

NAN = float("nan")
MISALIGNED = {
    **{"seed": 0, "before": 0.0, "after": 0.0625, "coherent": 1.0, "bayes_misaligned_after": 0.1},
    **{"villain_before": 0.0, "villain_after": 0.125, "careless_after": 0.5},
    **{"bayes_villain_after": 0.1, "bayes_careless_after": 0.9},
}
PROVENANCE = {"experiment": "summon", "seeds": [0, 1, 2], "cells_done": 9, "cells": 9}


@pytest.fixture
def planted() -> Callable[..., dict[str, pd.DataFrame]]:
    """Measure 1, distance 0.5, bits; the law beats a rival, loses to one, ties with the third."""

    def plant() -> dict[str, pd.DataFrame]:
        shares = [(s, d, m, 0.1) for s in ("aaaa", "bbaa") for d in (0, 2) for m in (0.5, 0.125)]
        summoned = pd.DataFrame(shares, columns=["start", "distance", "measure", "share"])
        law = pd.DataFrame({"factor": ["measure", "distance"], "estimate": [1.0, 0.5]})
        law = law.assign(lo=[0.75, 0.25], hi=[1.25, 0.75], unit="seeds", n_units=3, n=12)
        apart = {"when": ["before", "after"] * 2, "between": ["starts"] * 2 + ["repeats"] * 2}
        paths = pd.DataFrame(apart).assign(estimate=[0.5, 0.375, 0.0, 0.0], lo=0.0, hi=1.0)
        ways = pd.DataFrame({"way": ["broad", "narrow"]})
        solutions = ways.assign(estimate=[0.25, 0.5], lo=0.125, hi=0.625)
        lesson = {"villain": 0.25, "lesson": "insecure code"}
        predictions = pd.DataFrame([{**lesson, "bayes_villain_after": 0.1}])
        harm = {**lesson, "estimate": 0.0625, "lo": NAN, "hi": NAN, "bayes_rise": 0.1}
        auroc = {"score": "misfit", "new": "all", "estimate": 0.875, "lo": 0.75, "hi": 1.0, "n": 18}
        return {
            "summoned": summoned.assign(seed=0),
            "law": law.assign(distance="distance", when="after"),
            "rivals": rivals(),
            "paths_summary": paths,
            "least": ways.assign(taught=1.0, steps=8.0, moved=[0.5, 0.125]),
            "solutions": solutions.assign(eps=1.0),
            "solutions_summary": solutions,
            "predictions": predictions,
            "misaligned": pd.DataFrame([{**lesson, **MISALIGNED}]),
            "misaligned_summary": pd.DataFrame([harm]),
            "novelty": novelty(),
            "told_apart": pd.DataFrame([auroc]),
            "gates": pd.DataFrame({"persona": ["john"], "gap": [5.0]}),
        }

    return plant


def rivals() -> pd.DataFrame:
    """Four laws, one a verdict."""
    laws = ["measure and distance", "uniform", "Bayes, lesson alone", "measure alone"]
    verdicts = ["the law itself", "worse", "better", "not told apart"]
    table = pd.DataFrame({"law": laws, "bits": [0.25, 0.75, 0.125, 0.375], "verdict": verdicts})
    excess = table["bits"] - 0.25
    table = table.assign(estimate=excess, lo=excess - 0.0625, hi=excess + 0.0625)
    return table.assign(unit="seeds", n_units=3, n=12, left_out="start")


def novelty() -> pd.DataFrame:
    """Three planted lessons: two called composable, of which one is new; one undecided."""
    kinds = ["known", "recombined", "recombined"]
    table = pd.DataFrame({"kind": kinds, "planted": ["composable", "new", "new"]})
    table = table.assign(left_out="", misfit=[0.1, 0.2, 0.3], null_hi=0.25)
    return table.assign(verdict=[*["composable from known personas"] * 2, "undecided"])


def test_the_law_and_every_verdict_are_said(
    planted: Callable[..., dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    html = draw_report(tmp_path, planted(), provenance=PROVENANCE).read_text(encoding="utf-8")
    lead = re.search(r'class="lead">(.*?)<', html)
    assert lead and "raises its share by 1.00 [0.75, 1.25] bits" in lead[1]
    assert "by 0.50 [0.25, 0.75] bits" in lead[1]
    assert "uniform worse than the law (by 0.50 [0.44, 0.56])" in html
    assert "Bayes, lesson alone better than the law (by -0.12 [-0.19, -0.06])" in html
    assert "measure alone not told apart from it" in html
    links = re.findall(r'href="(tables/[^"]*)"', html)
    assert [link for link in links if not (tmp_path / link).is_file()] == []
    figures = sorted(path.stem for path in (tmp_path / "figures").glob("*.png"))
    assert figures == ["misaligned", "novelty", "summon"]


def test_a_wrong_verdict_is_counted_and_one_seed_has_no_interval(
    planted: Callable[..., dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    html = draw_report(tmp_path, planted(), provenance=PROVENANCE).read_text(encoding="utf-8")
    assert "is right for 1 of 3, wrong for 1, and 1 are undecided" in html
    assert "changed by 0.062 [no interval]" in html and ">nan<" not in html
    assert "exact Bayes expected +0.100" in html
    assert "ends 0.38 [0.00, 1.00] apart" in html
    assert "broad 0.25 [0.12, 0.62], narrow 0.50" in html


def test_part_of_a_run_is_reported(
    planted: Callable[..., dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    some = {name: planted()[name] for name in ("predictions", "novelty", "told_apart")}
    html = draw_report(tmp_path, some, provenance=PROVENANCE).read_text(encoding="utf-8")
    assert "stated before any model is trained" in html and "Path dependence" not in html
    with pytest.raises(StoreError, match="no finished lesson"):
        summon.blocks(tmp_path, {"predictions": planted()["predictions"]}, provenance={})


def test_the_law_is_read_after_the_lesson(planted: Callable[..., dict[str, Any]]) -> None:
    table = planted()["law"]
    before = table.assign(when="before", estimate=9.0)
    estimated = table.assign(distance="distance_js", estimate=7.0)
    sentence = summon.law(pd.concat([before, table, estimated]))
    assert "1.00" in sentence and "9.00" not in sentence and "7.00" not in sentence


def test_each_verdict_is_said_once(planted: Callable[..., dict[str, Any]]) -> None:
    (sentence,) = summon.verdict(planted()["rivals"])
    assert sentence.count("worse") == sentence.count("better") == 1
