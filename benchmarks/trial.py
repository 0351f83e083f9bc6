"""What is validated: which seeds, which world, and where are runs kept?"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from persona_interp.store import Cell, Store
    from persona_interp.worlds import World

Item = TypeVar("Item")

OWN_WORLD = "this group has a world of its own: --world does not reach it"
QUIET = 2.0
"""Seconds from which on a bar is shown."""


class Reach(Enum):
    """What of the command line reaches a group of claims."""

    WORLD = 1
    """The seeds and any world file."""
    RIVALS = 2
    """The seeds, and a world file in which somebody shares the taught trait with the target."""
    HIDDEN = 3
    """The seeds, and a world file with hidden dialogues."""
    SPEAKER = 4
    """The seeds, and a world file whose target may be who the nameless assistant is."""
    SEEDS = 5
    """The seeds; its worlds are its own."""
    SIMULATED = 6
    """Its data are simulated; the seeds draw them."""


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

    @property
    def rival(self) -> str | None:
        """Who shares the taught trait with the target and is somebody else in another topic."""
        world = self.world_of(0)
        target, taught = world.persona(world.target), world.taught
        if taught not in target.traits:
            return None
        untaught = [topic for topic in world.topics if topic != taught.topic]
        for persona in world.personas:
            unlike = any(persona.values(topic)[0] != target.values(topic)[0] for topic in untaught)
            if persona.name != target.name and taught in persona.traits and unlike:
                return persona.name
        return None

    def reaching(self, reach: Reach) -> tuple["Trial", str]:
        """The trial as it reaches a group, and the sentence that says what does not ("": all does).

        Args:
            reach: What the group can be tried on.
        """
        own = replace(self, world_file=None)
        if reach == Reach.SIMULATED:
            said = "its data are simulated: --seed draws them, --seeds does not change their number"
            return own, said if self.is_recipe else f"{said}; {OWN_WORLD}"
        if self.is_recipe:
            return self, ""
        if reach == Reach.SEEDS:
            return own, OWN_WORLD
        obstacle = self._obstacle(reach)
        return (own, f"{obstacle}; {OWN_WORLD}") if obstacle else (self, "")

    def _obstacle(self, reach: Reach) -> str:
        """What a group needs and the world file does not have ("": it has it)."""
        world = self.world_of(0)
        population = list(world.population)
        if reach == Reach.RIVALS and not self.rival:
            return "nobody shares the taught trait with the target there"
        if reach == Reach.HIDDEN and "hidden" not in population:
            return "there are no hidden dialogues in that world"
        if reach == Reach.SPEAKER and not world.mass().loc[world.target, population].sum():
            return "the target never speaks as the nameless assistant there"
        return ""

    def preset(self, experiment: str, **changes: Any) -> Any:
        """Standard configuration of an experiment on the seeds of this trial."""
        from persona_interp.experiments import preset

        return preset("standard", experiment, seeds=tuple(self.seeds), **changes)

    def run(self, cells: "Iterable[Cell]") -> "Store":
        """Compute cells and what they need; finished ones are kept."""
        from persona_interp.experiments import run
        from persona_interp.store import Store

        return run(cells, Store(self.out))


def progress(items: Iterable[Item], what: str) -> "tqdm[Item]":
    """The same items, with a bar once they have taken two seconds."""
    return tqdm(items, desc=what, delay=QUIET, leave=False)
