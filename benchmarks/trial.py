"""What is validated: which seeds, which world, and where are runs kept?"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_interp.store import Cell, Store
    from persona_interp.worlds import World


@dataclass(frozen=True)
class Trial:
    """What every group of claims is tried on."""

    seeds: list[int]
    world_file: str | None
    out: Path

    @property
    def is_recipe(self) -> bool:
        """Whether the world is the recipe's, whose thresholds were measured."""
        return self.world_file is None

    @property
    def world(self) -> "World | str":
        """World of the file, or the name of the recipe's, which is made anew for every seed."""
        from persona_interp import worlds

        return worlds.load(self.world_file) if self.world_file else "john_and_sam"

    def world_of(self, seed: int) -> "World":
        """World of one seed."""
        from persona_interp import worlds

        return worlds.load(self.world_file) if self.world_file else worlds.john_and_sam(seed)

    def preset(self, experiment: str, **changes: Any) -> Any:
        """Standard configuration of an experiment on the seeds of this trial."""
        from persona_interp.experiments import preset

        return preset("standard", experiment, seeds=tuple(self.seeds), **changes)

    def run(self, cells: "Iterable[Cell]") -> "Store":
        """Compute cells and what they need; finished ones are kept."""
        from persona_interp.experiments import run
        from persona_interp.store import Store

        return run(cells, Store(self.out))
