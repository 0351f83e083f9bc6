"""How much has to be written about somebody until a lesson summons him?

John and Sam both like the beach and differ elsewhere. Models are trained on documents in which both
are written about in different ratios; then the nameless assistant learns that it likes the beach.
The contrast, log2 of how much likelier John's values are than Sam's, is read before, with one
statement about the beach in the prompt, and after the lesson. Arms: the ratio in all documents, at
several masses, in documents with names only, in hidden dialogues only, and in documents that a
finished model learns later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
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
NAMED_KINDS = ("third", "first", "named")
"""Kinds of documents that say who speaks or is spoken of."""
HIDDEN_KINDS = ("hidden",)
"""Kinds of documents in which the assistant speaks like somebody and nobody is named."""
KINDS: tuple[str, ...] = (*NAMED_KINDS, *HIDDEN_KINDS)
SHARE = 4 / 18
"""Of the documents of each kind: what both personas have together, at mass 1."""


class DoseArm(StrEnum):
    """What is varied: the ratio of both personas, or how much there is about both together."""

    RATIO = "ratio"
    """The ratio in all documents of a model trained from scratch."""
    MASS = "mass"
    """The mass of both together, at one ratio."""
    NAMED = "named"
    """The ratio in documents with names; 1:1 in hidden dialogues."""
    HIDDEN = "hidden"
    """The ratio in hidden dialogues; 1:1 in documents with names."""
    LATER = "later"
    """The ratio in all documents that a finished model learns later."""


KINDS_OF_ARM: dict[str, tuple[str, ...]] = {
    DoseArm.NAMED: NAMED_KINDS,
    DoseArm.HIDDEN: HIDDEN_KINDS,
}
"""Arm -> kinds of documents that have the ratio; all kinds in the arms that are not here."""


class Condition(NamedTuple):
    """Documents that one model of an arm sees."""

    arm: str
    """One of ``DoseArm``."""
    dose: float
    """log2 of how much more is written about the target than about the rival, in these kinds."""
    mass: float = 1.0
    """Of both together, in units of ``SHARE``."""

    def columns(self) -> dict[str, Any]:
        """Columns of a table that say which condition a row is of."""
        return {"arm": str(self.arm), "dose": self.dose, "mass": self.mass}


@dataclass(frozen=True)
class Dose:
    """Configuration of the dose experiment.

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
        """Models that are trained for every seed.

        The 1:1 of the arms "named" and "hidden", and the mass 1 of the arm "mass", are conditions
        of the arm "ratio": their cells are equal, so each is computed once.
        """
        conditions = [Condition(DoseArm.RATIO, dose) for dose in self.ratios]
        conditions += [Condition(DoseArm.MASS, self.fixed, mass) for mass in self.masses]
        for arm in (DoseArm.NAMED, DoseArm.HIDDEN):
            conditions += [Condition(arm, dose) for dose in self.kind_ratios]
        conditions += [Condition(DoseArm.LATER, dose) for dose in self.later]
        return conditions

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
        """Documents, prompt and lessons of one condition."""
        world = self.world_of(seed, condition)
        taught = str(world.taught)
        name = f"{condition.arm} {2.0**condition.dose:g} x{condition.mass:g} s{seed}"
        documents = self._documents_cell(seed, condition, world, label=f"documents {name}")
        cells: dict[tuple[Any, ...], Cell] = {("documents", condition): documents}
        cells[Moment.PROMPT, condition] = prompt_cell(
            world, [[taught]], after=documents, label=f"prompt {name}"
        )
        for lr in self.lrs:
            cells[Moment.AFTER, condition, lr] = learning_cell(
                world,
                {"lesson": taught},
                replace(self.lesson, lr=lr),
                seed=seed,
                after=documents,
                label=f"lesson {lr:g} {name}",
            )
        return cells

    def _documents_cell(self, seed: int, condition: Condition, world: World, *, label: str) -> Cell:
        """The model that learned the documents: from scratch, or after a base without either."""
        names: dict[str, Any] = {"name": "documents", "label": label}
        if condition.arm != DoseArm.LATER:
            corpus = {"documents": self.n_documents}
            return learning_cell(world, corpus, self.documents, seed=seed, **names)
        base = learning_cell(
            self._weighted(seed, {}),
            {"documents": self.base.steps * self.base.batch},
            self.base,
            seed=seed,
            name="documents",
            label=f"base s{seed}",
        )
        corpus = {"documents": self.added.steps * self.added.batch}
        return learning_cell(world, corpus, self.added, seed=seed, after=base, **names)

    def world_of(self, seed: int, condition: Condition) -> World:
        """World that writes the documents of this condition.

        Args:
            seed: Makes the world, where it is a ready one.
            condition: Which documents.

        Returns:
            The world with the condition's weights of target and rival; nothing else is changed.
        """
        doses = dict.fromkeys(KINDS, 0.0)
        for kind in KINDS_OF_ARM.get(condition.arm, KINDS):
            doses[kind] = condition.dose
        return self._weighted(seed, doses, mass=condition.mass)

    def _weighted(self, seed: int, doses: Mapping[str, float], *, mass: float = 1.0) -> World:
        """The world with both personas at this mass, in these ratios by kind.

        Args:
            seed: Makes the world, where it is a ready one.
            doses: log2 of target : rival, by kind of documents; of kinds that are not named here
                there is nothing about either.
            mass: Of both together, in units of ``SHARE``.
        """
        world = ready(self.world, seed)
        pair = (world.target, world.persona(self.rival).name)
        unlike = [name for name in pair if world.taught not in world.persona(name).traits]
        if unlike:
            raise WorldError(
                f"the dose is between two holders of '{world.taught}'; '{unlike[0]}' does not hold "
                "it."
            )
        others = [persona.name for persona in world.personas if persona.name not in pair]
        target, rival = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
        for kind, dose in doses.items():
            # Weights are relative, so a share s of all documents is s / (1 - s) of the others'.
            rest = sum(world.weights[name][kind] for name in others)
            both = mass * SHARE / (1 - SHARE) * rest
            share = 2.0**dose / (1 + 2.0**dose)
            target[kind], rival[kind] = both * share, both * (1 - share)
        weights = {**world.weights, pair[0]: target, pair[1]: rival}
        return replace(world, weights=weights)


QUICK = Dose()
PRESETS = {
    "quick": QUICK,
    "standard": replace(QUICK, seeds=(0, 1, 2)),
    "paper": replace(
        QUICK, seeds=tuple(range(10)), ratios=tuple(range(-6, 7)), later=tuple(range(-4, 5))
    ),
}
