"""Two faults at once in a finished run: each is named as it is alone, and a rerun mends both."""

import os
import random
import shutil
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import pytest
import toy_tasks
from toy_tasks import content, run

from persona_interp.errors import StoreError
from persona_interp.schema.words import FileStatus
from persona_interp.store import Store

N_PAIRS = 20
"""Pairs that are tried by default; `make soak` tries all."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


FAULTS: dict[str, Callable[[Path], None]] = {
    "lost": lambda path: shutil.rmtree(path) if path.is_dir() else path.unlink(),
    "empty": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a flipped bit": flip,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished run with a report."""
    root = tmp_path_factory.mktemp("two") / "run"
    store = Store(root)
    store.describe({"experiment": "toy"})
    run(toy_tasks.cells(1), store, workers=0, progress=False)
    (root / "report.html").write_text("what came out")
    store.vouch([root / "report.html"])
    return store


Fault = tuple[str, str]
"""A file or folder of the run, and what happens to it."""


def faults_of(root: Path) -> list[Fault]:
    """Every file of a run with each thing that may happen to it, and folders of cells that go."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    names = [path.relative_to(root).as_posix() for path in files if path.suffix != ".lock"]
    cells = [path.relative_to(root).as_posix() for path in sorted((root / "cells").iterdir())]
    return [(name, fault) for name in names for fault in FAULTS] + [(c, "lost") for c in cells]


def said(root: Path) -> str:
    """What `verify` says is not whole; the refusal where nothing can be said."""
    try:
        files = Store.open(root).verify()
    except StoreError as error:
        return str(error)
    bad = files.loc[files["status"] != FileStatus.OK]
    return " ".join(f"{row.cell}/{row.file}" for row in bad.itertuples())


def complaints(whole: Store, root: Path, pair: tuple[Fault, Fault]) -> list[str]:
    """What goes wrong with a copy of the run in which both things happened."""
    shutil.copytree(whole.root, root, symlinks=True)
    lines = []
    for name, fault in pair:
        if (root / name).exists():  # not within a folder that is lost already
            FAULTS[fault](root / name)
    words = said(root)
    for name, fault in pair:
        place = Path(name)
        is_gone = not (root / name).exists() and fault != "lost"
        if place.name not in words and not is_gone and "manifest" not in words:
            lines.append(f"{pair}: {name} is not named in: {words}")
    again = run(toy_tasks.cells(1), Store(root), workers=0, progress=False)
    again.describe({"experiment": "toy"})
    if content(again) != content(whole):
        lines.append(f"{pair}: other bytes")
    return lines


def check(whole: Store, folder: Path, pairs: Iterable[tuple[Fault, Fault]]) -> None:
    lines = []
    for number, pair in enumerate(pairs):
        root = folder / str(number)
        lines += complaints(whole, root, pair)
        shutil.rmtree(root)
    assert lines == []


@pytest.mark.parametrize("n", [N_PAIRS, pytest.param(None, marks=pytest.mark.soak)])
def test_two_faults(whole: Store, tmp_path: Path, n: int | None) -> None:
    pairs = list(combinations(faults_of(whole.root), 2))
    assert len(pairs) > 500
    check(whole, tmp_path, pairs if n is None else random.Random(0).sample(pairs, n))
