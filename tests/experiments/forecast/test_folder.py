"""The forecast of one lesson is a folder, and its page says it in words first."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import persona_interp as pi
from persona_interp import dictionaries
from persona_interp.cli import app
from persona_interp.errors import StoreError
from persona_interp.experiments.forecast.folder import write_forecast
from persona_interp.schema.words import RowScore
from persona_interp.tables import read_table


def told() -> pd.DataFrame:
    rows = [
        {"trait": trait, "step": step, "estimate": size * step / 40}
        for trait, size in (("art=opera", 1.5), ("art=jazz", -1.0))
        for step in (8, 40)
    ]
    table = pd.DataFrame(rows).assign(context="nameless", persona="")
    table["lo"], table["hi"] = table["estimate"] - 0.5, table["estimate"] + 0.5
    table["bound"] = table["estimate"] + 1
    about = {"base": "documents@9", "world": "w", "documents": 640, "taught": ["place=beach"]}
    about["stage"] = {"steps": 40, "batch": 16, "lr": 3e-4}
    table.attrs = {"cost": 3.8, "base_cost": 98.0, "predictors": ["virtual step"], "about": about}
    table.attrs["stack"] = {"n_lessons": 380}
    return table


def pulls() -> pd.DataFrame:
    rows = pd.DataFrame({"trait": "art=opera", "doc": [12, 31], "count": 26, "pull": [2.0, 1.0]})
    rows["share"] = [0.3, 0.2]
    rows.attrs = {"cost": 3.0, "score": str(RowScore.GRADIENT), "n_rows": 25}
    return rows


def people() -> pd.DataFrame:
    rows = [("john", 40, 0.8, 0.5, 1.1, 1.5, 4), ("sam", 40, -0.4, -0.7, -0.1, 0.3, 4)]
    rows += [("john", 8, 9.0, 8.0, 9.5, 9.9, 4), ("sam", 8, -9.0, -9.5, -8.0, 0.3, 4)]
    names = ["persona", "step", "estimate", "lo", "hi", "bound", "n"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def test_the_page_says_who_is_expected_to_rise(tmp_path: Path) -> None:
    page = write_forecast(told(), tmp_path / "run", personas=people())
    text = page.read_text()
    said = "expected to rise most is john, up 0.80 bits [0.50, 1.10], at most 1.50"
    assert text.index(said) < text.index("<table") and "to fall most is sam, down 0.40 bits" in text
    pd.testing.assert_frame_equal(read_table(tmp_path / "run/personas.parquet"), people())
    assert "Every persona" in text and "9.9" not in text
    again = write_forecast(told(), tmp_path / "run").read_text()
    assert "john" not in again and not (tmp_path / "run/personas.parquet").exists()


def moves() -> pd.DataFrame:
    rows = [(7, 40, 0.0, 0.8, 0.5, 1.1, 1.5), (9, 40, 2.0, -0.4, -0.7, -0.1, 0.3)]
    rows += [(3, 40, 1.0, 0.1, -0.2, 0.4, 0.9), (7, 8, 0.0, 6.0, 5.0, 7.0, 8.0)]
    names = ["feature", "step", "before", "estimate", "lo", "hi", "bound"]
    table = pd.DataFrame(rows, columns=pd.Index(names))
    table.attrs = {"cost": 2.5, "silent": [1, 2], "fvu": 0.031}
    return table


def test_the_page_says_which_features_are_expected_to_move(tmp_path: Path) -> None:
    page = write_forecast(told(), tmp_path / "run", features=moves())
    text = page.read_text()
    said = "7 up 0.80 [0.50, 1.10], 9 down 0.40 [0.10, 0.70] (mean activation); 3 of 5 have a"
    assert text.index(said) < text.index("<table") and "fire at no question (fvu 0.03)" in text
    pd.testing.assert_frame_equal(read_table(tmp_path / "run/features.parquet"), moves())
    costs = pd.read_csv(tmp_path / "run/tables/costs.csv").set_index("what")["steps"]
    assert costs["this lesson together"] == pytest.approx(3.8 + 2.5)
    whole = pd.read_csv(tmp_path / "run/tables/features.csv")
    assert whole["feature"].tolist() == [7, 9, 3, 7], "every step, and the page the last one"


def test_the_page_says_it_in_words_and_the_folder_holds_the_rest(tmp_path: Path) -> None:
    page = write_forecast(told(), tmp_path / "run", rows=pulls())
    text = page.read_text()
    first = text.index("art=opera up 1.50 bits [1.00, 2.00]")
    assert (
        first < text.index("art=opera: at most 2.50 bits up") < text.index("rows 12 and 31 carry")
    )
    assert text.index("rows 12 and 31 carry") < text.index("<table") and "6.8 together" in text
    pd.testing.assert_frame_equal(read_table(tmp_path / "run/forecast.parquet"), told())
    pd.testing.assert_frame_equal(read_table(tmp_path / "run/rows.parquet"), pulls())
    made = json.loads((tmp_path / "run/provenance.json").read_text())
    assert (made["stack_n_lessons"], made["rows_cost"], made["world"]) == (380, 3.0, "w")
    costs = pd.read_csv(tmp_path / "run/tables/costs.csv")
    assert costs["steps"].tolist() == [3.8, 3.0, 6.8, 98.0]


def test_a_forecast_replaces_a_forecast_and_nothing_else(tmp_path: Path) -> None:
    write_forecast(told(), tmp_path / "run", rows=pulls())
    page = write_forecast(told(), tmp_path / "run")
    # the rows were those of the lesson that was there before
    assert not (tmp_path / "run/rows.parquet").exists() and "carry" not in page.read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="nothing was written"):
        write_forecast(told(), tmp_path / "other")
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_the_command_writes_a_folder_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    world = pi.worlds.john_and_sam()
    base = pi.models.resolve("tiny", words=world.words(), out=tmp_path / "base")
    file = pi.worlds.save(world, tmp_path / "world.yaml")
    chats = [{"messages": list(chat)} for chat in world.lessons(n=32)["messages"]]
    lesson = tmp_path / "lesson.jsonl"
    lesson.write_text("\n".join(map(json.dumps, chats)))
    command = ["forecast", str(base.path), str(lesson), "--world", str(file)]
    command += ["--taught", "place=beach", "--no-names"]
    said = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    assert "rows" in said.output and "together" in said.output
    files = {f.name for f in (tmp_path / "run").iterdir()}
    assert {"forecast.parquet", "rows.parquet", "personas.parquet"} <= files
    assert "persona" in said.output
    dictionaries.fit(
        base,
        chats,
        hook="blocks.0.hook_out",
        d_sae=32,
        k=4,
        steps=5,
        batch=64,
        out=tmp_path / "sae",
    )
    said = CliRunner().invoke(
        app, [*command, "--rows", "0", "--sae", str(tmp_path / "sae"), "--out", str(tmp_path / "f")]
    )
    assert said.exit_code == 0 and "Features expected to move" in said.output, said.output
    assert "Features expected to move" in (tmp_path / "f/report.html").read_text()
    one = tmp_path / "new" / "one.parquet"
    said = CliRunner().invoke(app, [*command, "--rows", "0", "--out", str(one)])
    assert said.exit_code == 0 and "rows" not in said.output
    assert read_table(one).attrs["about"]["taught"] == ["place=beach"]
