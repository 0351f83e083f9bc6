"""A flipped bit of a finished run is named by ``verify`` and never reaches a table or a report."""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from persona_interp.errors import PersonaInterpError
from persona_interp.experiments import compute, report, summarize, wing_names
from persona_interp.store import Store
from persona_interp.store.verification import LOG, MANIFEST, UNVOUCHED
from tests.experiments.toys import toy as toy_named

if TYPE_CHECKING:
    from persona_interp.experiments.transfer.config import Transfer

SEED = int(os.environ.get("SOAK_SEED", "0"))
N_FLIPS, N_REPORTS = 300, 10


def kinds_of(root: Path) -> dict[str, list[Path]]:
    """Files of a run that are vouched for, by place and kind: one of each is flipped in turn."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        place, *below = path.relative_to(root).parts
        if path.is_file() and path.stat().st_size and place not in UNVOUCHED:
            kind = path.name if path.name.startswith(".") else path.suffix
            kinds.setdefault(f"{place}/*{kind}" if below else place, []).append(path)
    return kinds


def draw(kinds: dict[str, list[Path]], n: int, rng: random.Random) -> Iterator[Path]:
    """A file of every kind in turn."""
    return (rng.choice(kinds[kind]) for kind in islice(cycle(sorted(kinds)), n))


@contextmanager
def flipped(file: Path, rng: random.Random) -> Iterator[None]:
    """A file with one bit flipped; afterwards it is as it was."""
    data, times = file.read_bytes(), file.stat()
    damaged, bit = bytearray(data), rng.randrange(8 * len(data))
    damaged[bit // 8] ^= 1 << bit % 8
    file.write_bytes(damaged)
    # two writes of one tick of the clock would be one state of the file to who hashes it once
    moment = times.st_mtime_ns + rng.randrange(10**9, 10**12)
    os.utime(file, ns=(moment, moment))
    try:
        yield
    finally:
        file.write_bytes(data)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_named(file: Path, root: Path) -> None:
    """``verify`` says which file is not as it was written."""
    bad = Store.open(root).verify().query("status != 'ok'")
    place, *below = file.relative_to(root).parts
    if place == "cells":
        named = bad.loc[bad["cell"] == below[0], "file"].eq("/".join(below[1:]))
    elif place in (MANIFEST, LOG):
        named = bad["file"].str.startswith(f"{place} line")
    else:
        named = bad["file"].eq("/".join([place, *below]))
    assert named.any(), (file, bad)


def assert_refused_or_harmless(
    file: Path, root: Path, straight: dict[str, bytes], out: Path
) -> bool:
    """The report names the file, or is the same byte for byte; returns whether it did."""
    try:
        report(root, out=out)
    except PersonaInterpError as error:
        assert file.name in str(error)
        return True
    assert content(out) == straight, file
    return False


def test_a_flipped_bit_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with flipped(tmp_path / "file", random.Random(0)):
        ours = (tmp_path / "file").read_bytes()
        n_bits = sum((a ^ b).bit_count() for a, b in zip(ours, b"abc", strict=True))
    assert n_bits == 1 and (tmp_path / "file").read_bytes() == b"abc"


@pytest.mark.slow
def test_a_flipped_bit_of_a_cell_never_reaches_a_table(
    toy: "Transfer", finished: Store, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    root = shutil.copytree(finished.root, tmp_path / "run")
    kinds = {kind: files for kind, files in kinds_of(root).items() if kind.startswith("cells/")}
    rng, n_refused = random.Random(SEED), 0
    for file in draw(kinds, len(kinds), rng):
        with flipped(file, rng):
            assert_named(file, root)
            try:
                again = summarize(toy, Store.open(root))
            except PersonaInterpError as error:
                assert file.name in str(error)
                n_refused += 1
                continue
        for name, table in tables.items():
            pd.testing.assert_frame_equal(again[name], table, check_exact=True, obj=name)
    assert n_refused > 0


@pytest.mark.soak
@pytest.mark.parametrize("name", wing_names())
def test_every_flipped_bit_is_named_and_none_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "run"
    compute(toy_named(name, tmp_path), root, progress=False)
    report(root)
    assert set(Store.open(root).verify().status) == {"ok"}
    kinds, rng = kinds_of(root), random.Random(f"{SEED} {name}")
    for file in draw(kinds, N_FLIPS, rng):
        with flipped(file, rng):
            assert_named(file, root)
    assert set(Store.open(root).verify().status) == {"ok"}
    report(root, out=tmp_path / "straight")
    straight, n_refused = content(tmp_path / "straight"), 0
    read = {kind: kinds[kind] for kind in kinds if kind.startswith("cells/")}
    read |= {kind: kinds[kind] for kind in ("run.json", "plan.json")}
    for i, file in enumerate(draw(read, max(N_REPORTS, len(read)), rng)):
        with flipped(file, rng):
            n_refused += assert_refused_or_harmless(file, root, straight, tmp_path / f"report {i}")
    print(  # noqa: T201
        f"{name}, seed {SEED}: {N_FLIPS} flips of {len(kinds)} kinds of files, all named; of "
        f"{max(N_REPORTS, len(read))} reports {n_refused} refused, the others equal"
    )
