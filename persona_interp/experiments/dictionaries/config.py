"""Which features does a lesson create, which does it move, and which does it merely wake?

A crosscoder is trained on the checkpoints of one life: the model after its documents and at steps
of a lesson. It says of every feature what became of it, and when. Beside it stand crosscoders of
checkpoints between which less happened: the unrelated lesson, the same lesson taught twice with
other chats, one checkpoint several times; and of checkpoints between which most happened: the model
before its documents (a tiny one is untrained) and the one that learned them. Then the persona's
features: were they there before the lesson, does it wake them, does the lesson still spread without
them, and do traits that co-occur share features? Documents and lessons are the cells of
``transfer``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.ready import ready
from persona_interp.experiments.transfer.config import REAL, Cells, Transfer
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Arm, Status
from persona_interp.store import Cell
from persona_interp.worlds import World


class Life(StrEnum):
    """Which checkpoints one crosscoder is of."""

    LESSON = "lesson"
    """Before the lesson and at its steps: the claim."""
    UNRELATED = Arm.UNRELATED.value
    """The same of a lesson on a trait that the target does not hold."""
    AGAIN = "the lesson taught twice"
    """The ends of two lessons on one trait, with other chats: what one more seed does."""
    COPIES = "one checkpoint"
    """The model before the lesson, ``N_COPIES`` times."""
    DOCUMENTS = "documents"
    """The models before and after the documents. A tiny one is untrained before, so that here
    features must be made."""


class Verb(StrEnum):
    """What a lesson does to a feature."""

    CREATES = "creates"
    """It is born."""
    MOVES = "moves"
    """It is there before and points elsewhere after: rotated or split."""
    WAKES = "wakes"
    """It is there before, and is amplified or fires where it was silent or weaker."""


CHANGES: dict[str, tuple[str, ...]] = {
    Verb.CREATES: (Status.BORN,),
    Verb.MOVES: (Status.ROTATED, Status.SPLIT),
    Verb.WAKES: (Status.AMPLIFIED,),
}
"""Verb -> statuses that say it of a feature's vectors."""
NULLS = (Life.UNRELATED, Life.AGAIN, Life.COPIES)
"""Lives beside which the lesson's statuses stand."""
PERSONA, RISEN = "persona", "risen"
"""Groups of features: those that know the target best, and those that rise most at prompts that
name nobody."""
MATCHED: dict[str, str] = {group: f"matched {group}" for group in (PERSONA, RISEN)}
"""Group -> the group of features that fire as often, which stands beside it."""
EDITS: dict[str, str] = {
    PERSONA: "the features that know the persona best",
    RISEN: "the features that rise most",
}
"""Group -> the edit that takes out all of it."""
BEFORE, AFTER = "before", "after"
"""Ends of the lesson at which features are scored."""
ARMS = (str(Arm.LESSON), str(Arm.UNRELATED))
N_COPIES = 3
AGAIN = 100
"""Added to the seed of the lesson that is taught a second time."""


