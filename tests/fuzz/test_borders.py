"""Every border function: few bad files by default, many in `make check`, most in `make soak`."""

import os
import resource
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.fuzz.trial import Trial, complaints

ROOMS = ("readers", "models", "dictionaries")
FEW = {"readers": 40, "models": 4, "dictionaries": 4}
MANY = {"readers": 300, "models": 100, "dictionaries": 400}
MOST = 2_600
"""Bad files of a trial: over all of them more than 200,000 in `make soak`."""
PARTS = 6
"""Into as many tests `make soak` cuts a room, so that no core waits for the other."""
MOST_KILOBYTES = 200 * 1024

pytestmark = pytest.mark.filterwarnings("ignore")  # what libraries say about bad files


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))


def trials_of(room: str, folder: Path) -> Iterator[Trial]:
    folder.mkdir()
    return import_module(f"tests.fuzz.{room}").trials(folder)


@pytest.mark.parametrize("room", ROOMS)
def test_good_files_are_read_and_a_few_bad_ones_refused(room: str, tmp_path: Path) -> None:
    trials = list(trials_of(room, tmp_path / "few"))
    for trial in trials:
        assert trial.read() is not None, trial.name
    assert complaints(trials, seed=0, n=FEW[room]) == []


def check_many(
    room: str, folder: Path, *, seed: int, n: int, part: int = 0, parts: int = 1
) -> None:
    """Refuse complaints, and memory beyond what libraries load once, in one of the parts."""
    complaints(trials_of(room, folder / "warm"), seed=0, n=FEW[room])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trials = list(trials_of(room, folder / "many"))[part::parts]
    assert complaints(trials, seed=seed, n=n) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_many_bad_files(room: str, tmp_path: Path) -> None:
    check_many(room, tmp_path, seed=1, n=MANY[room])


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("room", ROOMS)
def test_most_bad_files(room: str, part: int, tmp_path: Path) -> None:
    seed = int(os.environ["SOAK_SEED"])
    n_trials = len(list(trials_of(room, tmp_path / "count"))[part::PARTS])
    sys.stdout.write(f"{MOST * n_trials} files, seed {seed}\n")
    check_many(room, tmp_path, seed=seed, n=MOST, part=part, parts=PARTS)
