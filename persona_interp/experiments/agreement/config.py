"""Do estimators of measure and metric agree with each other and with the truth, and what carries a lesson over?

Sixteen personas of known mass and known overlap are learned from documents. Estimators of how
common each is in the model (its measure) and of how far two are apart (the metric) are read from
the model alone and ranked against the truth. Beside it the spillover regression: lessons on many
traits, and which untaught traits follow them. Contrasts are of which-questions only: yes/no probes
say nothing at this size (a margin below 0.1 nats even for named personas). With ``start`` the same
estimators read any chat model, which has learned no such documents, so there is no truth.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from persona_interp import worlds
from persona_interp.experiments.learning import learning_cell
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.store import Cell
from persona_interp.worlds import World

WALK = replace(LESSON, steps=16, batch=8, lr=1e-3)


@dataclass(frozen=True)
class Agreement:
    """How is the agreement experiment configured?

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
        """Which world does this seed have?"""
        return worlds.graded(seed, styles=styles) if self.world is None else self.world

    def cells(self) -> list[Cell]:
        """Which independent units make up this experiment?

        Returns:
            Cells of every seed.
        """
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> dict[tuple[Any, ...], Cell]:
        """Which cells does one seed have?

        Args:
            seed: Makes the world (where it is a graded one), the documents, the weights and the
                batches.

        Returns:
            ``("estimates",)`` and ``("walk", persona)``; of a tiny model also ``("documents",)``
            and, for spillover, ``("styles",)``, ``("geometry",)`` and ``("lesson", trait)``.
        """
        world = self.world_of(seed)
        about = {"world": world.to_dict(), "seed": seed, "n_generic": self.n_generic}
        asked = {
            **about,
            "n_told": self.n_told,
            "n_shared": self.n_shared,
            "n_taught": self.n_taught,
        }
        asked |= {"hook": self.hook, "splits": list(self.splits)}
        cells: dict[tuple[Any, ...], Cell] = {}
        needs: tuple[Cell, ...] = ()
        if self.start == "tiny":
            cells["documents",] = self._documents(world, seed)
            needs = (cells["documents",],)
        start = {} if needs else {"start": self.start, "chat_template": self.chat_template}
        cells["estimates",] = Cell(
            "agreement.estimates", {**asked, **start}, needs, f"estimates s{seed}"
        )
        names = [p.name for p in world.personas]
        walkers = names[: self.walkers]
        steps = {
            "stage": asdict(self.walk),
            "snapshots": list(self.snapshots),
            "n_draws": self.n_draws,
        }
        for name in names if needs else walkers:
            others = [other for other in walkers if other != name] if name in walkers else []
            config = {**about, **start, **steps, "persona": name, "others": others}
            cells["walk", name] = Cell("agreement.walk", config, needs, f"walk from {name} s{seed}")
        return cells | (self._spillover(seed) if needs and self.lessons else {})

    def taught(self, seed: int) -> list[str]:
        """Which traits are taught for the spillover regression?

        Args:
            seed: As in ``seed_cells``.

        Returns:
            Labels; topics in turn, values that somebody holds, drawn without replacement.
        """
        world, rng = self.world_of(seed, styles=self.styles), np.random.default_rng([seed, 7])
        held = {
            t: [str(trait) for trait in world.traits if trait.topic == t and world.holders(trait)]
            for t in world.topics
        }
        drawn = [rng.permutation(labels) for labels in held.values()]
        turns = [
            str(values[i])
            for i in range(max(map(len, drawn)))
            for values in drawn
            if i < len(values)
        ]
        return turns[: self.lessons]

    def _spillover(self, seed: int) -> dict[tuple[Any, ...], Cell]:
        world = self.world_of(seed, styles=self.styles)
        base = self._documents(world, seed)
        config = {"world": world.to_dict(), "seed": seed, "hook": self.hook}
        cells: dict[tuple[Any, ...], Cell] = {("styles",): base}
        cells["geometry",] = Cell("agreement.geometry", config, (base,), f"geometry s{seed}")
        for trait in self.taught(seed):
            label = f"lesson {trait} s{seed}"
            cells["lesson", trait] = learning_cell(
                world, {"lesson": trait}, self.lesson, seed=seed, after=base, label=label
            )
        return cells

    def _documents(self, world: World, seed: int) -> Cell:
        teach = {"documents": self.n_documents}
        return learning_cell(
            world,
            teach,
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
