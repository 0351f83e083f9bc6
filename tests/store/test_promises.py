"""Reading changes nothing; every flipped bit of a finished run is named; none is ever read."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.errors import StoreError
from persona_interp.files import write_text
from persona_interp.store import Cell, Store, check, check_listed, sums
from persona_interp.store.cell import canonical
from persona_interp.tables import read_table, write_json, write_table

BASE = Cell("draw", {"seed": 0}, label="base")
TUNED = Cell("draw", {"seed": 1}, (BASE,), label="tuned")
N_FLIPS = 40
"""Of every file; ``make soak`` flips more."""
TABLE = pd.DataFrame({"bits": [0.5, 2.0]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A finished run, with a report."""
    store = Store(tmp_path / "run")
    store.describe({"experiment": "draw", "seeds": [0, 1]})
    store.plan([TUNED])
    for cell in (BASE, TUNED):
        write_table(TABLE, store.work(cell) / "deep" / "bits.parquet")
        write_text("9", store.work(cell) / "square.txt")
        store.commit(cell, seconds=1)
    pages = ("report.html", "tables/bits.csv", "figures/bits.png")
    store.vouch([write_text(page, store.root / page) for page in pages])
    return store.root


def files_of(root: Path) -> Iterator[Path]:
    """Files of a run that somebody may read."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).parts[0] not in ("work", "quarantine"):
            yield path


def state(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files_of(root)}


def read_all(root: Path) -> None:
    """What read commands do."""
    store = Store.open(root)
    store.status()
    store.verify()
    store.planned()
    store.config_or_none()
    for cell in (BASE, TUNED):
        if store.has(cell):
            try:
                read_table(store.path(cell, "deep/bits.parquet"))
            except StoreError:
                pass


def test_a_finished_run_is_whole(root: Path) -> None:
    table = Store.open(root).verify()
    assert set(table.status) == {"ok"}
    names = {path.name for path in files_of(root)} - {".cell.json", "manifest.jsonl", "log.jsonl"}
    assert {Path(file).name for file in table.file} == names


DAMAGE: dict[str, Callable[[Path], None]] = {
    "nothing": lambda root: None,
    "a cell whose line is lost": lambda root: cut_lines(root),
    "an empty manifest": lambda root: (root / "manifest.jsonl").write_bytes(b"") and None,
    "no plan": lambda root: (root / "plan.json").unlink(),
    "half a plan": lambda root: os.truncate(root / "plan.json", 40),
    "an empty configuration": lambda root: os.truncate(root / "run.json", 0),
    "a plan of another kind": lambda root: (root / "plan.json").write_bytes(b"[5]") and None,
    "a torn log": lambda root: os.truncate(root / "log.jsonl", 10),
    "a lost cell": lambda root: (root / "cells" / TUNED.id).rename(root / "work" / "x") and None,
}


def cut_lines(root: Path) -> None:
    manifest = root / "manifest.jsonl"
    lines = [line for line in manifest.read_bytes().splitlines() if TUNED.id.encode() not in line]
    manifest.write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.mark.parametrize("damage", DAMAGE)
def test_reading_changes_nothing(root: Path, damage: str) -> None:
    DAMAGE[damage](root)
    before = state(root)
    read_all(root)
    assert state(root) == before


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "nothing"])
def test_damage_is_named_and_a_rerun_mends_it(root: Path, damage: str) -> None:
    DAMAGE[damage](root)
    bad = Store.open(root).verify().query("status != 'ok'")
    assert not bad.empty
    store = Store(root)
    store.recover()
    store.describe({"experiment": "draw", "seeds": [0, 1]})
    store.plan([TUNED])
    for cell in (BASE, TUNED):
        if not store.has(cell):
            write_table(TABLE, store.work(cell) / "deep" / "bits.parquet")
            write_text("9", store.work(cell) / "square.txt")
            store.commit(cell, seconds=1)
    pages = ("report.html", "tables/bits.csv", "figures/bits.png")
    store.vouch([root / page for page in pages])
    assert set(store.verify().status) == {"ok"}
    assert [cell.label for cell in store.planned()] == ["base", "tuned"]
    assert store.config() == {"experiment": "draw", "seeds": [0, 1]}


def test_a_lost_manifest_is_made_again_from_the_cells(root: Path) -> None:
    (root / "manifest.jsonl").unlink()
    with pytest.raises(StoreError, match="no manifest"):
        Store.open(root)
    store = Store(root)
    store.recover()
    assert store.has(BASE) and store.has(TUNED)


def test_every_flipped_bit_of_a_finished_run_is_named(root: Path) -> None:
    n = 0
    for file in files_of(root):
        data = file.read_bytes()
        bits = range(0, 8 * len(data), max(1, 8 * len(data) // N_FLIPS) | 1)
        for bit in bits:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            bad = Store.open(root).verify().query("status != 'ok'")
            assert not bad.empty, (file, bit)
            n += 1
        file.write_bytes(data)
    assert set(Store.open(root).verify().status) == {"ok"}
    assert n > 5 * N_FLIPS


def test_a_flipped_bit_is_never_read(root: Path) -> None:
    store = Store.open(root)
    file = store.path(BASE, "deep/bits.parquet")
    data = bytearray(file.read_bytes())
    for at in range(0, len(data), 97):
        flipped = bytearray(data)
        flipped[at] ^= 1
        file.write_bytes(flipped)
        os.utime(file, ns=(at, at))
        with pytest.raises(StoreError, match=r"deep/bits\.parquet of base .* is corrupt"):
            store.path(BASE, "deep/bits.parquet")
        with pytest.raises(StoreError, match="corrupt"):
            store.path(BASE)
        assert store.path(BASE, "square.txt").read_text() == "9", "only what is asked for"
    file.write_bytes(data)
    assert read_table(store.path(BASE, "deep/bits.parquet")).equals(TABLE)


def test_a_file_is_hashed_once_a_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = sums._sha256
    monkeypatch.setattr(sums, "_sha256", lambda path: hashed.append(path) or real(path))
    store = Store.open(root)
    for _ in range(3):
        store.path(TUNED)
    assert len(hashed) == 2


def test_what_nothing_vouches_for_is_named(root: Path) -> None:
    write_text("mine", root / "figures" / "mine.png")
    write_text("mine", root / "cells" / BASE.id / "deep" / "mine.txt")
    write_text("mine", root / "cells" / ("0" * 16))
    write_text("hidden", root / ".DS_Store")
    bad = Store.open(root).verify().query("status != 'ok'")
    assert set(bad.status) == {"unlisted"}
    assert sorted(bad.file) == ["", "deep/mine.txt", "figures/mine.png"]


def test_no_other_name_of_a_damaged_file_is_read(root: Path) -> None:
    file, link = root / "cells" / BASE.id / "square.txt", root.parent / "link"
    link.symlink_to(root)
    file.write_text("8")
    ways = (file, root / "cells" / TUNED.id / ".." / BASE.id / "square.txt", link / "cells")
    for path in (*ways[:2], ways[2] / BASE.id / "square.txt"):
        with pytest.raises(StoreError, match="is not what was written there"):
            check(path)
    cut_lines(root)
    with pytest.raises(StoreError, match="nothing vouches for"):
        check(root / "cells" / TUNED.id / "square.txt")
    check(root / "report.html")


def test_a_run_that_lost_lines_has_no_tables(root: Path) -> None:
    check_listed(root)
    manifest = root / "manifest.jsonl"
    data = manifest.read_bytes()
    manifest.write_bytes(data.replace(b'"seed":1', b'"seed":3'))
    with pytest.raises(StoreError, match=rf"line \d+ of .* cannot be read; cells/{TUNED.id} is in"):
        check_listed(root)
    manifest.write_bytes(data)
    (root / "cells" / "0123456789abcdef").mkdir()
    with pytest.raises(StoreError, match="cells/0123456789abcdef is in no line"):
        check_listed(root)


def test_numbers_written_otherwise_are_named_and_old_lines_override_none(root: Path) -> None:
    store, manifest = Store.open(root), root / "manifest.jsonl"
    data = manifest.read_bytes()
    entry = store.manifest()[BASE.id]
    forged = {**entry, "files": [{**entry["files"][0], "sha256": "0" * 64}]}
    manifest.write_bytes(data + canonical(forged) + b"\n")
    assert store.manifest()[BASE.id] == entry
    manifest.write_bytes(data + canonical({"cell": BASE.id, "quarantined": True}) + b"\n")
    assert store.has(BASE)
    log = root / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"seconds":1,', b'"seconds":1.0,'))
    manifest.write_bytes(data.replace(b'"size":1}', b'"size": 1}'))
    assert set(store.verify().query("status == 'corrupt'").file) >= {"log.jsonl line 1"}
    assert (store.verify().file.str.startswith("manifest.jsonl line")).any()


def test_what_is_no_plain_file_of_a_cell_is_named(root: Path) -> None:
    folder = root / "cells" / BASE.id
    (folder / "link").symlink_to(root / "nowhere")
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe")
    (root / "cells" / TUNED.id / ".cell.json").unlink()
    (root / "cells" / TUNED.id / ".cell.json").mkdir()
    bad = Store.open(root).verify().query("status != 'ok'")
    assert sorted(bad.file) == [".cell.json", "link", "pipe"], "an empty folder holds nothing"
    Store(root).recover()
    assert (root / "cells" / TUNED.id / ".cell.json").is_file()


def without_line(root: Path, name: bytes) -> None:
    manifest = root / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(line for line in lines if name not in line))


@pytest.mark.parametrize("lines", ["its line", "every line"])
def test_a_configuration_vouches_for_itself_where_lines_are_lost(root: Path, lines: str) -> None:
    config, file = Store.open(root).config(), root / "run.json"
    without_line(root, b'"run.json"' if lines == "its line" else b"")
    assert Store.open(root).config() == config
    with pytest.raises(StoreError, match="experiment is 'draw' there and 'evidence' here"):
        Store(root).describe(config | {"experiment": "evidence"})
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert Store.open(root).config_or_none() in (None, config), bytes(flipped)


def test_a_configuration_without_checksum_needs_its_line(root: Path) -> None:
    config = Store.open(root).config()
    write_json(config, root / "run.json")
    Store(root).vouch([root / "run.json"])
    assert Store.open(root).config() == config, "a run of before it had one"
    without_line(root, b'"run.json"')
    with pytest.raises(StoreError, match="is not what was written there"):
        Store.open(root).config()


NAMES = {
    "a byte that is no letter": b"\xff.txt",
    "a line end": b"two\nlines.txt",
    "half of a pair": "\ud800.txt".encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["tables", f"cells/{TUNED.id}"])
def test_a_file_of_any_name_is_named(root: Path, name: str, place: str) -> None:
    (root / place / os.fsdecode(NAMES[name])).write_text("x")
    bad = Store.open(root).verify().query("status != 'ok'")
    assert list(bad.status) == ["unlisted"] and bad.file.iloc[0].endswith(".txt")


MISPLACED = ["cells", "work", "failed", "quarantine", "plan.json", "log.jsonl"]


@pytest.mark.parametrize("name", MISPLACED)
@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_stands_where_something_else_belongs(root: Path, name: str, kind: str) -> None:
    if kind == ("file" if name.endswith(("json", "jsonl")) else "folder"):
        return
    place = root / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    make = {"file": Path.touch, "folder": Path.mkdir, "pipe": os.mkfifo}[kind]
    make(place)
    read_all(root)
    if name not in ("work", "failed", "quarantine"):  # nothing vouches for what is in these
        assert set(Store.open(root).verify().status) != {"ok"}
    with pytest.raises(StoreError, match=rf"{name} is no \w+, as it must be in a run folder"):
        Store(root).plan([TUNED])
