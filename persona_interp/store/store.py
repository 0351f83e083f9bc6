"""Which cells of a run folder are done, and how does a finished one get there?"""

import logging
import os
import shutil
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pandas as pd

from persona_interp.errors import StoreError, unknown
from persona_interp.files import fsync, write_bytes, write_text
from persona_interp.schema.words import FileStatus
from persona_interp.store.cell import Cell, differences, lineage, plain
from persona_interp.store.claims import hold_claim
from persona_interp.store.configuration import configuration_bytes, read_configuration
from persona_interp.store.layout import (
    CELLS,
    ENTRY,
    LOG,
    MANIFEST,
    PLAN,
    RUN,
    check_outside,
    is_run,
)
from persona_interp.store.log import append_line
from persona_interp.store.manifest import append, listing, lock
from persona_interp.store.plan import cells_of, finished_cells, is_plan, rows_of
from persona_interp.store.recovery import recover, set_aside
from persona_interp.store.states import claim_file, failure_file, states
from persona_interp.store.sums import condition, seal
from persona_interp.store.verification import conditions, entry_bytes
from persona_interp.store.vouched import read_vouched, vouch, write_vouched
from persona_interp.tables import json_bytes

_log = logging.getLogger(__name__)


class Store:
    """A run folder: which cells are done, and where their files are.

    ``Store(root)`` opens a run folder or makes one; ``Store.open(root)`` opens an existing one
    only. Neither changes anything in a folder that is a run already: reading works on a read-only
    disk, and what a kill left is settled by ``recover``.

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
        self._manifest = self.root / MANIFEST
        if not self._manifest.is_file():
            if self.root.exists() and not self.root.is_dir():
                raise StoreError(f"{self.root} is a file; a run needs a folder as --out.")
            names = any((self.root / name).is_file() for name in (PLAN, RUN))
            has_lost_it = is_plan(self.root / PLAN) or (names and (self.root / CELLS).is_dir())
            if self.root.is_dir() and any(self.root.iterdir()) and not has_lost_it:
                raise StoreError(
                    f"{self.root} is not empty and has no manifest.jsonl, so it is not a run "
                    "folder and nothing was written into it. Choose a new or empty folder."
                )
            check_outside(self.root)
            self.root.mkdir(parents=True, exist_ok=True)
            self._manifest.touch()  # first of all: a run folder is recognized by it
            fsync(self.root)
        self._refuse_older()

    @classmethod
    def open(cls, root: Path | str) -> Self:
        """Store of an existing run folder.

        Args:
            root: An existing run folder.

        Returns:
            Its store.

        Raises:
            StoreError: There is no run here.
        """
        if not is_run(Path(root)):
            fix = "Give the folder a run was --out to."
            if (Path(root) / PLAN).is_file() or (Path(root) / CELLS).is_dir():
                fix = "Run the experiment again with this --out: it lists whole cells again."
            raise StoreError(f"{root} is not a run folder: it has no {MANIFEST}. {fix}")
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
            StoreError: The cell is not done, has no such file, or a file asked for is not the bytes
                that were committed. Every process reads each file once to know.
        """
        entry = self.manifest().get(cell.id)
        if entry is None or not self._done(cell.id).is_dir():
            raise StoreError(
                f"{cell} is not done in {self.root}; run the experiment with this --out to "
                "compute it."
            )
        files = [
            file for file in entry["files"] if f"{file['path']}/".startswith(name and f"{name}/")
        ]
        if not files:
            names = [file["path"] for file in entry["files"]]
            raise StoreError(unknown(f"file of {cell}", name, names))
        for file in files:
            state = condition(self._done(cell.id), file, again=False)
            if state != FileStatus.OK:
                raise StoreError(
                    f"{file['path']} of {cell} in {self.root} is {state}: not the bytes that were "
                    "committed. Run the experiment again with this --out: it computes this cell "
                    "again, and no others."
                )
        return self._done(cell.id) / name

    def status(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """State of every cell: how far the run is.

        Args:
            cells: The cells asked about, with everything they need; default: those of
                ``plan.json``.

        Returns:
            One row a cell: ``cell``, ``label``, ``state`` (done, running, failed or missing),
            ``reason`` (who computes it, how it failed, which need it lacks). n of N is
            ``(table.state == "done").sum()`` of ``len(table)``.
        """
        ids = {key for key in self.manifest() if self._done(key).is_dir()}
        return states(self.root, self.planned() if cells is None else cells, done=ids)

    def verify(self, cells: Iterable[Cell] | None = None) -> pd.DataFrame:
        """Condition of every file beside what was committed.

        Args:
            cells: The cells to check; default: all of the manifest.

        Returns:
            One row a file: ``cell``, ``file``, ``size`` (bytes, as committed), ``status``: ok,
            missing or corrupt (by size and sha256), or unlisted, where nothing vouches for it. By
            default the run's own files, reports, figures and lines of its manifest and log are
            there too, with an empty ``cell``; ``work``, ``failed`` and ``quarantine`` are not.
        """
        return conditions(self.root, listing(self._manifest), cells=cells)

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
        config, file = plain(config, "config"), self.root / RUN
        with lock(self._manifest) as manifest:
            before = self.config_or_none()
            if before is None and file.exists():
                set_aside(self.root, file)  # cells are named by what they are, so none is lost
            recorded = (before or config) | {key: config[key] for key in places if key in config}
            changes = differences(recorded, config)
            if not changes:
                data = file.read_bytes() if before == config else configuration_bytes(config)
                write_vouched(data, file, manifest=manifest)
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
        if not (self.root / RUN).is_file():
            raise StoreError(f"{self.root} has no {RUN}; give a folder a run was --out to.")
        config = self.config_or_none()
        if config is None:
            raise StoreError(
                f"{self.root / RUN} is not what was written there. Run the experiment again with "
                "this --out: it writes it anew, and finished cells stay."
            )
        return config

    def config_or_none(self) -> dict[str, Any] | None:
        """Configuration that ``describe`` wrote; None where there is none, or a damaged one."""
        return read_configuration(self.root)

    def plan(self, cells: Iterable[Cell]) -> None:
        """Add cells to ``plan.json``: the run wants them.

        Args:
            cells: Cells; what they need is added with them.
        """
        with lock(self._manifest) as manifest:
            wanted = {cell.id: cell for cell in lineage(cells)}
            before = [wanted.get(cell.id, cell) for cell in self.planned()]
            rows = rows_of([*before, *wanted.values()])
            write_vouched(json_bytes(rows), self.root / PLAN, manifest=manifest)

    def planned(self) -> list[Cell]:
        """Cells that the run wants.

        Returns:
            The cells of ``plan.json``, needs first; where it is lost or damaged, the finished ones;
            empty when there is no plan yet.
        """
        rows = read_vouched(self.root / PLAN)
        if rows is not None:
            try:
                return cells_of(rows)
            except StoreError as error:
                _log.warning("%s is not used: %s", self.root / PLAN, error)
        return finished_cells(self.manifest().values())

    def vouch(self, files: Iterable[Path]) -> None:
        """Write down which bytes these files of the run folder hold, for ``verify``.

        Args:
            files: Reports, tables and figures, written just now.
        """
        with lock(self._manifest) as manifest:
            vouch(files, root=self.root, manifest=manifest)

    def recover(self) -> None:
        """Settle what a kill or a damaged manifest left between ``cells`` and the manifest.

        A folder whose own copy of its line vouches for all its files is listed again; any other
        without a line is set aside in ``quarantine``.
        """
        recover(self.root, self._manifest)

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
        with hold_claim(claim_file(self.root, cell.id)):
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
        entry = {"cell": cell.id, **cell.spec, "files": seal(folder)}
        write_bytes(entry_bytes(entry), folder / ENTRY)
        target = self._done(cell.id)
        with lock(self._manifest) as manifest:
            if self.has(cell):
                shutil.rmtree(folder)
                return
            if target.exists():
                set_aside(self.root, target)
            target.parent.mkdir(exist_ok=True)
            os.rename(folder, target)  # noqa: PTH104  (the tests fail the n-th os.rename)
            fsync(target.parent)
            fsync(folder.parent)
            append_line(self.root / LOG, cell, seconds=seconds)
            append(manifest, entry)
        failure_file(self.root, cell.id).unlink(missing_ok=True)

    def retry(self, cell: Cell) -> None:
        """Forget the last failure of a cell, which is about to be tried again.

        Args:
            cell: Any cell; its work folder stays.
        """
        failure_file(self.root, cell.id).unlink(missing_ok=True)

    def fail(self, cell: Cell, error: BaseException) -> str:
        """Keep the traceback of a failed cell in ``failed/``; its work folder stays for a retry.

        Args:
            cell: The cell.
            error: What its task raised.

        Returns:
            The error's type and first line.
        """
        line = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        text = f"{line}\n\n{''.join(traceback.format_exception(error))}"
        try:
            write_text(text, failure_file(self.root, cell.id))
        except OSError as full:  # the first error must not be hidden by a second one
            _log.warning("the traceback of %s could not be written: %s", cell, full)
        return line

    def quarantine(self, cell: Cell) -> None:
        """Move a corrupt cell out of the way, so that it is computed again.

        It alone is: equal inputs give equal bytes, so cells built on it stay valid.

        Args:
            cell: A cell with a missing or corrupt file.
        """
        with lock(self._manifest) as manifest:
            if self._done(cell.id).is_dir():
                # before the tombstone: a kill between leaves "listed, not there"
                set_aside(self.root, self._done(cell.id))
            append(manifest, {"cell": cell.id, "quarantined": True})

    # -- how

    def _refuse_older(self) -> None:
        """Tasks were named by their module once; such cells could be neither found nor computed."""
        first = next(iter(self.manifest().values()), None)  # later ones were added to it
        if first is not None and ":" in first["task"]:
            raise StoreError(
                f"{self.root} was made before tasks had names of their own and is not read any "
                "more; nothing in it was changed. Choose a new --out."
            )

    def _done(self, key: str) -> Path:
        return self.root / CELLS / key