@dataclass(frozen=True)
class Dictionaries:
    """Configuration of the dictionaries experiment.

    Attributes:
        world: A ready world's name (made anew for every seed) or a `World`.
        start: What the documents stage starts from, as in transfer.
        arrange: Whether the start model's own prior lays the world out, as in transfer.
        chat_template: Template for a start model that has none.
        seeds: One run of everything per seed.
        lr: Learning rate of the lesson.
        documents: How the documents are learned.
        lesson: How a lesson is learned; its learning rate is ``lr``.
        snapshots: Lesson steps that are kept.
        steps: Lesson steps that the crosscoder is of; 0 is the model before it.
        n_documents: Documents in the corpus.
        bystanders: Contexts beside the nameless one, recorded before and after, as in transfer.
        hook: Where residuals are read.
        coder: Arguments of ``dictionaries.crosscoder``.
        n_coder_documents: Documents that crosscoders are trained on, new ones.
        n_persona_documents: Documents by speakers without a name on which features are scored.
        n_family: Features in a group: that know the persona best, or that rise most.
        n_matched: Sets of features that fire as often and are taken out beside each group.
        n_samples: Sampled answers per prompt and checkpoint of a lesson, as in transfer.
    """

    world: str | World = "john_and_sam"
    start: str = "tiny"
    arrange: str = ""
    chat_template: str | None = None
    seeds: tuple[int, ...] = (0,)
    lr: float = 1e-3
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    snapshots: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 40)
    steps: tuple[int, ...] = (0, 2, 4, 8, 16, 40)
    n_documents: int = 30_000
    bystanders: tuple[str, ...] = ("named", "plain", "third")
    hook: str = "blocks.1.hook_out"
    coder: dict[str, Any] = field(
        default_factory=lambda: {"d_sae": 192, "k": 8, "steps": 700, "lr": 2e-3, "n_tokens": 40_000}
    )
    n_coder_documents: int = 4_000
    n_persona_documents: int = 3_000
    n_family: int = 5
    n_matched: int = 10
    n_samples: int = 2

    def __post_init__(self) -> None:
        ready(self.world)
        kept = sorted({0, *self.snapshots, self.lesson.steps})
        if len(self.steps) < 2 or list(self.steps) != sorted(set(self.steps)):
            raise WorldError(f"steps= are two or more, in order, each once; got {self.steps}.")
        for step in self.steps:
            if step not in kept:
                raise WorldError(unknown("step of the lesson", str(step), map(str, kept)))
        if self.steps[0] != 0:
            raise WorldError("the first of steps= is 0, the model before the lesson.")

    @property
    def lives(self) -> Transfer:
        """The documents and lessons, as a transfer experiment; a run of it has the same cells."""
        return Transfer(
            world=self.world,
            start=self.start,
            arrange=self.arrange,
            chat_template=self.chat_template,
            seeds=self.seeds,
            arms=ARMS,
            lrs=(self.lr,),
            documents=self.documents,
            lesson=self.lesson,
            snapshots=self.snapshots,
            n_documents=self.n_documents,
            bystanders=self.bystanders,
            n_samples=self.n_samples,
            sae=None,
        )

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world (where it is a ready one), the corpus, the weights and the
                batches.

        Returns:
            Those of ``transfer`` (layout, documents, lessons), ``("again",)``, ``("crosscoder",
            life)`` of every ``Life``, ``("features",)`` and ``("spread",)``.
        """
        cells = self.lives.seed_cells(seed)
        lesson = cells["lesson", Arm.LESSON, self.lr]
        cells["again",] = replace(
            lesson,
            config={**lesson.config, "seed": seed + AGAIN},
            label=f"lesson taught again s{seed}",
        )
        for life in Life:
            cells["crosscoder", life] = self._crosscoder_cell(seed, cells, life)
        coder = cells["crosscoder", Life.LESSON]
        lessons = [cells["lesson", arm, self.lr] for arm in ARMS]
        cells["features",] = self._cell(
            "features",
            {
                "kinds": list(ready(self.world, seed).population),
                "n_documents": self.n_persona_documents,
            },
            seed=seed,
            needs=[cells["layout",], *lessons, coder],
        )
        cells["spread",] = self._cell(
            "spread",
            {"n_family": self.n_family, "n_matched": self.n_matched},
            seed=seed,
            needs=[cells["layout",], lesson, coder, cells["features",]],
        )
        return cells

    def _crosscoder_cell(self, seed: int, cells: Cells, life: str) -> Cell:
        """A crosscoder of the checkpoints of one life, and what it says of its features."""
        lesson = cells["lesson", Arm.LESSON, self.lr]
        base = cells["documents", "full"]
        trained: dict[str, list[Cell]] = {
            Life.LESSON: [lesson],
            Life.UNRELATED: [cells["lesson", Arm.UNRELATED, self.lr]],
            Life.AGAIN: [cells["again",], lesson],
            Life.COPIES: [base],
            Life.DOCUMENTS: [base],
        }
        config = {
            "life": str(life),
            "coder": {**self.coder, "hook": self.hook},
            "n_documents": self.n_coder_documents,
        }
        needs = [cells["layout",], *trained[life]]
        return self._cell("crosscoder", config, seed=seed, needs=needs, label=str(life))

    def _cell(
        self,
        task: str,
        config: dict[str, Any],
        *,
        seed: int,
        needs: Iterable[Cell],
        label: str = "",
    ) -> Cell:
        """Cell about the full world."""
        words = [task, label, f"s{seed}"]
        config = {"variant": "full", "seed": seed, "steps": list(self.steps), **config}
        label = " ".join(filter(None, words))
        return Cell(f"dictionaries.{task}", config, needs=tuple(needs), label=label)


PRESETS = {
    "quick": Dictionaries(),
    "standard": Dictionaries(seeds=(0, 1, 2)),
    "paper": Dictionaries(seeds=tuple(range(10))),
    "real": Dictionaries(
        world=REAL.world,
        arrange=REAL.arrange,
        chat_template=REAL.chat_template,
        lr=REAL.lrs[0],
        documents=REAL.documents,
        lesson=REAL.lesson,
        snapshots=REAL.snapshots,
        steps=(0, 2, 4, 8, 16),
        n_documents=REAL.n_documents,
        bystanders=REAL.bystanders,
        n_samples=REAL.n_samples,
        hook=REAL.hooks[0],
        coder={"d_sae": 1024, "k": 16, "steps": 600, "lr": 1e-3, "n_tokens": 16_000},
        n_coder_documents=900,
        n_persona_documents=REAL.n_persona_documents,
    ),
}
