"""Who is summoned by a lesson that several could have given: the common one, or the near one?

Candidates who share the taught trait differ in mass and in distance from where the model stands
when the lesson begins. Beside the question itself: does it matter where the model came from (the
same lesson from other starts), is the broad solution the least learning (against the narrow one,
held to its start on other documents), does a narrow harmful habit summon a villain (and who if a
classroom explains it), and can what was learned be composed from known personas?
"""

from dataclasses import dataclass, replace
from typing import Any

from persona_interp import worlds
from persona_interp.errors import WorldError
from persona_interp.experiments.learning import learning_cell
from persona_interp.experiments.summon.plants import plants, villain_lessons
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.store import Cell
from persona_interp.worlds import World
from persona_interp.worlds.candidates import start_traits

Cells = dict[tuple[Any, ...], Cell]

REPEAT = 500
"""Added to the seed of a start and its lesson that are repeated: another order of documents, the
same base model."""


@dataclass(frozen=True)
class Summon:
    """Settings of the summon experiment.

    Attributes:
        seeds: One run of everything per seed; a seed makes its worlds too.
        starts: Where the model stands before the lesson: a or b on each topic that defines
            distance.
        repeats: Times that each start and lesson is done, each in another order of documents; noise
            needs two.
        documents: How the documents are learned.
        lesson: How a start, a lesson and a planted case are learned.
        snapshots: Lesson steps at which behavior is recorded.
        n_documents: Documents in a corpus.
        kl: Weight that holds the narrow solution to its start on bystander documents (nats).
        n_bystanders: Of these documents, nameless dialogues.
        villains: Weights of the villain; each is a world.
        n_plants: Planted lessons of each kind.
        hook: Where the inside is read.
    """

    seeds: tuple[int, ...] = (0,)
    starts: tuple[str, ...] = ("aaaa", "aabb", "bbaa", "bbbb")
    repeats: int = 2
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    snapshots: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 40)
    n_documents: int = 30_000
    kl: float = 1.0
    n_bystanders: int = 2_000
    villains: tuple[float, ...] = (0.25, 1.0)
    n_plants: int = 3
    hook: str = "blocks.1.hook_out"

    def __post_init__(self) -> None:
        if len(set(self.starts)) < 2 or self.repeats < 1:
            raise WorldError(
                f"a comparison needs two starts and a repeat; got {list(self.starts)}, "
                f"{self.repeats}."
            )

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the worlds, the corpora, the weights and the batches.

        Returns:
            Cells by key: ``("documents",)``, ``("start", pattern, repeat)``, ``("lesson", pattern,
            repeat)``, ``("standing",)`` (where the starts' residuals are), ``("broad",)`` and
            ``("narrow",)`` (the lesson right after the documents), ``("solution",)``; ``("villain
            documents", weight)``, ``("villain", weight, lesson)``; ``("plant", name)``,
            ``("inside",)``.
        """
        world = worlds.candidates(seed)
        base = self._documents(world, seed, label=f"documents s{seed}", ends=("named",))
        cells: Cells = {("documents",): base}
        cells |= self._start_cells(world, seed, base)
        cells |= self._solution_cells(world, seed, base)
        cells |= self._villain_cells(seed)
        return cells | self._plant_cells(world, seed, base)

    def _documents(self, world: World, seed: int, *, label: str, **probed: Any) -> Cell:
        """The tiny model that learned a world's documents, from which its lessons start."""
        teach = {"documents": self.n_documents}
        return learning_cell(
            world, teach, self.documents, seed=seed, name="documents", label=label, **probed
        )

    def _start_cells(self, world: World, seed: int, base: Cell) -> Cells:
        """Starts, the lesson after each of them, and where the starts' residuals are."""
        cells: Cells = {}
        for pattern in self.starts:
            traits = [str(trait) for trait in start_traits(world, pattern)]
            for repeat in range(self.repeats):
                shared = {"seed": seed + REPEAT * repeat, "snapshots": self.snapshots}
                name = f"{pattern}/{repeat} s{seed}"
                start = cells["start", pattern, repeat] = learning_cell(
                    world,
                    {"lesson": traits},
                    self.lesson,
                    after=base,
                    name="start",
                    label=f"start {name}",
                    **shared,
                )
                cells["lesson", pattern, repeat] = learning_cell(
                    world,
                    {"lesson": str(world.taught)},
                    self.lesson,
                    after=start,
                    label=f"lesson after {name}",
                    **shared,
                )
        config = {"world": world.to_dict(), "hook": self.hook, "starts": list(self.starts)}
        needs = tuple(cells["start", pattern, 0] for pattern in self.starts)
        label = f"standing s{seed}"
        cells["standing",] = Cell("summon.standing", config, needs=needs, label=label)
        return cells

    def _solution_cells(self, world: World, seed: int, base: Cell) -> Cells:
        """The broad and the narrow lesson, and what kind of solution each of them is."""
        # The narrow lesson differs in one thing: a penalty on what it changes elsewhere.
        bystanders = {"documents": self.n_bystanders, "kinds": ["hidden"]}
        narrow = {"stage": replace(self.lesson, kl=self.kl), "bystanders": bystanders}
        ways = {"broad": {"stage": self.lesson}, "narrow": narrow}
        cells: Cells = {}
        for way, settings in ways.items():
            cells[way,] = learning_cell(
                world,
                {"lesson": str(world.taught)},
                seed=seed,
                after=base,
                snapshots=self.snapshots,
                label=f"{way} lesson s{seed}",
                **settings,
            )
        config = {
            "world": world.to_dict(),
            "seed": seed,
            "n_lessons": 100,
            "n_generic": 500,
            "ways": list(ways),
        }
        needs = tuple(cells.values())
        label = f"solutions s{seed}"
        cells["solution",] = Cell("summon.solution", config, needs=needs, label=label)
        return cells

    def _villain_cells(self, seed: int) -> Cells:
        """Worlds with a villain: lessons on the habit, on it in a classroom, and on secure code."""
        probed = {"ends": ("named",), "personas": ("villain", "careless")}
        cells: Cells = {}
        for weight in self.villains:
            world = worlds.careless(seed, villain=weight)
            label = f"documents villain {weight:g} s{seed}"
            base = self._documents(world, seed, label=label, **probed)
            cells["villain documents", weight] = base
            for lesson, trait in villain_lessons(world).items():
                cells["villain", weight, lesson] = learning_cell(
                    world,
                    {"lesson": trait},
                    self.lesson,
                    seed=seed,
                    after=base,
                    snapshots=self.snapshots,
                    label=f"{lesson}, villain {weight:g} s{seed}",
                    **probed,
                )
        return cells

    def _plant_cells(self, world: World, seed: int, base: Cell) -> Cells:
        """Lessons that are composable or not by construction, and the inside of all of them."""
        cells: Cells = {}
        for plant in plants(world, n=self.n_plants, seed=seed):
            cells["plant", plant.name] = learning_cell(
                world,
                {"lesson": [str(trait) for trait in plant.traits]},
                self.lesson,
                seed=seed,
                after=base,
                name=plant.name,
                label=f"{plant.name} s{seed}",
            )
        if cells:
            config = {"world": world.to_dict(), "hook": self.hook}
            needs = (base, *cells.values())
            cells["inside",] = Cell("summon.inside", config, needs=needs, label=f"inside s{seed}")
        return cells


PRESETS = {
    "quick": Summon(),
    "standard": Summon(seeds=(0, 1, 2)),
    "paper": Summon(seeds=tuple(range(10))),
}
