"""Whatever prints an interval, a p, a q or a verdict has a row in the calibration, or a reason."""

import ast
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persona_interp import analysis, dictionaries, schema
from persona_interp.schema.words import Calibration

PROMISES = re.compile(r"``(lo|hi|p_max|verdict|\w+_(lo|hi))``|\b[pq]\b|\b(interval|verdict)s?\b")
COLUMNS = re.compile(r"(^|_)(lo|hi|p|q|verdict)$")
TABLE = re.compile(r"\b[Aa]n? (?:`+schema\.)?(\w+) table")
ROOMS = (analysis, dictionaries)


def promises(function: Callable[..., Any]) -> bool:
    """Does the docstring, or the schema of the table that comes out, speak of an interval?"""
    doc = inspect.getdoc(function) or ""
    returns = doc.partition("Returns:")[2].partition("Raises:")[0]
    columns = [c for name in TABLE.findall(returns) for c in schema.TABLES.get(name, ())]
    return bool(PROMISES.search(returns)) or any(COLUMNS.search(c) for c in columns)


def estimators() -> Iterator[str]:
    """Public functions that say how sure a number is, as ``module.function``."""
    for room in ROOMS:
        for info in pkgutil.iter_modules(room.__path__):
            module = importlib.import_module(f"{room.__name__}.{info.name}")
            for name, value in vars(module).items():
                own = isinstance(value, types.FunctionType) and value.__module__ == module.__name__
                if own and not name.startswith("_") and promises(value):
                    yield f"{info.name}.{name}"


@pytest.fixture
def benchmarks(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, importable as it is for its scripts."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return root / "benchmarks"


def test_every_estimator_has_a_row_or_a_reason(benchmarks: Path) -> None:
    rows = {row.estimator for row in importlib.import_module("calibration").all_rows()}
    exempt = importlib.import_module("exempt").EXEMPT
    names = set(estimators())
    assert len(names) > 40
    assert sorted(names - rows - set(exempt)) == [], "add a row (benchmarks/rows) or a reason"
    assert sorted(set(exempt) - names) == [], "no longer needed in EXEMPT"
    assert sorted(set(exempt) & rows) == [], "has a row, so it needs no reason"


def test_every_row_names_a_function(benchmarks: Path) -> None:
    for row in importlib.import_module("calibration").all_rows():
        module, _, name = row.estimator.partition(".")
        assert hasattr(importlib.import_module(f"persona_interp.analysis.{module}"), name), row.name


def test_no_two_rows_have_one_name(benchmarks: Path) -> None:
    names = [row.name for row in importlib.import_module("calibration").all_rows()]
    assert len(names) == len(set(names))


def test_generators_do_not_import_what_they_test(root: Path) -> None:
    for path in sorted((root / "benchmarks" / "planted").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{a.name}" for a in node.names]
            assert not any("persona_interp.analysis" in name for name in names), path.name


def test_a_new_estimator_is_asked_for() -> None:
    def interval(x: float) -> float:
        """The mean.

        Returns:
            The mean with ``lo``, ``hi`` (95 %).
        """
        return x

    def table(x: float) -> float:
        """Shifts.

        Returns:
            A shift table, one row a run.
        """
        return x

    def mean(x: float) -> float:
        """The mean.

        Returns:
            The mean.
        """
        return x

    assert [promises(f) for f in (interval, table, mean)] == [True, True, False]


def test_a_share_is_judged_by_its_interval(benchmarks: Path) -> None:
    row = importlib.import_module("rows.row")
    coverage, level = row.Quantity.COVERAGE, row.Quantity.LEVEL
    words = [
        row.judge(quantity, *row.share_interval(np.arange(n) < hits)[1:], row.BOUNDS[quantity])
        for quantity, hits, n in (
            (coverage, 950, 1_000),
            (coverage, 19, 20),
            (coverage, 850, 1_000),
            (coverage, 1_000, 1_000),
            (level, 100, 2_000),
            (level, 1, 20),
            (level, 150, 1_000),
        )
    ]
    word = Calibration
    assert words == [
        word.CALIBRATED,
        word.UNDECIDED,
        word.NARROW,
        word.WIDE,
        word.CALIBRATED,
        word.UNDECIDED,
        word.LIBERAL,
    ]


def test_a_seed_gives_the_same_data_whoever_draws_them(benchmarks: Path) -> None:
    calibration = importlib.import_module("calibration")
    row = next(row for row in calibration.all_rows() if row.estimator == "stats.t_interval")
    once, again = (calibration.simulate(calibration.Chunk(row, 100, 20, 7)) for _ in range(2))
    other = calibration.simulate(calibration.Chunk(row, 200, 20, 7))
    assert str(once) == str(again)
    assert len(once) == len(other) == 20
