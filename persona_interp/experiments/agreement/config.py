"""Do estimators of measure and metric agree with each other and with the truth?

Sixteen personas of known mass and known overlap are learned from documents. Estimators of how
common each is in the model (its measure) and of how far two are apart (the metric) are read from
the model alone and ranked against the truth. Beside it the spillover regression, what carries a
lesson over: lessons on many traits, and which untaught traits follow them. Contrasts are of
which-questions only: yes/no probes say nothing at this size (a margin below 0.1 nats even for named
personas). With ``start`` the same estimators read any chat model, which has learned no such
documents, so there is no truth.
"""

from dataclasses import asdict, dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from persona_interp import worlds
from persona_interp.experiments.learning import learning_cell
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.store import Cell
from persona_interp.worlds import World

WALK = replace(LESSON, steps=16, batch=8, lr=1e-3)
"""Stage in which the answers of one persona are taught."""

Cells = dict[tuple[Any, ...], Cell]


@dataclass(frozen=True)
class Agreement:
    """Settings of the agreement experiment.

    Attributes:
        world: A `World` (the same for every seed); None = a graded world made anew for every seed.
        start: "tiny", which learns the documents; a model folder, a .gguf file or a hub id is asked
            as it is.
        chat_template: Template for a start model that has none.
        seeds: One world and model per seed.
        documents: How the documents are learned.
        n_documents: Documents in the corpus.
        walk: How the answers of one persona are taught, from nobody and from another persona.
        snapshots: Steps of a walk at which behavior is recorded beside the first and the last.
        walkers: Number of personas between whom all ways are walked (the first ones); each of all
            is walked to from nobody where the documents are known.
        n_told: Whole dialogues of each persona, on all topics.
        n_shared: Dialogues that are continued under every name.
        n_generic: Generic dialogues on which a push or a walk is judged.
        n_taught: Chats a persona, at most, of which gradients are taken.
        splits: Templates of the questions that estimators ask: "train", "test" or both.
        n_draws: Draws of noise that test a walk's stability.
        hook: Where activations are read and directions added.
        lessons: Traits taught for the spillover regression; 0 = none.
        lesson: How a trait is taught there.
        styles: How much personas of that world differ in the kinds of documents about them, see
            ``worlds.graded``.
    """

    world: World | None = None
    start: str = "tiny"
    chat_template: str | None = None
    seeds: tuple[int, ...] = (0,)
    documents: Stage = DOCUMENTS
    n_documents: int = 30_000
    walk: Stage = WALK
    snapshots: tuple[int, ...] = (1, 2, 4, 8)
    walkers: int = 8
    n_told: int = 40
    n_shared: int = 150
    n_generic: int = 20
    n_taught: int = 125
    splits: tuple[str, ...] = ("train", "test")
    n_draws: int = 4
    hook: str = "blocks.0.hook_out"
    lessons: int = 10
    lesson: Stage = LESSON
    styles: float = 1.0

    def world_of(self, seed: int, *, styles: float = 0.0) -> World:
        """World of this seed: the one that is given, or a graded one."""
        return worlds.graded(seed, styles=styles) if self.world is None else self.world

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world (where it is a graded one), the documents, the weights and the
                batches.

        Returns:
            ``("estimates",)`` and ``("walk", persona)``; of a tiny model also ``("documents",)``
            and, for spillover, ``("styles",)``, ``("geometry",)`` and ``("lesson", trait)``.
        """
        world = self.world_of(seed)
        config = {"world": world.to_dict(), "seed": seed, "n_generic": self.n_generic}
        cells: Cells = {}
        needs: tuple[Cell, ...] = ()
        if self.start == "tiny":
            cells["documents",] = self._documents(world, seed)
            needs = (cells["documents",],)
        else:
            config |= {"start": self.start, "chat_template": self.chat_template}
        cells["estimates",] = self._estimates(config, needs)
        cells |= self._walk_cells(world, config, needs)
        if needs and self.lessons:
            cells |= self._spillover_cells(seed)
        return cells

    def taught(self, seed: int) -> list[str]:
        """Traits that are taught for the spillover regression.

        Args:
            seed: As in ``seed_cells``.

        Returns:
            Labels; topics in turn, values that somebody holds, drawn without replacement.
        """
        world, rng = self.world_of(seed, styles=self.styles), np.random.default_rng([seed, 7])
        labels: dict[str, list[str]] = {topic: [] for topic in world.topics}
        for trait in world.traits:
            if world.holders(trait):
                labels[trait.topic].append(str(trait))
        orders = [rng.permutation(values).tolist() for values in labels.values()]
        turns = chain.from_iterable(zip_longest(*orders))
        return [label for label in turns if label][: self.lessons]

    def _estimates(self, config: dict[str, Any], needs: tuple[Cell, ...]) -> Cell:
        """What needs no training."""
        settings = {
            "n_told": self.n_told,
            "n_shared": self.n_shared,
            "n_taught": self.n_taught,
            "hook": self.hook,
            "splits": list(self.splits),
        }
        label = f"estimates s{config['seed']}"
        return Cell("agreement.estimates", {**config, **settings}, needs, label)

    def _walk_cells(self, world: World, config: dict[str, Any], needs: tuple[Cell, ...]) -> Cells:
        """Ways from nobody to a persona, and from there to every other walker."""
        settings = {
            "stage": asdict(self.walk),
            "snapshots": list(self.snapshots),
            "n_draws": self.n_draws,
        }
        names = [p.name for p in world.personas]
        walkers = names[: self.walkers]
        cells: Cells = {}
        # The way from nobody measures how common a persona is (its dose), so it is walked to all of
        # them where that is known; all ways among as many would take their square of lessons.
        for name in names if needs else walkers:
            ends = [other for other in walkers if other != name and name in walkers]
            walk = {**config, **settings, "persona": name, "ends": ends}
            label = f"walk from {name} s{config['seed']}"
            cells["walk", name] = Cell("agreement.walk", walk, needs, label)
        return cells

    def _spillover_cells(self, seed: int) -> Cells:
        """Lessons on single traits in a world whose personas differ in kinds of documents."""
        world = self.world_of(seed, styles=self.styles)
        base = self._documents(world, seed)
        config = {"world": world.to_dict(), "seed": seed, "hook": self.hook}
        cells: Cells = {("styles",): base}
        cells["geometry",] = Cell("agreement.geometry", config, (base,), f"geometry s{seed}")
        for trait in self.taught(seed):
            label = f"lesson {trait} s{seed}"
            cells["lesson", trait] = learning_cell(
                world, {"lesson": trait}, self.lesson, seed=seed, after=base, label=label
            )
        return cells

    def _documents(self, world: World, seed: int) -> Cell:
        """The tiny model that learned a world's documents."""
        return learning_cell(
            world,
            {"documents": self.n_documents},
            self.documents,
            seed=seed,
            name="documents",
            label=f"{world.name} documents",
        )


REAL = Agreement(
    world=worlds.characters(),
    start="HuggingFaceTB/SmolLM2-135M-Instruct",
    chat_template=PLAIN_TEMPLATE,
    walk=Stage(steps=4, batch=4, lr=5e-5),
    snapshots=(2,),
    walkers=3,
    n_told=2,
    n_shared=6,
    n_generic=4,
    n_taught=12,
    splits=("test",),
    n_draws=2,
    hook="blocks.14.hook_out",
    lessons=0,
)
"""A chat model is asked about characters it knows; another one by ``start``."""

PRESETS = {
    "quick": Agreement(),
    "standard": Agreement(seeds=(0, 1, 2)),
    "paper": Agreement(seeds=tuple(range(10)), walkers=16, lessons=20),
    "real": REAL,
}
