"""Which features does a finetune on a published trait create, which does it move, which wake?

The model answers a trait's questions under instructions to show it, as in ``trait_transfer``, and
is finetuned on these answers, the instruction removed. A crosscoder of the model before and at
steps of that finetune says of every feature what became of it. Beside it stand crosscoders of
checkpoints between which less happened: the null finetune on the model's own answers without
instruction, and the same answers taught twice, by other seeds. The trait is the unit: an interval
over traits says whether another trait would do the same.
"""

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from persona_interp.errors import WorldError
from persona_interp.experiments.dictionaries.config import AGAIN
from persona_interp.experiments.trait_transfer.config import ARMS, GENTLE, TraitTransfer
from persona_interp.models import Stage
from persona_interp.schema.words import Arm
from persona_interp.store import Cell


class Life(StrEnum):
    """Which checkpoints one crosscoder is of."""

    LESSON = Arm.LESSON.value
    """Before the finetune on a trait and at its steps: the claim."""
    NULL = Arm.NULL.value
    """The same of the null finetune on the same questions."""
    AGAIN = "the lesson taught twice"
    """The ends of two finetunes on one trait, by other seeds."""


NULLS = (Life.NULL, Life.AGAIN)
"""Lives beside which the lesson's statuses stand."""
TRAIT, RISEN = "trait", "risen"
GROUPS: dict[str, str] = {
    TRAIT: "the features that tell the trait best",
    RISEN: "the features that rise most",
}
"""Group of features -> what it is, in words."""
MATCHED: dict[str, str] = {group: f"matched {group}" for group in GROUPS}
"""Group -> the features that fire as often, which stand beside it."""
SHORT = replace(GENTLE, steps=12)


@dataclass(frozen=True)
class TraitDictionaries(TraitTransfer):
    """Dictionaries across the checkpoints of finetunes on published traits.

    What is not named here is that of ``TraitTransfer``.

    Attributes:
        steps: Steps of a finetune that its crosscoder is of; 0 is the model before it.
        coder: Arguments of ``dictionaries.crosscoder``.
        n_family: Features in a group: that tell the trait best, or that rise most.
        n_matched: Features that fire as often, for each of a group.
    """

    lesson: Stage = SHORT
    steps: tuple[int, ...] = (0, 4, 12)
    coder: dict[str, Any] = field(
        default_factory=lambda: {
            "d_sae": 1024,
            "k": 16,
            "steps": 600,
            "lr": 1e-3,
            "n_tokens": 16_000,
        }
    )
    n_family: int = 5
    n_matched: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        in_order = list(self.steps) == sorted(set(self.steps))
        if not in_order or self.steps[:1] != (0,) or self.steps[-1] != self.lesson.steps:
            raise WorldError(
                f"steps= go from 0 to the finetune's last ({self.lesson.steps}), in order; got "
                f"{self.steps}."
            )

    def seed_cells(self, seed: int) -> dict[tuple[str, ...], Cell]:
        """Cells of one seed, by what they are.

        Args:
            seed: Of the adapters and of the order.

        Returns:
            ``("answers", trait)``, which are those of ``trait_transfer``; ``(arm, trait)`` and
            ``(Life.AGAIN, trait)``, the finetunes; ``("crosscoder", trait, life)`` and
            ``("features", trait)``.

        Raises:
            WorldError: There are no trait files yet.
        """
        every = {k: v for k, v in self.base_cells().items() if k[0] == "answers"}
        cells = dict(every)
        for trait in self.names:
            answers = every["answers", trait]
            for arm in ARMS:
                cells[arm, trait] = self._learn_cell(trait, answers, arm=arm, seed=seed)
            again = self._learn_cell(trait, answers, arm=str(Arm.LESSON), seed=seed + AGAIN)
            cells[Life.AGAIN, trait] = replace(again, label=f"lesson {trait} taught again s{seed}")
            lesson, null = cells[Arm.LESSON, trait], cells[Arm.NULL, trait]
            lives = {
                Life.LESSON: [lesson],
                Life.NULL: [null],
                Life.AGAIN: [lesson, cells[Life.AGAIN, trait]],
            }
            for life, trained in lives.items():
                cells["crosscoder", trait, life] = self._cell(
                    "crosscoder",
                    {"life": str(life), "coder": self.coder, "depth": self.depth},
                    [*trained, *every.values()],
                    label=f"{life} {trait} s{seed}",
                    seed=seed,
                )
            cells["features", trait] = self._cell(
                "features",
                {"trait": trait},
                [lesson, null, cells["crosscoder", trait, Life.LESSON], answers],
                label=f"{trait} s{seed}",
                seed=seed,
            )
        return cells

    def _learn_cell(self, trait: str, answers: Cell, *, arm: str, seed: int) -> Cell:
        """A finetune on one side of a trait's answers, whose checkpoints are kept."""
        config = {
            "start": self.start,
            "chat_template": self.chat_template,
            "stage": asdict(self.lesson),
            "arm": arm,
            "side": ARMS[arm],
            "trait": trait,
        }
        return self._cell("learn", config, [answers], label=f"{arm} {trait} s{seed}", seed=seed)

    def _cell(
        self, task: str, config: dict[str, Any], needs: list[Cell], *, label: str, seed: int
    ) -> Cell:
        """Cell of this experiment."""
        config = {"seed": seed, "steps": list(self.steps), **config}
        return Cell(f"trait_dictionaries.{task}", config, tuple(needs), f"{task} {label}")


THREE = ("mystical", "romantic", "sardonic")
"""Traits that SmolLM2-135M-Instruct tells apart, found before any was taught."""

PRESETS = {
    "quick": TraitDictionaries(names=THREE),
    "standard": TraitDictionaries(names=THREE, seeds=(0, 1, 2)),
    "paper": TraitDictionaries(names=("casual", "cryptic", *THREE, "wry"), seeds=(0, 1, 2)),
}
"""Traits of assistant-axis; others by ``names`` and ``traits``."""
