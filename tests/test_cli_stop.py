"""Ctrl-C and SIGTERM end the command line with one line, and paths are what their user meant."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer

from persona_interp import cli
from persona_interp.cli.app import print_table, read_path


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "app", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == f"\n{cli.SENTENCE}\n"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_is_one_line() -> None:
    code = (
        "import os, signal; from persona_interp import cli; "
        "cli.app = lambda: os.kill(os.getpid(), signal.SIGTERM); cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", f"\n{cli.SENTENCE}\n")


def test_ctrl_c_before_anything_is_imported_says_nothing() -> None:
    code = (
        "import os, signal, sys; from persona_interp.__main__ import main; "
        "sys.meta_path.insert(0, type('F', (), {'find_spec': staticmethod("
        "lambda *_: os.kill(os.getpid(), signal.SIGINT))})); main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "~nobody-of-this-name/x"])
def test_a_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_path(text)


def test_the_home_folder_is_meant_where_nothing_is_called_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_path("~/runs") == Path.home() / "runs"
    (tmp_path / "~" / "runs").mkdir(parents=True)
    assert read_path("~/runs") == Path("~/runs")


def test_a_table_obeys_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(pd.DataFrame({"\x1b[2J": ["\x1b[31mred", 3]}))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "⟨U+001B⟩[31mred" in out
