"""Bad data files end in one error of this package, soon and in few words."""

import resource
import time
from pathlib import Path

import pytest
from readers import cases, mutants

from persona_interp.errors import PersonaInterpError

FEW, MANY = 40, 400
"""Inputs of a case."""
MOST_KILOBYTES = 200 * 1024
LONGEST_SECONDS, LONGEST_MESSAGE = 2.0, 2_000


def complaints(folder: Path, *, seed: int, n: int) -> list[str]:
    """What goes wrong with bad files near the good ones."""
    found = []
    for case in cases(folder):
        path = folder / case.file
        for number, data in enumerate(mutants(case, seed=seed, n=n)):
            path.write_bytes(data)
            where, start = f"{case.name}, seed {seed}, input {number}", time.perf_counter()
            try:
                case.read(path)
            except PersonaInterpError as error:
                if len(str(error)) > LONGEST_MESSAGE:
                    found.append(f"{where}: a message of {len(str(error))} characters")
            except Exception as error:
                found.append(f"{where}: {error!r:.200}")
            seconds = time.perf_counter() - start
            if seconds > LONGEST_SECONDS:
                found.append(f"{where}: {seconds:.1f} s")
    return found


def test_the_good_files_are_read(tmp_path: Path) -> None:
    for case in cases(tmp_path):
        path = tmp_path / case.file
        path.write_bytes(case.good)
        assert case.read(path) is not None, case.name


@pytest.mark.filterwarnings("ignore::UserWarning")  # worlds warn of odd ones
def test_a_few_bad_files(tmp_path: Path) -> None:
    assert complaints(tmp_path, seed=0, n=FEW) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_many_bad_files(tmp_path: Path) -> None:
    complaints(tmp_path, seed=0, n=FEW)  # what libraries load once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert complaints(tmp_path, seed=1, n=MANY) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES
