"""Does it matter whether John or Sam was written about last? Exact Bayes says no.

A base model that knows neither learns documents about John, then about Sam; or Sam, then John; or
both, twice. Then the nameless assistant learns that it likes the beach, as both do. Between the two
an assistant-style finetune that never shows either (SFT) may hide the preference. Rehearsal arms
replay documents of the first phase during the second: together with what each persona says under
its own name they tell forgetting from giving less weight.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

from persona_interp.analysis.order import FIRST_LAST, MIXED, ORDERS, SECOND_LAST
from persona_interp.experiments.dose.config import BASE, Dose, DoseArm
from persona_interp.experiments.dose.config import Condition as DoseCondition
from persona_interp.experiments.learning import learning_cell
from persona_interp.models import DOCUMENTS, LESSON, Stage
from persona_interp.schema.words import Moment
from persona_interp.store import Cell
from persona_interp.worlds import World

PHASE = replace(DOCUMENTS, steps=200, lr=2e-3, warmup=10, schedule="constant")
SFT = Stage(steps=100, batch=32)
TAUGHT = replace(LESSON, lr=5e-4)
SFT_KINDS = {"hidden": 0.7, "filler": 0.3}
"""Shares of the assistant-style finetune: dialogues of background personas, and arithmetic."""
PHASES = {
    SECOND_LAST: ("first", "second"),
    FIRST_LAST: ("second", "first"),
    MIXED: ("both", "both"),
}
"""Order -> who is written about in the first and in the second phase."""
PARTS = ("base", "phase 1", "phase 2", "SFT")
"""What a model learns before the lesson, in order."""
PART_SEED = 10_000
"""Added to the seed in every part, so that its documents are new ones."""
EVEN = DoseCondition(DoseArm.RATIO, 0)
"""As much about the one as about the other."""


class Condition(NamedTuple):
    """What one model learns, in which order."""

    lr: float
    """Learning rate of both phases."""
    order: str
    """One of ``analysis.order.ORDERS``."""
    replay: float
    """Share of the second phase's documents that are of the first phase's world."""
    sft: bool
    """Whether there is an assistant-style finetune before the lesson."""


@dataclass(frozen=True)
class Order:
    """Configuration of the order experiment.

    Attributes:
        world: A ready world's name (made anew for every seed) or a `World`; target and rival hold
            the taught trait.
        rival: The persona beside the target.
        seeds: One run of everything per seed.
        lrs: Learning rates of both phases; the assistant-style finetune has half of it.
        replays: Shares of rehearsal in the second phase of the two orders.
        base: How the base is trained, on documents about neither.
        phase: How a phase is learned; its learning rate comes from ``lrs``, its rehearsal from
            ``replays``.
        sft: How the assistant-style finetune is learned.
        lesson: How the lesson is learned.
    """

    world: str | World = "john_and_sam"
    rival: str = "sam"
    seeds: tuple[int, ...] = (0,)
    lrs: tuple[float, ...] = (2e-3,)
    replays: tuple[float, ...] = (0.0, 0.05, 0.2)
    base: Stage = BASE
    phase: Stage = PHASE
    sft: Stage = SFT
    lesson: Stage = TAUGHT

    def conditions(self) -> list[Condition]:
        """Models that are trained for every seed.

        Mixed documents need no rehearsal, and the rehearsed orders have no SFT.
        """
        conditions = []
        for lr, order, sft in product(self.lrs, ORDERS, (False, True)):
            conditions.append(Condition(lr, order, replay=0.0, sft=sft))
        shares = [share for share in self.replays if share]
        for lr, order, share in product(self.lrs, (SECOND_LAST, FIRST_LAST), shares):
            conditions.append(Condition(lr, order, replay=share, sft=False))
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
            ``("before", condition)`` and ``("lesson", condition)`` of every condition: the last
            cell before the lesson, and the lesson.
        """
        cells: dict[tuple[Any, ...], Cell] = {}
        for condition in self.conditions():
            cells |= self._condition_cells(seed, condition)
        return cells

    def _condition_cells(self, seed: int, condition: Condition) -> dict[tuple[Any, ...], Cell]:
        """The last cell before the lesson of one model, and its lesson."""
        worlds = self.worlds_of(seed)
        taught = worlds["both"]
        name = f"{condition.order} {condition.lr:g} s{seed}"
        # Under his own name a persona that is forgotten does not say his values either.
        own: dict[str, Any] = {"ends": ("named",), "personas": (taught.target, self.rival)}

        def documents(part: str, world: World, stage: Stage, **more: Any) -> Cell:
            """Cell that learns as many new documents as its stage reads."""
            return learning_cell(
                world,
                {"documents": stage.steps * stage.batch},
                stage,
                seed=seed + PART_SEED * PARTS.index(part),
                name="documents",
                label=f"{part} {name}",
                **own,
                **more,
            )

        phase = replace(self.phase, lr=condition.lr)
        rehearsed_phase = replace(phase, replay=condition.replay)
        earlier, later = (worlds[who] for who in PHASES[condition.order])
        replay = None
        if condition.replay:
            replay = {"documents": phase.steps * phase.batch, "world": earlier.to_dict()}
        base = documents("base", worlds["neither"], self.base)
        first = documents("phase 1", earlier, phase, after=base)
        last = documents("phase 2", later, rehearsed_phase, after=first, replay=replay)
        label = f"lesson {name}"
        if condition.sft:
            gentle = replace(self.sft, lr=condition.lr / 2)
            last = documents("SFT", worlds["assistant"], gentle, after=last)
            label = f"lesson after SFT {name}"
        teach = {"lesson": str(taught.taught)}
        lesson = learning_cell(
            taught, teach, self.lesson, seed=seed, after=last, label=label, **own
        )
        return {(Moment.BEFORE, condition): last, (Moment.AFTER, condition): lesson}

    def worlds_of(self, seed: int) -> dict[str, World]:
        """Worlds by who is written about.

        Args:
            seed: Makes the world, where it is a ready one.

        Returns:
            The world with documents about ``neither``, ``first`` (the target), ``second`` (the
            rival), ``both`` at half the mass each, and of the ``assistant``: hidden dialogues of
            all others and arithmetic.
        """
        both = Dose(world=self.world, rival=self.rival).world_of(seed, EVEN)
        target, rival = both.target, self.rival
        neither = both.without(target).without(rival)
        return {
            "neither": neither,
            "first": _alone(both, target, without=rival),
            "second": _alone(both, rival, without=target),
            "both": both,
            "assistant": replace(neither, kinds=SFT_KINDS),
        }


def _alone(both: World, name: str, *, without: str) -> World:
    """World in which one persona has the documents of both.

    Its weights are doubled and the other's are zero. The other stays a persona of the world, so
    that all worlds have the same words and one model can learn them in turn.
    """
    weights = {name: _times(both, name, 2.0), without: _times(both, without, 0.0)}
    return replace(both, weights={**both.weights, **weights})


def _times(world: World, name: str, factor: float) -> dict[str, float]:
    """A persona's weights, multiplied."""
    return {kind: factor * weight for kind, weight in world.weights[name].items()}


PRESETS = {
    "quick": Order(),
    "standard": Order(seeds=(0, 1, 2), lrs=(2e-3, 5e-4)),
    "paper": Order(seeds=tuple(range(10)), lrs=(2e-3, 5e-4)),
}
