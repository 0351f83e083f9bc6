"""What will a lesson move that it does not teach? Forecast before it is taught, and then measured.

Every seed draws a world and a base model of it. Lessons on single traits are forecast from the base
by every predictor, then taught and measured. Stages of other rates, another optimizer, replay,
lessons on two traits and lessons that another persona's rows are mixed into are forecast too, by
what was fitted on the plain lessons of other bases.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from persona_interp import worlds
from persona_interp.errors import WorldError
from persona_interp.experiments.learning import learning_cell
from persona_interp.experiments.prompting import prompt_cell
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Variant
from persona_interp.store import Cell
from persona_interp.worlds import World

Cells = dict[tuple[Any, ...], Cell]

FAMILIES = ("john_and_sam", "graded", "arbitrary", "candidates")
"""Makers of worlds; the seed chooses one in turn."""
SPREAD = 1.0
"""SD, in log2, of the weights of John and Sam."""
MIXED = 5
"""Of so many rows of a mixed lesson, one is another persona's."""
RATES = {Variant.SLOW: 1 / 3, Variant.FAST: 3.0}
"""Learning rates of other stages, times that of the lesson."""
SGD_RATE = 0.3
"""Learning rate of the other optimizer, without momentum or a scale of its own."""
REPLAY = 0.5
"""Share of replayed documents."""
N_REPLAYED = 2_000


class Lesson(NamedTuple):
    """What is taught, and how.

    Attributes:
        variant: In what it differs from a plain lesson.
        traits: Labels of the taught traits, one a chat in turn.
    """

    variant: Variant
    traits: tuple[str, ...]

    @property
    def label(self) -> str:
        """Short name: the traits, without repetitions, and the variant."""
        return f"{self.variant}: {' + '.join(dict.fromkeys(self.traits))}"


