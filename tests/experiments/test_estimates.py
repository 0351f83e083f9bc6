"""What a run will cost is read off a miniature; the bytes are those of the run."""

from pathlib import Path

import pytest
from sweep_toys import Lessons, Sweep

from persona_interp.experiments import compute, estimates
from persona_interp.experiments.estimates import estimate
from persona_interp.experiments.miniature import kind_of, shrink, steps_of
from persona_interp.experiments.probe import Trial
from persona_interp.store import Cell, lineage


def test_cells_that_differ_in_names_seeds_and_rates_are_one_kind() -> None:
    cells = lineage(Sweep(n=5).cells())
    kinds = [kind_of(cell) for cell in cells]
    # one that fails where a file is there would be of another kind by its configuration alone
    assert len(set(kinds)) == 2 and kinds[:5] == [kinds[0]] * 5
    base, two, four, shifts = lineage(Lessons().cells())
    assert len({kind_of(cell) for cell in (base, two, four, shifts)}) == 4
    assert [steps_of(cell.config) for cell in (base, two, four, shifts)] == [6, 2, 4, 0]


@pytest.mark.parametrize("most", [2, 5, 39, 40, 500])
def test_a_miniature_has_the_snapshots_of_the_whole(most: int) -> None:
    for snapshots in ([1, 2, 40], [4, 8], [40], []):
        config = {"stage": {"steps": 40}, "snapshots": snapshots, "n_documents": 30_000}
        small = shrink(config, most)
        steps = small["stage"]["steps"]
        assert steps == max(most, len(snapshots) + bool(snapshots)) or steps == 40
        ends = sum(step == 40 for step in snapshots), sum(s == steps for s in small["snapshots"])
        assert ends[0] == ends[1], "one at the end stays there, and no other comes there"
        assert len({*small["snapshots"]}) == len(snapshots)
        assert all(0 < step <= steps for step in small["snapshots"])
        assert small["n_documents"] == 30_000
    assert shrink(config, 40) == config


def test_a_cell_lies_on_the_line_through_its_miniatures() -> None:
    trials = [Trial(2, 10.0, 100, 0), Trial(12, 11.0, 110, 0)]
    assert estimates._line(trials, "seconds", 1_002) == pytest.approx(110)
    assert estimates._line(trials, "bytes", 1_002) == pytest.approx(1_100)
    assert estimates._line(trials[:1], "seconds", 2) == 10


def test_the_time_is_that_of_the_last_worker() -> None:
    base = Cell("base", {})
    cells = [base, *(Cell("tuned", {"i": i}, (base,)) for i in range(4))]
    seconds = {cell.id: 1.0 + (cell.task == "tuned") for cell in cells}
    assert [estimates._makespan(cells, seconds, workers=n) for n in (1, 2, 4, 9)] == [9, 5, 3, 3]
    assert estimates._makespan([], {}, workers=3) == 0


@pytest.mark.slow
def test_bytes_are_those_of_the_run_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    found = estimate(Lessons(), workers=2)
    assert not list((tmp_path / "tmp").glob("estimate-*"))
    compute(Lessons(), tmp_path / "run", workers=0, progress=False)
    files = [file for file in (tmp_path / "run" / "cells").rglob("*") if file.is_file()]
    assert found.disk_bytes == pytest.approx(sum(f.stat().st_size for f in files), rel=0.05)
    assert found.kinds["cells"].sum() == 4 and found.workers == 2
    assert found.peak_bytes == 2 * found.kinds["peak"].max() > 2 * 2**26
    assert 0 < found.h200_bytes < found.peak_bytes and found.h200_seconds > 0
    assert "4 cells of 4 kinds" in str(found) and "no card was asked" in str(found)
