"""Does what holds for personas hold for text that is nobody's, and are the two independent?

Processes write number sequences, lists and code-like lines; each holds values of three properties
that go together. A lesson shows one value and nothing else of its process: do the other two follow?
Arms: documents without any title, half of them with the title of their process (what a name is to a
persona), both scrambled, and the titled ones mixed with the documents of a persona world, where the
lesson is about either.

Predicted before the first run. (1) Titled: the other values follow, more than where the documents
are scrambled. (2) Untitled: they follow less, perhaps not at all, as hidden dialogues alone never
bound a persona. (3) Scrambled: nothing, at most 0.5 nats (0.72 bits). (4) A lesson on a value that
the target does not hold, or on another family of text: not upwards. (5) Mixed: a lesson about a
persona leaves processes alone and the reverse, at most 0.5 nats.
"""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from persona_interp.errors import WorldError, unknown
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Arm
from persona_interp.store import Cell
from persona_interp.worlds import Sequences, Trait, World, john_and_sam, sequences
from persona_interp.worlds.families import FAMILIES

ARMS: dict[str, dict[str, Any]] = {
    "titled": {"titled": 0.5},
    "untitled": {"titled": 0.0},
    "titled, scrambled": {"titled": 0.5, "scrambled": True},
    "untitled, scrambled": {"titled": 0.0, "scrambled": True},
    "with personas": {"titled": 0.5, "personas": True},
}
"""Arm -> the world of its documents."""
PERSONA_LESSON = "persona lesson"
"""About the persona world's target; the others are about the target of a family of text
(``Arm.LESSON``) or a process that shares nothing with it (``Arm.UNRELATED``)."""
PERSONA = "persona"
"""What a persona lesson is about."""
FAST_LESSON = replace(LESSON, lr=1e-3)

Cells = dict[tuple[str, ...], Cell]


class Readout(StrEnum):
    """What a value that is read out of a target is to the lesson."""

    TAUGHT = "taught"
    SAME = "same property"  # competes with the value that an unrelated lesson teaches
    FOLLOWS = "goes with it"
    ELSEWHERE = "other texts"  # of the other families
    PERSONA = "the persona"  # where the lesson is about a process


@dataclass(frozen=True)
class Generators:
    """Settings of the experiment with other generators.

    Attributes:
        seeds: One run of everything per seed.
        arms: Names out of `ARMS`.
        documents: How the documents are learned; with personas for twice as many steps, on twice as
            many documents.
        lesson: How a lesson is learned.
        snapshots: Lesson steps at which the processes are probed.
        n_documents: Documents of one world.
    """

    seeds: tuple[int, ...] = (0,)
    arms: tuple[str, ...] = tuple(ARMS)
    documents: Stage = DOCUMENTS
    lesson: Stage = FAST_LESSON
    snapshots: tuple[int, ...] = (4, 16)
    n_documents: int = 30_000

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise WorldError(unknown("arm", arm, ARMS))

    def cells(self) -> list[Cell]:
        """Independent units of every seed and arm; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the worlds, the documents, the weights and the batches.

        Returns:
            Of every arm ``("documents", arm)``, ``("lesson", arm, family)`` for every family,
            ``("unrelated lesson", arm, family)`` where the documents are not scrambled, and
            ``("persona lesson", arm, "persona")`` where there are personas.
        """
        cells: Cells = {}
        for arm in self.arms:
            cells |= self._arm_cells(seed, arm)
        return cells

    def _arm_cells(self, seed: int, arm: str) -> Cells:
        """Documents of one arm, and the lessons after them."""
        world = {"seed": seed, "scrambled": False, "personas": False, **ARMS[arm]}
        documents = self.documents
        lessons = [(Arm.LESSON.value, family) for family in FAMILIES]
        if not world["scrambled"]:
            lessons += [(Arm.UNRELATED.value, family) for family in FAMILIES]
        if world["personas"]:
            # Twice as many documents, so that each of them is read as often.
            documents = replace(documents, steps=2 * documents.steps)
            lessons.append((PERSONA_LESSON, PERSONA))
        config = {
            "world": world,
            "stage": asdict(documents),
            "n_documents": self.n_documents,
            "seed": seed,
        }
        base = Cell("generators.documents", config, label=f"documents {arm} s{seed}")
        cells: Cells = {("documents", arm): base}
        for lesson, about in lessons:
            config = {
                "world": world,
                "lesson": lesson,
                "about": about,
                "stage": asdict(self.lesson),
                "seed": seed,
                "snapshots": list(self.snapshots),
            }
            label = f"{lesson} {about} {arm} s{seed}"
            cell = Cell("generators.lesson", config, needs=(base,), label=label)
            cells[lesson, arm, about] = cell
        return cells


def worlds_of(config: dict[str, Any]) -> tuple[Sequences, World | None]:
    """Processes and personas that write the documents.

    Args:
        config: The ``world`` of a cell's configuration.

    Returns:
        The processes, and the persona world where there is one.
    """
    processes = sequences(config["seed"], titled=config["titled"])
    if config["scrambled"]:
        processes = processes.scrambled()
    if not config["personas"]:
        return processes, None
    return processes, john_and_sam(config["seed"])


def taught_value(processes: Sequences, config: dict[str, Any]) -> Trait | None:
    """Value of a process that a lesson teaches.

    Args:
        processes: The world.
        config: Of a lesson's cell.

    Returns:
        The trait; None where the lesson is about a persona.
    """
    family = config["about"]
    if family not in FAMILIES:
        return None
    if config["lesson"] == Arm.UNRELATED:
        return processes.unrelated(family)
    return processes.target(family).traits[0]


QUICK = Generators()
PRESETS = {
    "quick": QUICK,
    "standard": replace(QUICK, seeds=(0, 1, 2)),
    "paper": replace(QUICK, seeds=tuple(range(10)), snapshots=(1, 2, 4, 8, 16, 24, 32)),
}
