"""Whatever happens to a run folder, what is read from it is what was computed, and it goes on."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from persona_interp.errors import StoreError
from persona_interp.files import write_text
from persona_interp.schema.words import FileStatus
from persona_interp.store import Cell, Store
from persona_interp.store.plan import is_plan

BASES = [Cell("draw", {"seed": seed}, label=f"draw {seed}") for seed in range(3)]
TOPS = [Cell("sum", {"n": n}, tuple(BASES[:n]), label=f"sum {n}") for n in (2, 3)]
CELLS = [*BASES, *TOPS]
CONFIG = {"experiment": "draw", "seeds": [0, 1, 2]}
CALLS = ("write", "fsync", "rename", "replace")


class Killed(BaseException):
    """Stands for the end of the process: no ``except Exception`` may go on after it."""


def text_of(cell: Cell) -> str:
    return f"{cell.spec}" * 5


class RunFolder(RuleBasedStateMachine):
    """A run folder under writers that die, disks that rot, and readers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "run"
        Store(self.root)

    def teardown(self) -> None:
        self.go_on()
        store = Store.open(self.root)
        assert set(store.verify().status) <= {"ok"}
        assert all(store.path(cell, "text.txt").read_text() == text_of(cell) for cell in CELLS)
        assert store.config() == CONFIG
        assert set(store.planned()) == set(CELLS)
        shutil.rmtree(self.folder)

    def compute(self, store: Store, cell: Cell) -> None:
        write_text(text_of(cell), store.work(cell) / "text.txt")
        write_text("", store.work(cell) / "deep" / "empty.txt")
        with store.claim(cell):
            if not store.has(cell):
                store.commit(cell, seconds=0)

    def go_on(self) -> None:
        """What a run does."""
        store = Store(self.root)
        store.describe(CONFIG)
        store.recover()
        store.plan(TOPS)
        files = store.verify(CELLS)
        damaged = files.loc[files["status"].isin([FileStatus.MISSING, FileStatus.CORRUPT]), "cell"]
        for cell in CELLS:
            if cell.id in set(damaged):
                store.quarantine(cell)
        for cell in CELLS:
            if not store.has(cell):
                self.compute(store, cell)
        # a file that nobody wrote stays, and stays named
        for extra in store.verify().query("status == 'unlisted'").itertuples():
            shutil.move(self.root / "cells" / str(extra.cell) / str(extra.file), self.folder)

    @rule()
    def run(self) -> None:
        self.go_on()
        assert set(Store.open(self.root).verify().status) <= {"ok"}

    @rule(cell=st.sampled_from(BASES))
    def compute_one(self, cell: Cell) -> None:
        store = Store(self.root)
        store.recover()
        self.compute(store, cell)

    @rule(n=st.integers(1, 60), torn=st.booleans())
    def die(self, n: int, torn: bool) -> None:
        """Die at the n-th write, fsync or rename of a run."""
        remaining = n
        real = {name: getattr(os, name) for name in CALLS}

        def armed(name: str):
            def call(*args: object, **kwargs: object) -> object:
                nonlocal remaining
                remaining -= 1
                if remaining == 0:
                    if name == "write" and torn:
                        real[name](args[0], args[1][: len(args[1]) // 2])  # type: ignore[index]
                    raise Killed
                return real[name](*args, **kwargs)

            return call

        try:
            for name in CALLS:
                setattr(os, name, armed(name))
            self.go_on()
        except Killed:
            pass
        finally:
            for name, function in real.items():
                setattr(os, name, function)

    def files(self) -> list[Path]:
        return sorted(
            path
            for path in self.root.rglob("*")
            if path.is_file() and path.relative_to(self.root).parts[0] not in ("work", "quarantine")
        )

    @precondition(lambda self: self.files())
    @rule(seed=st.integers(0, 2**16))
    def flip(self, seed: int) -> None:
        rng = random.Random(seed)
        file = rng.choice(self.files())
        if data := bytearray(file.read_bytes()):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            file.write_bytes(data)

    @precondition(lambda self: self.files())
    @rule(seed=st.integers(0, 2**16))
    def cut(self, seed: int) -> None:
        rng = random.Random(seed)
        file = rng.choice(self.files())
        os.truncate(file, rng.randrange(file.stat().st_size + 1))

    @precondition(lambda self: self.files())
    @rule(seed=st.integers(0, 2**16))
    def lose(self, seed: int) -> None:
        random.Random(seed).choice(self.files()).unlink()
        plan = self.root / "plan.json"
        if not plan.is_file() or not ((self.root / "cells").is_dir() or is_plan(plan)):
            (self.root / "manifest.jsonl").touch()  # nothing else says that this was a run

    @invariant()
    def what_is_read_is_what_was_computed(self) -> None:
        try:
            store = Store.open(self.root)
        except StoreError:
            assert not (self.root / "manifest.jsonl").is_file()
            return
        before = {path: path.read_bytes() for path in self.files()}
        for cell in CELLS:
            if store.has(cell):
                try:
                    assert store.path(cell, "text.txt").read_text() == text_of(cell)
                except StoreError as error:
                    assert cell.id in str(error)
        store.status()
        store.verify()
        assert store.config_or_none() in (None, CONFIG)
        assert {path: path.read_bytes() for path in self.files()} == before, "reading wrote"


class TestRunFolder(RunFolder.TestCase):
    settings = settings(
        max_examples=8,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
class TestRunFolderLong(RunFolder.TestCase):
    settings = settings(
        max_examples=150,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
