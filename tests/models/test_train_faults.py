"""Whatever goes wrong in a training: train again, and the bytes are those of no fault."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.faults import finish, start

SCRIPT = Path(__file__).with_name("toy_training.py")
KILLS = 4
FAULTS = (
    *("full", "broken", "dead", "full from there", "full after 100 bytes", "full after 20 kB"),
    *("torn at once", "torn after 100 bytes", "torn after 20 kB"),
)
"""Those of the script; it forks, so nothing is imported from it."""
OURS = ("ModelError", "OSError")
"""What an error on the way may be: of this package, or of the system."""


@pytest.fixture
def inputs(tiny: Any, corpus: pd.DataFrame, tmp_path: Path) -> tuple[Path, Path]:
    """Folder of the start, file of the documents."""
    corpus.to_json(tmp_path / "corpus.json", orient="records")
    return tiny.path, tmp_path / "corpus.json"


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a training, byte for byte; hidden ones are nobody's result."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    shown = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return {name.as_posix(): (folder / name).read_bytes() for name in shown}


@pytest.mark.parametrize(
    ("step", "names"),
    [
        pytest.param(20, FAULTS, marks=pytest.mark.slow, id="some"),
        *(pytest.param(1, (name,), marks=pytest.mark.soak, id=name) for name in FAULTS),
    ],
)
def test_a_fault_at_every_call_is_survived(
    inputs: tuple[Path, Path], tmp_path: Path, step: int, names: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    finish(start(SCRIPT, "faults", *inputs, out, step, *names), timeout=3600)
    straight = content(out / "straight")
    folders = sorted(path for path in out.iterdir() if path.is_dir() and path.name != "straight")
    assert len(folders) > 18 and "trajectory.json" in straight
    again = {f.name: f.with_suffix(".again") for f in folders}
    outcomes = {name: file.read_text() for name, file in again.items() if file.is_file()}
    assert {name: what for name, what in outcomes.items() if what != "nothing"} == {}
    assert [folder.name for folder in folders if content(folder) != straight] == []
    errors = {file.stem: file.read_text() for file in out.glob("*.fault")}
    raw = {name: error for name, error in errors.items() if error.split(":")[0] not in OURS}
    assert {name: error for name, error in raw.items() if error != "nothing"} == {}


@pytest.mark.slow
def test_kills_at_random_moments_are_survived(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    def begin(name: str) -> Any:
        process = start(SCRIPT, "train", *inputs, tmp_path / name)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    process, began = begin("straight"), time.monotonic()  # imported by now
    finish(process, timeout=600)
    seconds = time.monotonic() - began
    rng, killed = random.Random(0), 0
    for _ in range(KILLS):
        process = begin("killed")
        time.sleep(rng.uniform(0, 2 * seconds / (KILLS + 1)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 3, "the training was over before it could be killed"
    finish(begin("killed"), timeout=600)
    assert content(tmp_path / "killed") == content(tmp_path / "straight")
