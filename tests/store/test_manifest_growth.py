"""A manifest that is read on from where it was says what it says when it is read whole."""

import random
import shutil
from pathlib import Path

from persona_interp.store.cell import canonical, digest
from persona_interp.store.manifest import append, listing, lock
from persona_interp.store.sums import summed


def line(i: int, *, is_struck: bool = False) -> bytes:
    spec = {"task": "base", "config": {"seed": i}, "needs": []}
    entry = {"cell": digest(spec), **spec, "files": []}
    if is_struck:
        entry = {"cell": digest(spec), "quarantined": True}
    return canonical(summed(entry)) + b"\n"


def change(data: bytes, rng: random.Random) -> bytes:
    """A manifest after something happened to it: growth, a flipped byte, a cut."""
    match rng.randrange(5):
        case 0:
            return data + line(rng.randrange(20), is_struck=True)
        case 1 if data:
            start = rng.randrange(len(data))
            return data[:start] + b" " + data[start + 1 :]
        case 2:
            return data[: rng.randrange(len(data) + 1)]
    return data + line(rng.randrange(20))


def test_reading_on_is_reading_whole(tmp_path: Path) -> None:
    file, rng = tmp_path / "manifest.jsonl", random.Random(0)
    data = b""
    for i in range(60):
        data = change(data, rng)
        file.write_bytes(data)
        fresh = tmp_path / f"{i}.jsonl"
        shutil.copyfile(file, fresh)
        assert listing(file) == listing(fresh)
        listing(file).entries.clear()
        assert listing(file) == listing(fresh), "what a caller changes is the caller's"


def test_a_writer_that_has_read_mends_what_a_new_one_would(tmp_path: Path) -> None:
    file, rng = tmp_path / "manifest.jsonl", random.Random(1)
    data = b""
    for i in range(120):
        file.write_bytes(change(data, rng))
        if rng.randrange(2):
            listing(file)
        (tmp_path / str(i)).mkdir()
        fresh = tmp_path / str(i) / "manifest.jsonl"
        shutil.copyfile(file, fresh)
        for one in (file, fresh):
            with lock(one) as handle:
                append(handle, {"path": "tables/a.csv", "size": i, "sha256": "0" * 64})
        data = file.read_bytes()
        assert data == fresh.read_bytes()
        assert not listing(fresh).unreadable
