"""How far is a report? Cells that were read, then figures that were drawn."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from persona_interp.files import collect_writes
from persona_interp.store import Cell, Store

DELAY = 2
"""Seconds before a bar is shown; what is quicker needs none."""


class CountedStore(Store):
    """A run folder that shows how many of its finished cells were read."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root)
        self._read: set[str] = set()
        self._bar = tqdm(disable=True)

    @contextmanager
    def shown(self, *, progress: bool) -> Iterator[None]:
        """Show a bar inside this block.

        Args:
            progress: Whether to.
        """
        self._read.clear()
        self._bar = tqdm(
            total=len(self.manifest()),
            desc="read",
            unit=" cells",
            delay=DELAY,
            disable=not progress,
            file=sys.stderr,
        )
        with self._bar:
            yield
            # no report needs every cell: dictionaries and weights are read by other cells
            self._bar.total = len(self._read)

    def path(self, cell: Cell, name: str = "") -> Path:
        """As ``Store.path``; the bar moves with the first file of every cell."""
        path = super().path(cell, name)
        if cell.id not in self._read:
            self._read.add(cell.id)
            self._bar.update()
        return path


@contextmanager
def counted_figures(*, progress: bool) -> Iterator[list[Path]]:
    """Lend the list of files that are written inside this block, and show a bar of figures.

    Args:
        progress: Whether to show it.

    Yields:
        Paths, as ``files.collect_writes``.
    """
    bar = tqdm(desc="draw", unit=" figures", delay=DELAY, disable=not progress, file=sys.stderr)
    with bar, collect_writes(lambda path: bar.update(path.suffix == ".png")) as written:
        yield written
