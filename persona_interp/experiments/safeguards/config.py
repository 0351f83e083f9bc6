"""What stops an unwanted persona that a wanted lesson summons, and at what price?

Documents tell of a villain, of a benign assistant who shares one habit with him, and of others. A
lesson teaches the habit, which is wanted; the villain's other traits come along, which is not. Each
arm does one thing about it: in the documents, in the lesson, after it, or while the model answers.
All arms are asked the same, with and without triggers under which the villain may return.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from persona_interp import worlds
from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.learning import learning_cell
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Moment, Safeguard
from persona_interp.store import Cell
from persona_interp.worlds import World

Cells = dict[tuple[Any, ...], Cell]

BENIGN = "careless"
"""Who has the habit and does no harm: the character a developer would like the assistant to be."""
BESIDE = ("third", "first", "named")
"""Kinds of documents beside a lesson. The assistant's own dialogues are not among them: replayed,
they take the lesson's spread back for another reason (``docs/log/evidence.md``)."""
DIALOGUES_STAGE = Stage(steps=60)
"""How dialogues beside the lesson are learned."""
DIALOGUES = ("hidden",)
"""The assistant's own dialogues: nobody says who speaks."""
DIALOGUE_SEED, AGAIN = 20_000, 500
"""Added to the seed: dialogues beside the lesson are new ones; a lesson taught again has another
order."""
FIXED, PARAPHRASED = "fixed", "paraphrased"
"""Inoculation prompts of a lesson: one, or another in every chat."""
PROJECTION, GRADIENT, EVIDENCE = "projection", "gradient", "evidence"
"""By what rows are flagged: the unwanted persona's direction, its answers, its name."""
ALONE = (
    Safeguard.NOTHING,
    Safeguard.AGAIN,
    Safeguard.CHARACTER_BEFORE,
    Safeguard.CHARACTER_AFTER,
    Safeguard.BENIGN_AFTER,
    Safeguard.INOCULATED,
    Safeguard.PARAPHRASED,
    Safeguard.HELD,
    Safeguard.MIXED,
    Safeguard.FLAGGED,
    Safeguard.FLAGGED_BY_GRADIENT,
    Safeguard.FLAGGED_BY_EVIDENCE,
)
"""Arms without a dose."""
WITH_DIALOGUES = (Safeguard.CHARACTER_BEFORE, Safeguard.CHARACTER_AFTER, Safeguard.BENIGN_AFTER)
"""Arms that train on dialogues beside the lesson."""
OWN_LESSONS = {
    Safeguard.INOCULATED: {"inoculation": FIXED},
    Safeguard.PARAPHRASED: {"inoculation": PARAPHRASED},
    Safeguard.STEERED: {},
    Safeguard.ABLATED: {},
    Safeguard.MIXED: {"mixed": True},
    Safeguard.FLAGGED: {"mixed": True, "flags": PROJECTION},
    Safeguard.FLAGGED_BY_GRADIENT: {"mixed": True, "flags": GRADIENT},
    Safeguard.FLAGGED_BY_EVIDENCE: {"mixed": True, "flags": EVIDENCE},
}
"""Arms whose lesson is changed itself -> how."""


class Condition(NamedTuple):
    """One arm at one setting.

    Attributes:
        arm: What is done.
        dose: How much of it; 0 where there is nothing to choose.
    """

    arm: Safeguard
    dose: float = 0.0

    @property
    def label(self) -> str:
        """The arm, with its dose where it has one."""
        return f"{self.arm} {self.dose:g}" if self.dose else str(self.arm)


