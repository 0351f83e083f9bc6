"""An experiment whose cells do nothing: what is left is what a sweep costs by itself.

``persona-interp run benchmarks/nothing.py:Nothing`` runs it as any user's file. Nothing heavy is
imported here, so that a bare pool of processes that writes the same files starts as fast as it can.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TITLE = "Nothing"


@dataclass(frozen=True)
class Nothing:
    """So many cells that write one line each."""

    seeds: tuple[int, ...] = (0,)
    n: int = 200

    def cells(self) -> list[Any]:
        """The cells."""
        from persona_interp.store import Cell

        return [Cell("nothing.write", {"seed": i}, label=f"cell {i}") for i in range(self.n)]


def write(config: dict[str, Any], needs: tuple[Path, ...], out: Path) -> None:
    """What a cell does."""
    write_line(out / "line.txt")


def write_line(file: Path) -> None:
    """The same without a cell."""
    file.parent.mkdir(exist_ok=True)
    file.write_text("nothing\n")
