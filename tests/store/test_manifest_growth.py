"""A manifest that is read on from where it was says what it says when it is read whole."""

import random
import shutil
from pathlib import Path

from persona_interp.store.cell import canonical, digest
from persona_interp.store.manifest import listing
from persona_interp.store.sums import summed


def line(i: int, *, is_struck: bool = False) -> bytes:
    spec = {"task": "base", "config": {"seed": i}, "needs": []}
    entry = {"cell": digest(spec), **spec, "files": []}
    if is_struck:
        entry = {"cell": digest(spec), "quarantined": True}
    return canonical(summed(entry)) + b"\n"


def test_reading_on_is_reading_whole(tmp_path: Path) -> None:
    file, rng = tmp_path / "manifest.jsonl", random.Random(0)
    data = b""
    for i in range(60):
        match rng.randrange(5):
            case 0:
                data += line(rng.randrange(20), is_struck=True)
            case 1 if data:
                start = rng.randrange(len(data))
                data = data[:start] + b" " + data[start + 1 :]
            case 2:
                data = data[: rng.randrange(len(data) + 1)]
            case _:
                data += line(rng.randrange(20))
        file.write_bytes(data)
        fresh = tmp_path / f"{i}.jsonl"
        shutil.copyfile(file, fresh)
        assert listing(file) == listing(fresh)
        listing(file).entries.clear()
        assert listing(file) == listing(fresh), "what a caller changes is the caller's"
