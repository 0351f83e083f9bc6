"""The command: what it prints, and its exit code."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.dictionaries import fit, save_dictionary
from persona_interp.models import Checkpoint
from persona_interp.tables import read_table


@pytest.fixture
def texts(corpus: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text(
        "\n".join(json.dumps({"text": messages[0]["content"]}) for messages in corpus.messages)
        + "\n"
    )
    return path


def test_the_doctor_prints_lights_and_exits_by_them(
    counter: Checkpoint, corpus: pd.DataFrame, texts: Path, tmp_path: Path
) -> None:
    fitting = fit(
        counter,
        corpus,
        hook="blocks.0.hook_out",
        d_sae=64,
        k=4,
        steps=300,
        batch=256,
        n_tokens=1200,
        out=tmp_path / "a",
    )
    save_dictionary(dataclasses.replace(fitting, hook="blocks.1.hook_out"), tmp_path / "b")
    common = ["doctor", str(counter.path), "--text", str(texts), "--n-tokens", "300"]
    good = CliRunner().invoke(
        app, [*common, "--sae", str(tmp_path / "a"), "--out", str(tmp_path / "found.parquet")]
    )
    assert good.exit_code == 0, good.output
    assert "green  overall" in good.output and good.output.rstrip().endswith("it fits")
    found = read_table(tmp_path / "found.parquet")
    assert set(found.dictionary) == {fitting.name} and set(found.cause) == {""}
    bad = CliRunner().invoke(
        app, [*common, "--sae", str(tmp_path / "a"), "--sae", str(tmp_path / "b")]
    )
    assert (
        bad.exit_code == 1
        and "wrong layer: it says blocks.1.hook_out but fits blocks.0.hook_out" in bad.output
    )


def test_the_doctor_looks_at_a_model_alone(counter: Checkpoint, texts: Path) -> None:
    found = CliRunner().invoke(app, ["doctor", str(counter.path), "--text", str(texts)])
    assert found.exit_code == 0, found.output
    assert (
        "a text begins with 1 BOS" in found.output and "residuals and logits equal" in found.output
    )


def test_the_doctor_leaves_rows_out(counter: Checkpoint, texts: Path) -> None:
    lines = texts.read_text().splitlines()
    bad = texts.with_name("bad.jsonl")
    bad.write_text("\n".join([lines[0], '{"text": ""}', *lines[1:]]) + "\n")
    command = ["doctor", str(counter.path), "--text"]
    want = CliRunner().invoke(app, [*command, str(texts)])
    assert CliRunner().invoke(app, [*command, str(bad)]).exit_code != 0
    found = CliRunner().invoke(app, [*command, str(bad), "--skip", "2"])
    assert (found.exit_code, found.output) == (want.exit_code, want.output)
