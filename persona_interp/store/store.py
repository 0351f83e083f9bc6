"""Which cells of a run folder are done, and how does a finished one get there?"""

import logging
import os
import shutil
import socket
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.errors import StoreError, unknown
from persona_interp.files import atomic, fsync
from persona_interp.schema.words import CellState, FileStatus
from persona_interp.store.cell import Cell, canonical, differences, lineage, plain
from persona_interp.store.claims import hold_claim, is_claimed
from persona_interp.store.manifest import append, condition, listing, lock, seal
from persona_interp.tables import read_json, write_json

_log = logging.getLogger(__name__)


class Store:
    """A run folder: which cells are done, and where their files are.

    ``Store(root)`` opens a run folder or makes one; ``Store.open(root)`` opens an existing one
    only.

    Args:
        root: The run folder: absent, empty, or one that a store made.

    Raises:
        StoreError: The folder holds something else; nothing is overwritten.

    >>> import tempfile
    >>> store, cell = Store(tempfile.mkdtemp()), Cell("square", {"x": 3})
    >>> _ = (store.work(cell) / "square.txt").write_text("9")
    >>> store.commit(cell, seconds=0.1)
    >>> store.path(cell, "square.txt").read_text()
    '9'
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self._manifest = self.root / "manifest.jsonl"
        if not self._manifest.is_file():
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"{self.root} is a file; a run needs a folder as --out.")
            if self.root.is_dir() and any(self.root.iterdir()) and not self._manifest.is_file():
                raise StoreError(
                    f"{self.root} is not empty and has no manifest.jsonl, so it is not a run "
                    "folder and nothing was written into it. Choose a new or empty folder."
                )
            self.root.mkdir(parents=True, exist_ok=True)
            self._manifest.touch()  # first of all: a run folder is recognized by it
            fsync(self.root)
        self._refuse_older()
        self._recover()

    @classmethod
    def open(cls, root: Path | str) -> "Store":
        """Store of an existing run folder.

        Args:
            root: An existing run folder.

        Returns:
            Its store.

        Raises:
            StoreError: There is no run here.
        """
        if not (Path(root) / "manifest.jsonl").is_file():
            raise StoreError(
                f"{root} is not a run folder: it has no manifest.jsonl. Give the folder a run was "
                "--out to."
            )
        return cls(root)

    # -- what is there

    def manifest(self) -> dict[str, dict[str, Any]]:
        """Entries of the manifest: the cells that count.

        Returns:
            ``{cell id: {cell, task, config, needs, files: [{path, size, sha256}]}}``, in order of
            commit. Unreadable lines are skipped, so that their cells are computed again; ``verify``
            names them.
        """
        return listing(self._manifest).entries

    def has(self, cell: Cell) -> bool:
        """Whether a cell is done.

        Args:
            cell: Any cell.

        Returns:
            Whether the manifest lists it and its folder is there.
        """
        return cell.id in self.manifest() and self._done(cell.id).is_dir()

    def path(self, cell: Cell, name: str = "") -> Path:
        """Path of a file of a finished cell.

        Args:
            cell: A finished cell.
            name: Path of a file within the cell; ``""`` for the folder.

        Returns:
            The path.

        Raises:
            StoreError: The cell is not done, or has no such file.
        """
        if not self.has(cell):
            raise StoreError(
                f"{cell} is not done in {self.root}; run the experiment with this --out to "
                "compute it."
            )
        if not name:
            return self._done(cell.id)
        files = [file["path"] for file in self.manifest()[cell.id]["files"]]
        if name not in files and not any(file.startswith(f"{name}/") for file in files):
            raise StoreError(unknown(f"file of {cell}", name, files))
        path = self._done(cell.id) / name
        if not path.resolve().is_relative_to(self._done(cell.id).resolve()):
            raise StoreError(
                f"'{name}' of {cell} points outside of its folder; recompute the run from its "
                "configuration."
            )
        return path

    def status(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """State of every cell: how far the run is.

        Args:
            cells: The cells asked about, with everything they need; default: those of
                ``plan.json``.

        Returns:
            One row a cell: ``cell``, ``label``, ``state`` (done, running, failed or missing). n of
            N is ``(table.state == "done").sum()`` of ``len(table)``.
        """
        ids = {key for key in self.manifest() if self._done(key).is_dir()}
        rows = []
        for cell in lineage(self.planned() if cells is None else cells):
            if cell.id in ids:
                state = CellState.DONE
            elif is_claimed(self._claim_file(cell)):
                state = CellState.RUNNING
            elif self._failure(cell).is_file():
                state = CellState.FAILED
            else:
                state = CellState.MISSING
            rows.append((cell.id, cell.label, str(state)))
        return pd.DataFrame(rows, columns=["cell", "label", "state"])

    def verify(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """Condition of every file beside what was committed.

        Args:
            cells: The cells to check; default: all of the manifest.

        Returns:
            One row a file: ``cell``, ``file``, ``size`` (bytes, as committed), ``status`` (ok,
            missing or corrupt, by size and sha256). An unreadable manifest line is a corrupt row
            with an empty ``cell``.
        """
        entries, unreadable = listing(self._manifest)
        ids = set(entries) if cells is None else {cell.id for cell in cells}
        rows: list[tuple[str, str, int, str]] = []
        if cells is None:
            for number in unreadable:
                rows.append(("", f"manifest.jsonl line {number}", 0, str(FileStatus.CORRUPT)))
        for key in entries:
            if key in ids:
                rows += [
                    (key, f["path"], f["size"], str(condition(self._done(key), f)))
                    for f in entries[key]["files"]
                ]
        return pd.DataFrame(rows, columns=["cell", "file", "size", "status"])

    # -- what changes

    def describe(self, config: dict[str, Any], *, places: Iterable[str] = ()) -> None:
        """Write down what the run depends on; refuse another configuration than was recorded.

        Args:
            config: Everything the run depends on, JSON-able; written to ``run.json`` the first
                time.
            places: Keys of it that say where something lies, not what it is: a new value replaces
                the recorded one.

        Raises:
            StoreError: The folder belongs to another configuration; every difference is named.
        """
        config, file = plain(config, "config"), self.root / "run.json"
        with lock(self._manifest):
            before = self.config_or_none()
            recorded = (before or config) | {key: config[key] for key in places if key in config}
            changes = differences(recorded, config)
            if not changes and before != config:
                write_json(config, file)
        if changes:
            raise StoreError(
                f"{self.root} belongs to another configuration: {'; '.join(changes)}. "
                "Use the recorded values, or choose a new --out."
            )

    def config(self) -> dict[str, Any]:
        """Configuration of the run.

        Returns:
            What ``describe`` wrote.

        Raises:
            StoreError: Nothing was written.
        """
        config = self.config_or_none()
        if config is None:
            raise StoreError(f"{self.root} has no run.json; give a folder a run was --out to.")
        return config

    def config_or_none(self) -> dict[str, Any] | None:
        """Configuration that ``describe`` wrote; None where it has written none yet."""
        file = self.root / "run.json"
        return read_json(file) if file.is_file() else None

    def plan(self, cells: Iterable[Cell]) -> None:
        """Add cells to ``plan.json``: the run wants them.

        Args:
            cells: Cells; what they need is added with them.
        """
        with lock(self._manifest):
            everything = lineage([*self.planned(), *cells])
            rows = [{"cell": cell.id, "label": cell.label, **cell.spec} for cell in everything]
            write_json(rows, self.root / "plan.json")

    def planned(self) -> list[Cell]:
        """Cells that the run wants.

        Returns:
            The cells of ``plan.json``, needs first; empty when there is no plan yet.
        """
        file = self.root / "plan.json"
        cells: dict[str, Cell] = {}
        for row in read_json(file) if file.is_file() else []:
            needs = tuple(cells[key] for key in row["needs"])
            cells[row["cell"]] = Cell(row["task"], row["config"], needs, row["label"])
        return list(cells.values())

    def work(self, cell: Cell) -> Path:
        """Work folder of a cell.

        Args:
            cell: A cell that is not done.

        Returns:
            Its work folder, with whatever an earlier, killed attempt left there.
        """
        folder = self.root / "work" / cell.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def claim(self, cell: Cell) -> Iterator[None]:
        """Claim a cell for this process; wait while another one works on it.

        A killed process lets go by itself.

        Args:
            cell: The cell to work on; ask ``has`` again inside the block.
        """
        (self.root / "work").mkdir(exist_ok=True)
        with hold_claim(self._claim_file(cell)):
            yield

    def commit(self, cell: Cell, *, seconds: float) -> None:
        """Make the work folder of a cell part of the results, for good.

        Args:
            cell: A cell whose work folder is complete. When another process committed it first,
                theirs stays.
            seconds: How long it took; goes to the log only.

        Raises:
            StoreError: The work folder is empty or holds something that is not a plain file.
        """
        folder = self.work(cell)
        files = seal(folder)
        target = self._done(cell.id)
        with lock(self._manifest) as manifest:
            if self.has(cell):
                shutil.rmtree(folder)
                return
            if target.exists():
                self._set_aside(target)
            target.parent.mkdir(exist_ok=True)
            os.rename(folder, target)  # noqa: PTH104  (the tests fail the n-th os.rename)
            fsync(target.parent)
            fsync(folder.parent)
            append(manifest, {"cell": cell.id, **cell.spec, "files": files})
        self._failure(cell).unlink(missing_ok=True)
        record = {
            "cell": cell.id,
            "label": cell.label,
            "time": time.time(),
            "host": socket.gethostname(),
        }
        with (self.root / "log.jsonl").open("ab", buffering=0) as log:
            log.write(
                canonical({**record, "pid": os.getpid(), "seconds": round(seconds, 3)}) + b"\n"
            )

    def fail(self, cell: Cell, error: BaseException) -> str:
        """Keep the traceback of a failed cell in ``failed/``; its work folder stays for a retry.

        Args:
            cell: The cell.
            error: What its task raised.

        Returns:
            The error's type and first line.
        """
        try:
            with atomic(self._failure(cell)) as tmp:
                tmp.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        except OSError as full:  # the first error must not be hidden by a second one
            _log.warning("the traceback of %s could not be written: %s", cell, full)
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"

    def quarantine(self, cell: Cell) -> None:
        """Move a corrupt cell out of the way, so that it is computed again.

        It alone is: equal inputs give equal bytes, so cells built on it stay valid.

        Args:
            cell: A cell with a missing or corrupt file.
        """
        with lock(self._manifest) as manifest:
            if self._done(cell.id).is_dir():
                # before the tombstone: a kill between leaves "listed, not there"
                self._set_aside(self._done(cell.id))
            append(manifest, {"cell": cell.id, "quarantined": True})

    # -- how

    def _refuse_older(self) -> None:
        """Tasks were named by their module once; such cells could be neither found nor computed."""
        plan = self.root / "plan.json"
        entries = [*self.manifest().values(), *(read_json(plan) if plan.is_file() else [])]
        if any(":" in entry["task"] for entry in entries):
            raise StoreError(
                f"{self.root} was made before tasks had names of their own and is not read any "
                "more; nothing in it was changed. Choose a new --out."
            )

    def _done(self, key: str) -> Path:
        return self.root / "cells" / key

    def _failure(self, cell: Cell) -> Path:
        return self.root / "failed" / f"{cell.id}.txt"

    def _claim_file(self, cell: Cell) -> Path:
        return self.root / "work" / f"{cell.id}.lock"

    def _orphans(self) -> list[Path]:
        """Folders of cells that no manifest line vouches for."""
        folder = self.root / "cells"
        if not folder.is_dir():
            return []
        entries = self.manifest()
        return [path for path in sorted(folder.iterdir()) if path.name not in entries]

    def _recover(self) -> None:
        if not self._orphans():  # the usual case needs no lock and no write permission
            return
        with lock(self._manifest):
            for path in self._orphans():
                back = self.root / "work" / path.name
                if back.exists():
                    self._set_aside(path)
                else:
                    back.parent.mkdir(exist_ok=True)
                    path.rename(back)
                _log.warning(
                    "%s was not in the manifest (killed while committing); computed again", path
                )

    def _set_aside(self, folder: Path) -> None:
        aside = self.root / "quarantine"
        aside.mkdir(exist_ok=True)
        n_before = sum(1 for path in aside.iterdir() if path.name.startswith(folder.name))
        os.rename(folder, aside / f"{folder.name}-{n_before}")  # noqa: PTH104
