"""Bad files of models end in one error of this package, soon and in few words."""

import resource
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from models import Case, cases, gguf_case, mutants

from persona_interp.errors import PersonaInterpError
from tests.models.gguf_files import write_gguf

FEW, MANY = 4, 120
"""Inputs of a case."""
MOST_KILOBYTES = 200 * 1024
LONGEST_SECONDS, LONGEST_MESSAGE = 2.0, 2_000


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))


def complaints(every: Iterable[Case], *, seed: int, n: int) -> list[str]:
    """What goes wrong with bad files near the good ones."""
    found = []
    for case in every:
        good = case.file.read_bytes()
        for number, data in enumerate(mutants(case, seed=seed, n=n)):
            case.file.write_bytes(data)
            where, start = f"{case.name}, seed {seed}, input {number}", time.perf_counter()
            try:
                case.read()
            except PersonaInterpError as error:
                if len(str(error)) > LONGEST_MESSAGE:
                    found.append(f"{where}: a message of {len(str(error))} characters")
            except Exception as error:
                found.append(f"{where}: {error!r:.200}")
            seconds = time.perf_counter() - start
            if seconds > LONGEST_SECONDS:
                found.append(f"{where}: {seconds:.1f} s")
        case.file.write_bytes(good)
        case.read()
    return found


def test_the_good_files_are_read(tmp_path: Path) -> None:
    assert all(case.read() is not None for case in cases(tmp_path))


@pytest.mark.filterwarnings("ignore")  # what foreign libraries say about bad files
def test_a_few_bad_files(tmp_path: Path) -> None:
    assert complaints(cases(tmp_path), seed=0, n=FEW) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_bad_files(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    complaints(cases(tmp_path / "warm"), seed=0, n=FEW)  # what libraries load once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "many").mkdir()
    assert complaints(cases(tmp_path / "many"), seed=1, n=MANY) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_many_bad_gguf_files(tmp_path: Path) -> None:
    case = gguf_case(write_gguf(tmp_path / "small.gguf"))
    case.read()
    assert complaints([case], seed=1, n=MANY) == []
