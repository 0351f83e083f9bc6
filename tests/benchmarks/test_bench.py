"""Every benchmark runs at a tiny size and says what it measured; no time is judged."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import bench_page
import clusters
import crosscoders
import exponents
import harvest
import memory
import sae
import starts
import subset
import sweeps
from bench import WORKS, row, store
from line import Line, missing, versions
from pairs import Ratios
from persona_interp.schema.words import Ruling

SMALL = sae.Shape(d_in=16, d_sae=64, k=4, batch=32, n=200)
CODER = crosscoders.Shape(checkpoints=2, d_model=8, d_sae=32, k=4, batch=32, n=200)
SIZES: dict[str, Callable[[], Iterator[Line]]] = {
    "clusters": lambda: clusters.lines(pairs=1, n_clusters=6, n_features=120, n_flips=50),
    "sweeps": lambda: sweeps.lines(pairs=1, n=2),
}
SLOW: dict[str, Callable[[], Iterator[Line]]] = {
    "crosscoders": lambda: crosscoders.lines(pairs=1, steps=1, shape=CODER),
    "exponents": lambda: exponents.lines(pairs=1, only="intervals", small=128),
    "harvest": lambda: harvest.lines(pairs=1, prompts=6),
    "memory": lambda: memory.lines(tokens=1000),
    "sae": lambda: sae.lines(pairs=1, steps=1, shape=SMALL),
    "starts": lambda: starts.lines(pairs=1, names="import persona_interp"),
    "subset": lambda: subset.lines(pairs=1, width=8, wide=64, few=4, rows=40),
}
"""What needs torch and SAELens, or processes of its own."""


@pytest.mark.parametrize(
    "name", [*SIZES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_lines_say_what_they_measure(name: str) -> None:
    found = list((SIZES | SLOW)[name]())
    assert any(line.contender.startswith("ours") for line in found)
    for line in found:
        assert line.measure and line.work
        if line.ratios is None:
            assert line.remark.startswith(("not installed", "it has no BatchTopK"))
        else:
            assert line.ratios.least <= line.ratios.median <= line.ratios.most
    assert not any("NOT equal" in line.remark for line in found)


def test_the_exponent_of_a_power_is_that_power() -> None:
    sizes = [10, 20, 40, 80]
    noise = (0.99, 1.01)
    low, slope, high = exponents.exponent(sizes, [[n**1.5 * x for x in noise] for n in sizes])
    assert slope == pytest.approx(1.5) and low < 1.5 < high


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"at_least": 1.0}, Ruling.HOLDS),
        ({"at_least": 2.0}, Ruling.UNDECIDED),
        ({"at_least": 3.1}, Ruling.FAILS),
        ({"at_most": 3.0}, Ruling.HOLDS),
        ({"at_most": 1.9}, Ruling.UNDECIDED),
        ({"at_most": 0.9}, Ruling.FAILS),
        ({}, ""),
    ],
)
def test_all_repetitions_are_judged(bounds: dict[str, float], verdict: str) -> None:
    line = Line("work", "ours", "speed", Ratios(1.0, 2.0, 3.0), **bounds)
    assert line.verdict == verdict
    assert line._replace(ratios=None).verdict == ""


def test_a_peer_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("line").PEERS, "nowhere_at_all", "nowhere-at-all")
    assert missing("nowhere_at_all", "numpy") == "not installed: nowhere-at-all"
    assert versions()["nowhere-at-all"] == "not installed"
    assert missing("numpy") == ""


def test_a_table_keeps_other_works_and_becomes_a_page(tmp_path: Path) -> None:
    csv, page = tmp_path / "bench.csv", tmp_path / "page.md"
    old = Line("start-up", "ours, import", "cost", Ratios(0.01, 0.02, 0.03), at_most=0.1)
    store(pd.DataFrame([row("starts", old)]), csv)
    lines = [
        Line("harvest", "ours, harvest", "speed", Ratios(0.9, 1.0, 1234.0), at_least=0.9),
        Line("harvest", "nnsight, stopped", "speed", remark="not installed: nnsight"),
        Line("harvest", "hook", "speed", Ratios(0.5, 0.61, 0.7)),
    ]
    for _ in range(2):
        store(pd.DataFrame([row("harvest", line) for line in lines]), csv)
    rows = pd.read_csv(csv)
    assert rows["group"].tolist() == ["harvest"] * 3 + ["starts"]
    assert math.isclose(rows["median"][3], 0.02)
    assert set(rows["group"]) < set(WORKS)
    about = pd.DataFrame({"what": ["numpy"], "version": ["2.0"]})
    about.to_csv(csv.with_stem("bench_versions"), index=False)
    page.write_text("words\n" + bench_page.BEGIN + "stale\n" + bench_page.END + "more\n")
    bench_page.write(csv, page)
    text = page.read_text()
    assert text.startswith("words\n") and text.endswith("more\n") and "stale" not in text
    assert "| harvest | speed | .90 / **1.00** / 1,234 | >= 0.9 holds |" in text
    assert "nnsight, stopped (not installed: nnsight); hook .61 |" in text
