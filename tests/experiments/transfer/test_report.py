"""The report of planted tables: figures with all files, numbers of the CSVs, working links."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from persona_interp.experiments.experiment import draw_report
from persona_interp.experiments.transfer.tables import over_seeds
from persona_interp.report import page
from persona_interp.schema.words import Effect

Tables = Callable[..., dict[str, pd.DataFrame]]
AT = "blocks_1_hook_out_lr0.001"
FIGURES = ["curve_lr0.001", f"fidelity_{AT}", "transfer_lr0.001", f"volcano_{AT}"]


@pytest.fixture(scope="module")
def report(
    planted: Tables, provenance: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return draw_report(tmp_path_factory.mktemp("run"), planted(), provenance=provenance)


def test_every_figure_has_its_numbers_and_its_provenance(
    report: Path, provenance: dict[str, Any]
) -> None:
    files = sorted(p.name for p in (report.parent / "figures").iterdir())
    assert files == [
        f"{name}.{suffix}" for name in FIGURES for suffix in ("csv", "meta.json", "pdf", "png")
    ]
    for name in FIGURES:
        meta = json.loads((report.parent / "figures" / f"{name}.meta.json").read_text())
        assert meta["provenance"] == provenance
        assert len(pd.read_csv(report.parent / "figures" / f"{name}.csv")) == meta["rows"] > 0


def test_every_table_is_a_csv(report: Path, planted: Tables) -> None:
    for name, table in planted().items():
        read = pd.read_csv(report.parent / "tables" / f"{name}.csv", dtype={"quantity": str})
        pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_every_number_of_the_summary_is_in_its_csv(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    table = pd.read_csv(report.parent / "tables" / "summary.csv")
    columns = ["estimate", "lo_topics", "hi_topics", "bayes_certain"]
    in_table = {f"{x:+.2f}" for x in table[columns].to_numpy().ravel()}
    sentences = [p for p in re.findall(r"<p.*?</p>", html) if "tables/summary.csv" in p]
    assert len(sentences) == 3
    in_report = set(re.findall(r"[+-]\d+\.\d\d", " ".join(sentences)))
    assert in_report == in_table


def test_every_link_leads_to_a_file(report: Path) -> None:
    links = set(re.findall(r'href="([^"]*)"', report.read_text(encoding="utf-8"))) - {
        "data:,",
        "run.json",
    }
    assert len(links) > 10
    files = [link for link in links if not link.startswith("#")]
    assert [link for link in files if not (report.parent / link).is_file()] == []


def test_one_seed_is_never_called_more(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert "With one seed no interval over seeds exists" in html
    assert "8 of 9 cells are done" in html
    assert "interval over 1 seeds" not in html


def test_two_seeds_are_averaged(
    planted: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    path = draw_report(tmp_path, planted(seeds=(0, 1)), provenance=provenance | {"seeds": [0, 1]})
    html = path.read_text(encoding="utf-8")
    assert "interval over 2 seeds" in html
    assert "over seeds exists" not in html
    matrix = pd.read_csv(tmp_path / "figures" / "transfer_lr0.001.csv")
    assert set(matrix.n_seeds) == {2}
    assert "place=beach" not in set(matrix.trait), (
        "the taught trait is in no figure of untaught ones"
    )


@pytest.mark.parametrize("seeds", ["one", "two", "two of the lesson alone"])
def test_dots_and_sentences_are_of_the_same_intervals(
    planted: Tables,
    provenance: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seeds: str,
) -> None:
    tables = planted(seeds=(0,) if seeds == "one" else (0, 1))
    transfer = tables["transfer"]
    if seeds == "two of the lesson alone":
        transfer = transfer.loc[(transfer["seed"] == 0) | (transfer["arm"] == "lesson")]
    transfer["estimate"] += transfer["seed"] / 8  # else the interval over seeds has no width
    mean = transfer.loc[transfer["trait"] == "mean"]
    tables |= {"transfer": transfer}
    tables["summary"] = over_seeds(mean, by=["arm", "lr", "persona"])
    drawn: list[Figure] = []
    saved = page.saved_figure
    monkeypatch.setattr(page, "saved_figure", lambda *a, **k: drawn.append(a[2]) or saved(*a, **k))
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    (axes,) = [figure.axes[0] for figure in drawn if "Shift of log odds" in figure_caption(figure)]
    last = len(axes.get_xticklabels()) - 1
    arms = [label.get_text() for label in axes.get_yticklabels()]
    dots = {
        arms[int(text.get_position()[1])]: text.get_text().endswith("•")
        for text in axes.texts
        if text.get_position()[0] == last
    }
    assert dots["lesson"] == ("untaught traits rose in the nameless assistant" in html)
    for arm in ("unrelated lesson", "scrambled world"):
        (verdict,) = re.findall(rf">{arm.capitalize()}: ([^;]*);", html)
        assert dots[arm] == (verdict in (Effect.RISE, Effect.FALL)), f"{arm}: {verdict}"
    assert dots["lesson"] and not dots["scrambled world"], "both kinds are planted"


def figure_caption(figure: Figure) -> str:
    return figure.get_supxlabel()


def test_a_failed_gate_is_said_in_the_headline(
    planted: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    tables = {name: planted()[name] for name in ("summary", "transfer", "curve", "gates")}
    tables["gates"]["gap"] = 0.0
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    assert re.search(r'class="lead">.*Read nothing into seed 0', html)


def test_an_unfinished_run_is_reported_as_far_as_it_is(
    planted: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    tables = {name: planted()[name] for name in ("summary", "transfer", "curve")}
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    assert "Base models" not in html and "Features" not in html


def test_one_control_lesson_gives_no_volcano_and_no_roles_no_claim(
    planted: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    tables = planted()
    tables["features"] = tables["features"].assign(controls=np.nan)
    del tables["roles"]
    html = draw_report(tmp_path, tables, provenance=provenance).read_text(encoding="utf-8")
    assert "which knows john best" not in html and "After every lesson the dictionary fits" in html
    assert (tmp_path / "figures" / f"volcano_{AT}.png").is_file()


def test_equal_tables_are_equal_files(
    report: Path, planted: Tables, provenance: dict[str, Any], tmp_path: Path
) -> None:
    draw_report(tmp_path, planted(), provenance=provenance)
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.*"))
    assert len(files) == 11 + 16 + 1
    assert [
        f for f in files if (tmp_path / f).read_bytes() != (report.parent / f).read_bytes()
    ] == []