@dataclass(frozen=True)
class Forecast:
    """Settings of the forecast experiment.

    Attributes:
        seeds: One world, one base model and its lessons per seed. The stacks that come with the
            package were fitted on seeds below 32, which are not forecast.
        n_lessons: Plain lessons of a base, on traits drawn by lot.
        n_changed: Lessons of each other variant.
        documents: How the documents are learned.
        lesson: How a lesson is learned.
        snapshots: Lesson steps at which behavior is recorded and forecast.
        n_documents: Documents in a corpus.
        pilots: Costs of the pilots, in steps of the lesson.
        world: World of all seeds, which then draw documents, weights and lessons; by default each
            seed draws its own.
    """

    seeds: tuple[int, ...] = (100,)
    n_lessons: int = 4
    n_changed: int = 0
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    snapshots: tuple[int, ...] = (2, 4, 8, 16)
    n_documents: int = 30_000
    pilots: tuple[int, ...] = (1, 2)
    world: World | None = None

    def __post_init__(self) -> None:
        if self.n_lessons < 1 or self.n_changed < 0:
            raise WorldError(
                f"a base has at least one plain lesson; got n_lessons={self.n_lessons}, "
                f"n_changed={self.n_changed}."
            )

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Draws the world, the corpora, the weights and the lessons.

        Returns:
            Cells by key: ``("documents",)``, ``("stated",)`` (what the base says once each trait
            was stated); of every lesson ``("lesson", lesson)`` and ``("predictors", lesson)``.
        """
        world = self.world_of(seed)
        cells: Cells = {}
        base = cells["documents",] = learning_cell(
            world,
            {"documents": self.n_documents},
            self.documents,
            seed=seed,
            name="documents",
            label=f"documents of {world.name}",
            ends=("named",),
        )
        every = [(str(trait),) for trait in world.traits]
        stated = prompt_cell(world, every, after=base, label=f"stated traits, {world.name}")
        cells["stated",] = stated
        for lesson in self.lessons(seed):
            cell = cells["lesson", lesson] = self._lesson_cell(world, lesson, seed=seed, base=base)
            config = {
                key: cell.config[key] for key in ("world", "teach", "stage", "seed", "replay")
            }
            cells["predictors", lesson] = Cell(
                "forecast.foretell",
                config | {"pilots": list(self.pilots)},
                needs=(base, stated),
                label=f"predictors of {lesson.label}, {world.name}",
            )
        return cells

    def world_of(self, seed: int) -> World:
        """World of a seed.

        Args:
            seed: Draws it, where it is not the same for all.

        Returns:
            The world.
        """
        return self.world or base_world(seed)

    def lessons(self, seed: int) -> list[Lesson]:
        """Lessons of one seed: plain ones, and the first of them in every other variant.

        Args:
            seed: The seed.

        Returns:
            The lessons; a world with fewer traits has fewer.
        """
        world = self.world_of(seed)
        rng = np.random.default_rng([seed, 23])
        labels = [str(trait) for trait in world.traits if world.holders(trait)]
        order = [str(label) for label in rng.permutation(labels)]
        plain = order[: self.n_lessons]
        lessons = [Lesson(Variant.PLAIN, (label,)) for label in plain]
        for place, label in enumerate(plain[: self.n_changed]):
            others = [one for one in order if one.partition("=")[0] != label.partition("=")[0]]
            other = others[place % len(others)]
            lessons += [
                Lesson(Variant.SLOW, (label,)),
                Lesson(Variant.FAST, (label,)),
                Lesson(Variant.SGD, (label,)),
                Lesson(Variant.REPLAY, (label,)),
                Lesson(Variant.TWO, (label, other)),
                Lesson(Variant.MIXED, (*[label] * (MIXED - 1), other)),
            ]
        return lessons

    def stage(self, lesson: Lesson) -> Stage:
        """How a lesson is learned.

        Args:
            lesson: The lesson.

        Returns:
            The stage.
        """
        if lesson.variant in RATES:
            return replace(self.lesson, lr=self.lesson.lr * RATES[lesson.variant])
        if lesson.variant == Variant.SGD:
            return replace(self.lesson, optimizer="sgd", lr=SGD_RATE)
        if lesson.variant == Variant.REPLAY:
            return replace(self.lesson, replay=REPLAY)
        return self.lesson

    def _lesson_cell(self, world: World, lesson: Lesson, *, seed: int, base: Cell) -> Cell:
        """The lesson itself, taught and measured."""
        replay = None
        if lesson.variant == Variant.REPLAY:
            replay = {"documents": N_REPLAYED}
        return learning_cell(
            world,
            teach(lesson),
            self.stage(lesson),
            seed=seed,
            after=base,
            snapshots=self.snapshots,
            replay=replay,
            label=f"{lesson.label}, {world.name}",
        )


def teach(lesson: Lesson) -> dict[str, Any]:
    """What the shared task is told to teach.

    Args:
        lesson: The lesson.

    Returns:
        As of ``learning_cell``.
    """
    traits = list(lesson.traits)
    return {"lesson": traits if len(traits) > 1 else traits[0]}


def base_world(seed: int) -> World:
    """World of a seed: the families of worlds in turn, each drawn by the seed.

    Args:
        seed: The seed.

    Returns:
        The world.
    """
    rng = np.random.default_rng([seed, 29])
    family = FAMILIES[seed % len(FAMILIES)]
    if family == "john_and_sam":
        john, sam = 2.0 ** (SPREAD * rng.standard_normal(2))
        return worlds.john_and_sam(seed, john=float(john), sam=float(sam))
    if family == "graded":
        return worlds.graded(seed, styles=float(rng.uniform(0.0, 1.0)))
    if family == "candidates":
        return worlds.candidates(seed)
    return worlds.arbitrary(seed)


PRESETS = {
    "quick": Forecast(),
    "standard": Forecast(seeds=(100, 101, 102), n_lessons=12, n_changed=1),
    "paper": Forecast(seeds=tuple(range(100, 110)), n_lessons=12, n_changed=2),
}