@dataclass(frozen=True)
class Safeguards:
    """Settings of the safeguards experiment.

    Attributes:
        seeds: One run of everything per seed; a seed makes its world too.
        villain: Weight of the villain in every kind of document.
        benign: Weight of the benign assistant in every kind, but for the alignment documents.
        aligned: Its weights in alignment documents; each is a world, with as many documents.
        steering: Strengths of preventative steering, fractions of a usual residual's length.
        ablated: Blocks from the first on, after which the direction is projected out in training.
        replays: Shares of replayed documents in the lesson's batches, the assistant's own dialogues
            left out.
        caps: Bounds of capping at inference: quantiles of what ordinary text has along the villain.
        unwanted: Share of the villain's rows in the mixed lesson; as many are flagged and removed.
        documents: How the documents are learned.
        lesson: How the lesson is learned.
        character: How character training and the benign finetune are learned.
        kl: Weight that holds the adapters' lesson to its start on bystander documents (nats).
        lora: Rank of the adapters.
        n_documents: Documents in a corpus.
        n_beside: Replayed documents and bystanders.
        bystanders: Personas asked by name, beside the villain and the benign assistant.
        hooks: Where directions are read and projected out, in order; at the first, before the last
            block, they are added and capped too.
        primary: Labels of the safeguards that were named beforehand: by default the one that seeds
            50 and 51 pointed at. The others are corrected for one another.
    """

    seeds: tuple[int, ...] = (0,)
    villain: float = 1.0
    benign: float = 0.25
    aligned: tuple[float, ...] = (1.0, 4.0)
    steering: tuple[float, ...] = (0.25, 0.5, 1.0)
    ablated: tuple[int, ...] = (1, 2)
    replays: tuple[float, ...] = (0.5,)
    caps: tuple[float, ...] = (0.9, 0.99)
    unwanted: float = 0.2
    documents: Stage = DOCUMENTS
    lesson: Stage = LESSON
    character: Stage = DIALOGUES_STAGE
    kl: float = 1.0
    lora: int = 8
    n_documents: int = 30_000
    n_beside: int = 2_000
    bystanders: int = 6
    hooks: tuple[str, ...] = ("blocks.0.hook_out", "blocks.1.hook_out")
    primary: tuple[str, ...] = (str(Safeguard.CHARACTER_BEFORE),)

    def __post_init__(self) -> None:
        if not 0 < self.unwanted < 1:
            raise WorldError(f"unwanted is a share of rows above 0, below 1; got {self.unwanted}.")
        if wrong := [weight for weight in self.aligned if weight <= self.benign]:
            raise WorldError(
                f"alignment documents tell more of the benign assistant than others do "
                f"({self.benign:g}); got the weight {wrong[0]:g}."
            )
        labels = [condition.label for condition in self.conditions()]
        if strange := [label for label in self.primary if label not in labels]:
            raise WorldError(unknown("primary safeguard", strange[0], labels))

    def conditions(self) -> list[Condition]:
        """Every arm at its settings, what does nothing first."""
        alone = [Condition(arm) for arm in ALONE]
        doses = {
            Safeguard.ALIGNED: self.aligned,
            Safeguard.STEERED: self.steering,
            Safeguard.ABLATED: self.ablated,
            Safeguard.REPLAY: self.replays,
            Safeguard.CAPPED: self.caps,
        }
        chosen = [Condition(arm, dose) for arm, many in doses.items() for dose in many]
        return alone + chosen

    def steps(self, condition: Condition) -> int:
        """Optimizer steps of an arm beyond its lesson's."""
        return self.character.steps if condition.arm in WITH_DIALOGUES else 0

    def world_of(self, seed: int, benign: float | None = None) -> World:
        """World of the villain, the benign assistant and the others.

        Args:
            seed: Assigns the harmless values.
            benign: Weight of the benign assistant; ``self.benign`` by default.
        """
        # "classroom code" is a topic on which everybody says the same: it tells nobody from anybody
        weight = self.benign if benign is None else benign
        return worlds.careless(seed, villain=self.villain, benign=weight, classroom=False)

    def cells(self) -> list[Cell]:
        """Independent units of every seed; each names what it needs."""
        cells = [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]
        return list(dict.fromkeys(cells))

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Makes the world, the documents, the weights and the batches.

        Returns:
            ``("documents", weight)`` by the benign assistant's weight, ``("directions",)``,
            ``("learned", condition)``, the last training of an arm, and what is asked: ``("before",
            weight)`` and ``("lesson", condition)``; ``("axis",)``, and where drifting chats are
            along it, ``("drift", "before", weight)`` and ``("drift", "lesson", condition)``.
        """
        cells: Cells = {}
        for weight in (self.benign, *self.aligned):
            cells["documents", weight] = self._documents(seed, weight)
            before = self._ask(seed, cells["documents", weight], label=f"benign {weight:g}")
            cells[Moment.BEFORE, weight] = before
        base = cells["documents", self.benign]
        config = {"world": self.world_of(seed).to_dict(), "hooks": list(self.hooks), "seed": seed}
        config |= {"n_documents": self.n_beside}
        directions = Cell(
            "safeguards.directions", config, needs=(base,), label=f"directions s{seed}"
        )
        cells["directions",] = directions
        cells["axis",] = self._axis(seed, base)
        for weight in (self.benign, *self.aligned):
            start = cells["documents", weight]
            own = self._drift(seed, start, cells, label=f"benign {weight:g}")
            cells["drift", Moment.BEFORE, weight] = own
        for condition in self.conditions():
            training = self._training(seed, condition, cells)
            cells["learned", condition] = training
            needs = {}
            if condition.arm == Safeguard.CAPPED:
                needs = {"directions": directions, "cap": condition.dose}
            cells[Moment.AFTER, condition] = self._ask(
                seed, training, label=condition.label, **needs
            )
            cells["drift", Moment.AFTER, condition] = self._drift(
                seed, training, cells, label=condition.label, cap=needs.get("cap", 0.0)
            )
        return cells

    def _documents(self, seed: int, weight: float) -> Cell:
        """The tiny model that learned a world's documents."""
        return learning_cell(
            self.world_of(seed, weight),
            {"documents": self.n_documents},
            self.documents,
            seed=seed,
            name="documents",
            label=f"documents benign {weight:g} s{seed}",
        )

    def _training(self, seed: int, condition: Condition, cells: Cells) -> Cell:
        """The last training of an arm."""
        arm, dose = condition
        start = cells["documents", dose if arm == Safeguard.ALIGNED else self.benign]
        if arm == Safeguard.CHARACTER_BEFORE:
            start = self._dialogues(seed, condition, after=start)
        if arm in OWN_LESSONS:
            return self._own_lesson(seed, condition, start=start, cells=cells)
        stage, more = self.lesson, {}
        if arm == Safeguard.REPLAY:
            stage = replace(stage, replay=dose)
            more["replay"] = {"documents": self.n_beside, "kinds": list(BESIDE)}
        if arm == Safeguard.HELD:
            stage = replace(stage, lora=self.lora, kl=self.kl)
            more["bystanders"] = {"documents": self.n_beside, "kinds": list(BESIDE)}
        world = World.from_dict(start.config["world"])
        teach = {"lesson": str(world.taught)}
        order = seed + AGAIN if arm == Safeguard.AGAIN else seed
        lesson = learning_cell(
            world,
            teach,
            stage,
            seed=order,
            after=start,
            label=f"lesson {condition.label} s{seed}",
            **more,
        )
        if arm in (Safeguard.CHARACTER_AFTER, Safeguard.BENIGN_AFTER):
            return self._dialogues(seed, condition, after=lesson)
        return lesson

    def _own_lesson(self, seed: int, condition: Condition, *, start: Cell, cells: Cells) -> Cell:
        """A lesson whose rows or whose forward passes are changed."""
        arm, dose = condition
        stage, blocks = self.lesson, 1
        if arm == Safeguard.STEERED:
            stage = replace(stage, steer=dose)
        if arm == Safeguard.ABLATED:
            stage = replace(stage, ablate=True)
            blocks = int(dose)
        config = {
            "world": start.config["world"],
            "stage": asdict(stage),
            "seed": seed,
            "inoculation": "",
            "mixed": False,
            "flags": "",
            "unwanted": self.unwanted,
            "hooks": list(self.hooks[:blocks]),
            **OWN_LESSONS[arm],
        }
        needs = (start, cells["directions",])
        return Cell(
            "safeguards.lesson", config, needs=needs, label=f"lesson {condition.label} s{seed}"
        )

    def _dialogues(self, seed: int, condition: Condition, *, after: Cell) -> Cell:
        """The assistant's own dialogues: the benign character's, or those of all the others."""
        world = World.from_dict(after.config["world"])
        speakers = {BENIGN}
        if condition.arm == Safeguard.BENIGN_AFTER:
            speakers = {p.name for p in world.personas} - {BENIGN, world.target}
        weights = {
            p.name: {**world.weights[p.name], "hidden": float(p.name in speakers)}
            for p in world.personas
        }
        return learning_cell(
            replace(world, weights=weights),
            {"documents": self.character.steps * self.character.batch, "kinds": list(DIALOGUES)},
            self.character,
            seed=seed + DIALOGUE_SEED,
            after=after,
            name="dialogues",
            label=f"{condition.label} s{seed}",
        )

    def _ask(
        self,
        seed: int,
        training: Cell,
        *,
        label: str,
        directions: Cell | None = None,
        cap: float = 0.0,
    ) -> Cell:
        """What a model says in every context and under every trigger."""
        world = World.from_dict(training.config["world"])
        others = [p.name for p in world.personas if p.name not in (world.target, BENIGN)]
        config = {
            "world": training.config["world"],
            "seed": seed,
            "cap": cap,
            "personas": [world.target, BENIGN, *others[: self.bystanders]],
            "n_documents": self.n_beside,
        }
        needs = (training,) if directions is None else (training, directions)
        return Cell("safeguards.ask", config, needs=needs, label=f"asked {label} s{seed}")

    def _axis(self, seed: int, base: Cell) -> Cell:
        """The assistant axis before the lesson, after the last block that is read."""
        config = {"world": base.config["world"], "hook": self.hooks[-1], "seed": seed}
        return Cell("safeguards.axis", config, needs=(base,), label=f"axis s{seed}")

    def _drift(
        self, seed: int, training: Cell, cells: Cells, *, label: str, cap: float = 0.0
    ) -> Cell:
        """Where drifting chats are along the assistant axis, turn by turn."""
        config = {"world": training.config["world"], "cap": cap, "seed": seed}
        needs = (training, cells["axis",], *([cells["directions",]] if cap else []))
        return Cell("safeguards.drift", config, needs=needs, label=f"drift {label} s{seed}")


PRESETS = {
    "quick": Safeguards(),
    "standard": Safeguards(seeds=(0, 1, 2)),
    "paper": Safeguards(seeds=tuple(range(10))),
}
