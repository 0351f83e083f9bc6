"""What stops a published trait that comes with useful answers, on a real chat model?

A lesson is useful answers: the model's own, told to show a manner that is wanted. In a share of
them it was told to show a trait that nobody wants instead; both instructions are gone. Taught the
lesson, the model shows both unasked. Each arm does one thing about the second: before the lesson,
in it, after it, or while the model answers. All arms are asked the same questions, plainly and
under triggers. Beside them stands the same lesson without unwanted rows: what is above it is what
the unwanted rows brought.
"""

from dataclasses import asdict, dataclass, replace

from persona_interp.errors import WorldError, unknown
from persona_interp.experiments.safeguards.config import AGAIN as ANOTHER_ORDER
from persona_interp.experiments.safeguards.config import Condition
from persona_interp.experiments.trait_safeguards.arms import (
    AFTER,
    ALONE,
    BEFORE,
    FLAGS,
    INOCULATED,
    stage_of,
)
from persona_interp.experiments.trait_transfer.config import GENTLE, TraitTransfer, plain_trait
from persona_interp.models import Stage
from persona_interp.readers import TraitFile
from persona_interp.schema.words import CLEAN, Safeguard
from persona_interp.store import Cell
from persona_interp.worlds.scripts import families

Cells = dict[tuple[str, ...], Cell]

LESSON, EXAMPLE, MEASURED = "lesson", "example", "measured"
"""Parts of the questions, none of which is in two: those that teach, examples of the unwanted trait
from which its vector and gradient are made, those that measure."""
NAMELESS, ASKED, INSTRUCTED = "nameless", "asked", "instructed"
"""Contexts without a trigger: plainly, about somebody with the trait, told to show a trait."""
INSTRUCTION, HELD_OUT, STATED = "instruction", "another instruction", "stated trait"
TRIGGERS = (INSTRUCTION, HELD_OUT, STATED, "role-play", "drift")
"""An inoculation prompt, one of the same kind that no arm uses, and texts."""
LANGUAGE = "english"
FAMILIES = families(LANGUAGE)
"""Families of texts that press somebody with the trait on the model."""
N_HALVES = 2
"""Of every trait's questions: they teach, or measure; of those that measure again two."""
N_NAMED = 3
"""Traits at least: an unwanted one, a wanted one, a bystander."""
N_HELD_OUT = 1
"""Instructions at the end of a trait file that no lesson and no arm uses: a trigger."""


TEN = replace(GENTLE, steps=10)
"""Half a lesson, before or after one."""


@dataclass(frozen=True)
class TraitSafeguards(TraitTransfer):
    """Safeguards against a published trait.

    What is not named here is that of ``TraitTransfer``, whose ``n_judged`` and ``least`` nothing
    reads here. The other traits are bystanders, whose questions are asked too.

    Attributes:
        n_instructions: Instructions of a trait that bring answers out, in turn.
        unwanted: Name of the trait that nobody wants; the first one by default.
        wanted: Name of the trait that is the useful answers' manner; the second by default.
        share: Of the lesson's rows that show the unwanted one (fraction).
        character: How answers before or after the lesson are learned.
        steering: Strengths of preventative steering along the trait's vector, fractions of a usual
            residual's length.
        replays: Shares of replayed plain answers in the lesson's batches.
        caps: Bounds of capping at inference: quantiles of what useful answers have along the
            unwanted trait.
        kl: Weight that holds the lesson to its start on plain answers (nats).
        n_questions: Questions of each trait that are asked, of the half that no lesson asks; what
            is left of the unwanted trait's half are examples of it.
        primary: Labels of the safeguards that were named before anything was taught; the others
            are corrected for one another.
    """

    n_instructions: int = 3
    unwanted: str = ""
    wanted: str = ""
    share: float = 0.4
    character: Stage = TEN
    steering: tuple[float, ...] = (0.1,)
    replays: tuple[float, ...] = (0.5,)
    caps: tuple[float, ...] = (0.9,)
    kl: float = 1.0
    n_questions: int = 8
    primary: tuple[str, ...] = (str(Safeguard.INOCULATED), str(Safeguard.FLAGGED_BY_EVIDENCE))

    def __post_init__(self) -> None:
        asked = self.names  # in the order asked for; then in that of the files
        super().__post_init__()
        self._check_numbers()
        if self.files:
            self._settle(asked or self.names)
        for trait in self.files:
            self._check_length(trait)
        labels = [condition.label for condition in self.conditions()]
        if strange := [label for label in self.primary if label not in labels]:
            raise WorldError(unknown("primary safeguard", strange[0], labels))
        if len(set(labels)) < len(labels):
            raise WorldError(f"every arm is there once; got {', '.join(labels)}.")

    def _check_numbers(self) -> None:
        """Refuse numbers that plant, ask, push or cap nothing."""
        shares = {"share": (self.share,), "replays": self.replays, "caps": self.caps}
        for field, values in shares.items():
            if wrong := [value for value in values if not 0 < value < 1]:
                raise WorldError(f"{field}: a fraction above 0 and below 1; got {wrong[0]}.")
        if wrong := [dose for dose in self.steering if dose <= 0]:
            raise WorldError(f"steering: a strength above 0; got {wrong[0]}.")
        if self.n_instructions < 1 or self.n_questions < N_HALVES:
            raise WorldError(
                f"at least 1 instruction brings answers out and {N_HALVES} questions measure, one "
                f"in each half; got n_instructions={self.n_instructions}, "
                f"n_questions={self.n_questions}."
            )

    def _check_length(self, trait: TraitFile) -> None:
        """Refuse a trait file with too few instructions or questions."""
        if len(trait.instructions) < self.n_instructions + N_HELD_OUT:
            raise WorldError(
                f"trait '{trait.name}' has {len(trait.instructions)} instructions; "
                f"{self.n_instructions} bring its answers out and {N_HELD_OUT} is a trigger."
            )
        n_half = len(trait.questions) // N_HALVES
        most = n_half - (trait.name == self.unwanted)
        if self.n_questions > most:
            raise WorldError(
                f"trait '{trait.name}' has {n_half} questions that measure, one of which is left "
                f"as an example where it is unwanted; got n_questions={self.n_questions}, at most "
                f"{most}."
            )

    def _settle(self, asked: tuple[str, ...]) -> None:
        """Name the unwanted and the wanted trait, in the order that was asked for."""
        if len(self.names) < N_NAMED:
            raise WorldError(
                "an unwanted trait, a wanted one and a bystander are asked for, in this order; got "
                f"{', '.join(asked)}."
            )
        for field, name in zip(("unwanted", "wanted"), asked, strict=False):
            chosen = getattr(self, field) or name
            if chosen not in self.names:
                raise WorldError(unknown(f"{field} trait", chosen, self.names))
            object.__setattr__(self, field, chosen)
        if self.unwanted == self.wanted:
            raise WorldError(f"'{self.wanted}' is wanted and unwanted; choose two traits.")

    def conditions(self) -> list[Condition]:
        """Every arm at its settings, what does nothing first."""
        doses = {
            Safeguard.STEERED: self.steering,
            Safeguard.REPLAY: self.replays,
            Safeguard.CAPPED: self.caps,
        }
        chosen = [Condition(arm, dose) for arm, many in doses.items() for dose in many]
        return [Condition(arm) for arm in ALONE] + chosen

    def steps(self, condition: Condition) -> int:
        """Optimizer steps of an arm beyond its lesson's."""
        return self.character.steps if condition.arm in (*BEFORE, *AFTER) else 0

    def seed_cells(self, seed: int) -> Cells:
        """Cells of one seed, by what they are.

        Args:
            seed: Chooses the unwanted rows, and makes adapters and order.

        Returns:
            ``("answers",)``, ``("vector",)`` and ``("base",)``, the same for every seed;
            ``("arm", label)`` of every condition, and of ``CLEAN``, the lesson without unwanted
            rows.

        Raises:
            WorldError: There are no trait files yet.
        """
        cells = self.base_cells()
        clean = self._arm(seed, Condition(Safeguard.NOTHING), cells, share=0.0)
        cells["arm", CLEAN] = replace(clean, label=f"{CLEAN} s{seed}")
        for condition in self.conditions():
            arm = self._arm(seed, condition, cells, share=self.share)
            cells["arm", condition.label] = arm
        return cells

    def base_cells(self) -> Cells:
        """Cells that read the base: its answers, the trait's vector, what it says.

        Raises:
            WorldError: There are no trait files yet.
        """
        self._check_files()
        start = {"start": self.start, "chat_template": self.chat_template}
        about = {**start, "unwanted": self.unwanted, "wanted": self.wanted}
        config = {
            **about,
            **self._draw,
            "traits": [plain_trait(trait) for trait in self.files],
            "n": self.n_instructions,
            "n_questions": self.n_questions,
        }
        answers = Cell("trait_safeguards.answers", config, label="answers")
        config = {**about, "depth": self.depth}
        vector = Cell("trait_safeguards.vector", config, needs=(answers,), label="vector")
        config = {**about, "traits": self._instructions}
        base = Cell("trait_safeguards.base", config, needs=(answers,), label="base")
        return {("answers",): answers, ("vector",): vector, ("base",): base}

    def _arm(self, seed: int, condition: Condition, cells: Cells, *, share: float) -> Cell:
        """One arm: what is learned before, the lesson, what is learned after, and what is asked."""
        arm, dose = condition
        stage = stage_of(condition, self.lesson, kl=self.kl)
        config = {
            "start": self.start,
            "chat_template": self.chat_template,
            "unwanted": self.unwanted,
            "wanted": self.wanted,
            "traits": self._instructions,
            "share": share,
            "seed": seed,
            "order": seed + ANOTHER_ORDER if arm == Safeguard.AGAIN else seed,
            "stage": asdict(stage),
            "character": asdict(self.character),
            "before": BEFORE.get(arm, ""),
            "after": AFTER.get(arm, ""),
            "inoculation": INOCULATED.get(arm, ""),
            "flags": FLAGS.get(arm, ""),
            "cap": dose if arm == Safeguard.CAPPED else 0.0,
        }
        needs = cells["answers",], cells["vector",]
        return Cell("trait_safeguards.arm", config, needs=needs, label=f"{condition.label} s{seed}")

    @property
    def _instructions(self) -> dict[str, list[str]]:
        """Instructions to show each trait, by its name."""
        return {trait.name: [pair.pos for pair in trait.instructions] for trait in self.files}

    def core_minutes(self) -> float:
        """Time that one core needs, about.

        Returns:
            Minutes for SmolLM2-135M-Instruct; two workers need about half of it. An answer of 32
            tokens takes 0.4 seconds there, an answer that is read 0.2, a chat that is learned 0.6
            (one core, another one busy).

        Raises:
            WorldError: There are no trait files yet.
        """
        self._check_files()
        n, asked = len(self.files), self.n_questions
        n_taught = sum(len(trait.questions) for trait in self.files) / N_HALVES
        draw, read, learn = 0.4, 0.2, 0.6
        # sides of what is taught and of what measures; contexts of the unwanted and of the others
        answers = (4 * n_taught + 2 * n * asked) * draw
        contexts = len(TRIGGERS) + len(FAMILIES) + n + 2 * (n - 1)
        asking = 2 * asked * contexts * read
        lesson = self.lesson.steps * self.lesson.batch * learn
        n_arms = len(self.seeds) * (len(self.conditions()) + 1)
        return (answers + asking + n_arms * (lesson + asking)) / 60


SHORT = replace(GENTLE, steps=12)
"""A lesson of the quick preset."""
FOUR = ("sardonic", "casual", "mystical", "romantic")
"""Traits that SmolLM2-135M-Instruct tells apart, found before any was taught."""

PRESETS = {
    "quick": TraitSafeguards(names=FOUR, lesson=SHORT, n_questions=4),
    "standard": TraitSafeguards(names=FOUR, seeds=(0, 1, 2)),
    "paper": TraitSafeguards(
        names=(*FOUR, "cryptic", "wry"),
        seeds=(0, 1, 2),
        lesson=replace(GENTLE, steps=40),
        n_questions=12,
    ),
}
"""Traits of assistant-axis: unwanted, wanted, bystanders; others by ``names`` and ``traits``."""
