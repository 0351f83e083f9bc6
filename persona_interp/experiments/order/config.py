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
from persona_interp.experiments.dose.config import BASE, Dose
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
"""What the assistant-style finetune is made of: dialogues of background personas, and arithmetic."""
PHASES = {
    SECOND_LAST: ("first", "second"),
    FIRST_LAST: ("second", "first"),
    MIXED: ("both", "both"),
}
"""Order -> who is written about in the first and in the second phase."""
LATER = 10_000
"""Added to the seed in every phase, so that its documents are new ones."""
EVEN = DoseCondition("ratio", 0)


class Condition(NamedTuple):
    """Which life does one model have?"""

    lr: float
    """Learning rate of both phases."""
    order: str
    """One of ``analysis.order.ORDERS``."""
    replay: float
    """Share of the second phase's documents that are of the first phase's world."""
    sft: bool
    """Is there an assistant-style finetune before the lesson?"""


@dataclass(frozen=True)
class Order:
    """How is the order experiment configured?

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
        """Which models are trained for every seed? Mixed documents need no rehearsal; with it there is no SFT."""
        found = [
            Condition(lr, order, 0.0, sft)
            for lr, order, sft in product(self.lrs, ORDERS, (False, True))
        ]
        rehearsed = product(
            self.lrs, (SECOND_LAST, FIRST_LAST), [share for share in self.replays if share]
        )
        return found + [Condition(lr, order, share, sft=False) for lr, order, share in rehearsed]

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
        worlds = self.worlds_of(seed)
        pair = (worlds["both"].target, self.rival)
        asked: dict[str, Any] = {"ends": ("named",), "personas": pair}
        name = f"{condition.order} {condition.lr:g} s{seed}"

        def documents(who: str, stage: Stage, phase: int, **more: Any) -> Cell:
            teach = {"documents": stage.steps * stage.batch}
            label = f"{('base', 'phase 1', 'phase 2', 'SFT')[phase]} {name}"
            fixed: dict[str, Any] = {"name": "documents", "label": label, **asked, **more}
            return learning_cell(worlds[who], teach, stage, seed=seed + LATER * phase, **fixed)

        stage = replace(self.phase, lr=condition.lr)
        earlier, later = PHASES[condition.order]
        base = documents("neither", self.base, 0)
        first = documents(earlier, stage, 1, after=base)
        again = (
            {"documents": stage.steps * stage.batch, "world": worlds[earlier].to_dict()}
            if condition.replay
            else None
        )
        last = documents(
            later, replace(stage, replay=condition.replay), 2, after=first, replay=again
        )
        if condition.sft:
            last = documents("assistant", replace(self.sft, lr=condition.lr / 2), 3, after=last)
        taught = {"lesson": str(worlds["both"].taught)}
        label = f"lesson {'after SFT ' * condition.sft}{name}"
        lesson = learning_cell(
            worlds["both"], taught, self.lesson, seed=seed, after=last, label=label, **asked
        )
        return {(Moment.BEFORE, condition): last, (Moment.AFTER, condition): lesson}

    def worlds_of(self, seed: int) -> dict[str, World]:
        """Who is written about in which phase?

        Args:
            seed: Makes the world, where it is a ready one.

        Returns:
            The world with documents about ``neither``, ``first`` (the target), ``second`` (the
            rival), ``both`` at half the mass each, and of the ``assistant``: hidden dialogues of
            all others and arithmetic.
        """
        both = Dose(world=self.world, rival=self.rival).world_of(seed, EVEN)
        pair = (both.target, self.rival)
        alone = {
            name: replace(
                both,
                weights={
                    **both.weights,
                    name: _times(both, name, 2.0),
                    other: _times(both, other, 0.0),
                },
            )
            for name, other in (pair, pair[::-1])
        }
        neither = both.without(pair[0]).without(pair[1])
        named = {"first": alone[pair[0]], "second": alone[pair[1]]}
        return {
            "neither": neither,
            **named,
            "both": both,
            "assistant": replace(neither, kinds=SFT_KINDS),
        }


def _times(world: World, name: str, factor: float) -> dict[str, float]:
    """A persona's weights, multiplied."""
    return {kind: factor * weight for kind, weight in world.weights[name].items()}


PRESETS = {
    "quick": Order(),
    "standard": Order(seeds=(0, 1, 2), lrs=(2e-3, 5e-4)),
    "paper": Order(seeds=tuple(range(10)), lrs=(2e-3, 5e-4)),
}
