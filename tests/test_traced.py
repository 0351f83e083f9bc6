"""doctor and compare start no process but git for the provenance, and try no connection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.compare.conftest import HOOK, PROMPTS, QUESTIONS, save_model, save_parts

TRACE = """
import os, sys

EVENTS = ("subprocess", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty",
          "socket.connect", "socket.getaddrinfo", "socket.gethostby", "urllib")

def trace(event, details):
    if event.startswith(EVENTS):
        line = f"{event} {str(details)[:200]}\\n".encode()
        handle = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line)
        os.close(handle)

sys.addaudithook(trace)
"""


def events(folder: Path, *command: object) -> list[str]:
    """What a command and its workers started or asked."""
    (folder / "trace").mkdir()
    (folder / "trace" / "sitecustomize.py").write_text(TRACE)
    log = folder / "events"
    path = os.pathsep.join([str(folder / "trace"), str(Path(__file__).parents[1])])
    # not told to be offline: nobody is to be asked because nothing asks
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"PYTHONPATH": path, "TRACE_FILE": str(log)}
    environment |= {"PERSONA_INTERP_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "persona_interp", *map(str, command)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return log.read_text().splitlines() if log.exists() else []


def test_an_attempt_would_be_seen(tmp_path: Path) -> None:
    code = "import os; os.environ['TRACE_FILE'] = 'events'\n" + TRACE + "os.system('true')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "events").read_text().startswith("os.system")


@pytest.mark.slow
def test_doctor_starts_nothing_and_asks_nobody(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    (tmp_path / "text.txt").write_text("\n".join(QUESTIONS * 20))
    command = ("doctor", base, "--sae", save_parts(tmp_path / "sae"), "--text")
    assert events(tmp_path, *command, tmp_path / "text.txt") == []


@pytest.mark.slow
def test_compare_starts_git_alone_and_asks_nobody(tmp_path: Path) -> None:
    base, tuned = save_model(tmp_path / "base"), save_model(tmp_path / "tuned", planted=True)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    command = ["compare", base, tuned, "--prompts", tmp_path / "prompts.txt", "--hook", HOOK]
    command += ["--neutral", tmp_path / "prompts.txt", "--sae", save_parts(tmp_path / "sae")]
    command += ["--out", tmp_path / "run", "--workers", "2", "--max-new-tokens", "3"]
    lines = events(tmp_path, *command, "--samples", "2")
    assert [line for line in lines if "'git', '-C'" not in line] == []
    assert len(lines) == 1
