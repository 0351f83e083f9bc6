"""How much has to be written about somebody until a lesson summons him?

John and Sam both like the beach and differ elsewhere. Models are trained on documents in which both
are written about in different ratios; then the nameless assistant learns that it likes the beach.
The contrast, log2 of how much likelier John's values are than Sam's, is read before, with one
statement about the beach in the prompt, and after the lesson. Arms: the ratio in all documents, at
several masses, in documents with names only, in hidden dialogues only, and in documents that a
finished model learns later.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from persona_interp.errors import WorldError
from persona_interp.experiments.learning import learning_cell
from persona_interp.experiments.prompting import prompt_cell
from persona_interp.experiments.ready import ready
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Moment
from persona_interp.store import Cell
from persona_interp.worlds import World

BASE = replace(DOCUMENTS, steps=700, schedule="constant")
ADDED = replace(DOCUMENTS, steps=250, lr=2e-3, warmup=10, schedule="constant")
NAMED = ("third", "first", "named")
"""Kinds of documents that say who speaks or is spoken of."""
SHARE = 4 / 18
"""Of the documents of each kind: what both personas have together, at mass 1."""


class Condition(NamedTuple):
    """Which documents does one model of an arm see?"""

    arm: str
    """ratio, mass, named, hidden or later."""
    dose: float
    """log2 of how much more is written about the target than about the rival, in the kinds of the arm."""
    mass: float = 1.0
    """Of both together, in units of ``SHARE``."""


@dataclass(frozen=True)
class Dose:
    """How is the dose experiment configured?

    Attributes:
        world: A ready world's name (made anew for every seed) or a `World`; target and rival hold
            the taught trait.
        rival: The persona beside the target.
        seeds: One run of everything per seed.
        ratios: log2 of target : rival, trained from scratch.
        masses: Of both together, at the ratio ``fixed``.
        fixed: log2 of target : rival of the arm "mass".
        kind_ratios: log2 of target : rival in documents with names only, and in hidden dialogues
            only; 1:1 elsewhere.
        later: log2 of target : rival in documents that a base model without either learns later.
        lrs: Learning rates of the lesson.
        documents: How documents are learned from scratch.
        base: How the base of the arm "later" is trained.
        added: How that base learns the documents about both.
        lesson: How the lesson is learned; its learning rate comes from ``lrs``.
        n_documents: Documents in a corpus learned from scratch.
    """

    world: str | World = "john_and_sam"
    rival: str = "sam"
    seeds: tuple[int, ...] = (0,)
    ratios: tuple[int, ...] = (-6, -4, -2, 0, 2, 4, 6)
    masses: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    fixed: int = 2
    kind_ratios: tuple[int, ...] = (-3, 3)
    later: tuple[int, ...] = (-4, -2, 0, 2, 4)
    lrs: tuple[float, ...] = (3e-4, 1e-3)
    documents: Stage = DOCUMENTS
    base: Stage = BASE
    added: Stage = ADDED
    lesson: Stage = LESSON
    n_documents: int = 30_000

    def __post_init__(self) -> None:
        ready(self.world)

    def conditions(self) -> list[Condition]:
        """Which models are trained for every seed? An arm's 1:1 and mass 1 are those of the arm "ratio"."""
        return [
            *(Condition("ratio", dose) for dose in self.ratios),
            *(Condition("mass", self.fixed, mass) for mass in self.masses),
            *(Condition(arm, dose) for arm in ("named", "hidden") for dose in self.kind_ratios),
            *(Condition("later", dose) for dose in self.later),
        ]

    def cells(self) -> list[Cell]:
        """Independent units of every seed and condition, each once; each names what it needs."""
        cells = [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]
        return list(dict.fromkeys(cells))

    def seed_cells(self, seed: int) -> dict[tuple[Any, ...], Cell]:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world (where it is a ready one), the documents, the weights and the
                batches.

        Returns:
            ``("documents", condition)``, ``("prompt", condition)`` and ``("lesson", condition,
            lr)`` of every condition and learning rate.
        """
        cells: dict[tuple[Any, ...], Cell] = {}
        for condition in self.conditions():
            cells |= self._condition_cells(seed, condition)
        return cells

    def _condition_cells(self, seed: int, condition: Condition) -> dict[tuple[Any, ...], Cell]:
        world = self.world_of(seed, condition)
        name = f"{condition.arm} {2.0**condition.dose:g} x{condition.mass:g} s{seed}"
        shared: dict[str, Any] = {"seed": seed, "name": "documents"}
        if condition.arm == "later":
            without = {"documents": self.base.steps * self.base.batch}
            base = learning_cell(
                self._weighted(seed, {}), without, self.base, label=f"base s{seed}", **shared
            )
            more = {"documents": self.added.steps * self.added.batch}
            documents = learning_cell(
                world, more, self.added, after=base, label=f"documents {name}", **shared
            )
        else:
            much = {"documents": self.n_documents}
            documents = learning_cell(
                world, much, self.documents, label=f"documents {name}", **shared
            )
        taught = str(world.taught)
        cells: dict[tuple[Any, ...], Cell] = {("documents", condition): documents}
        cells[Moment.PROMPT, condition] = prompt_cell(
            world, [[taught]], after=documents, label=f"prompt {name}"
        )
        for lr in self.lrs:
            stage = replace(self.lesson, lr=lr)
            label = f"lesson {lr:g} {name}"
            cells[Moment.AFTER, condition, lr] = learning_cell(
                world, {"lesson": taught}, stage, seed=seed, after=documents, label=label
            )
        return cells

    def world_of(self, seed: int, condition: Condition) -> World:
        """Which world writes the documents of this condition?

        Args:
            seed: Makes the world, where it is a ready one.
            condition: Which documents.

        Returns:
            The world with the condition's weights of target and rival; nothing else is changed.
        """
        even = dict.fromkeys((*NAMED, "hidden"), 0.0)
        kinds = {"named": NAMED, "hidden": ("hidden",)}.get(condition.arm, tuple(even))
        return self._weighted(
            seed, {**even, **dict.fromkeys(kinds, condition.dose)}, mass=condition.mass
        )

    def _weighted(self, seed: int, doses: dict[str, float], *, mass: float = 1.0) -> World:
        """The world with both personas at ``mass``, in these ratios by kind; without kinds nothing about either."""
        world = ready(self.world, seed)
        pair = (world.target, world.persona(self.rival).name)
        if unlike := [name for name in pair if world.taught not in world.persona(name).traits]:
            raise WorldError(
                f"the dose is between two holders of '{world.taught}'; '{unlike[0]}' does not hold "
                "it."
            )
        others = [p.name for p in world.personas if p.name not in pair]
        weights: dict[str, dict[str, float]] = {
            name: dict.fromkeys((*NAMED, "hidden"), 0.0) for name in pair
        }
        for kind, dose in doses.items():
            both = mass * SHARE / (1 - SHARE) * sum(world.weights[name][kind] for name in others)
            share = 2.0**dose / (1 + 2.0**dose)
            weights[pair[0]][kind], weights[pair[1]][kind] = both * share, both * (1 - share)
        return replace(world, weights={**world.weights, **weights})


QUICK = Dose()
PRESETS = {
    "quick": QUICK,
    "standard": replace(QUICK, seeds=(0, 1, 2)),
    "paper": replace(
        QUICK, seeds=tuple(range(10)), ratios=tuple(range(-6, 7)), later=tuple(range(-4, 5))
    ),
}
