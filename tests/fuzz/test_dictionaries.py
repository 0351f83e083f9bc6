"""Bad files of SAEs, vectors and caps end in one error of this package, soon and in few words."""

import resource
import time
from pathlib import Path

import pytest
import torch
from dictionaries import answers, cases, mutants

from persona_interp.errors import PersonaInterpError

FEW, MANY = 4, 1_000
"""Inputs of a case."""
MOST_KILOBYTES = 200 * 1024
LONGEST_SECONDS, LONGEST_MESSAGE = 2.0, 2_000


def complaints(folder: Path, *, seed: int, n: int) -> list[str]:
    """What goes wrong with bad files near the good ones."""
    found = []
    for case in cases(folder):
        good = case.file.read_bytes()
        expected = answers(case.read()) if case.hashed else ()
        for number, data in enumerate(mutants(good, case.file.suffix, seed=seed, n=n)):
            case.file.write_bytes(data)
            where, start = f"{case.name}, seed {seed}, input {number}", time.perf_counter()
            try:
                value = case.read()
                if case.hashed and not all(map(torch.equal, answers(value), expected)):
                    found.append(f"{where}: other answers, and not a word")
            except PersonaInterpError as error:
                if len(str(error)) > LONGEST_MESSAGE:
                    found.append(f"{where}: a message of {len(str(error))} characters")
            except Exception as error:
                found.append(f"{where}: {error!r:.200}")
            seconds = time.perf_counter() - start
            if seconds > LONGEST_SECONDS:
                found.append(f"{where}: {seconds:.1f} s")
        case.file.write_bytes(good)
    return found


def test_the_good_files_are_read(tmp_path: Path) -> None:
    assert all(case.read() is not None for case in cases(tmp_path))


def test_a_few_bad_files(tmp_path: Path) -> None:
    assert complaints(tmp_path, seed=0, n=FEW) == []


@pytest.mark.slow
def test_many_bad_files(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    complaints(tmp_path / "warm", seed=0, n=FEW)  # what libraries load once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "many").mkdir()
    assert complaints(tmp_path / "many", seed=1, n=MANY) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES
