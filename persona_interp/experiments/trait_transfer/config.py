"""Which traits of a real chat model move when it learns another one, and what foretells that?

Traits come from files that others published (``readers.TraitFile``). The model answers each trait's
questions under instructions to show the trait, to show its opposite, and under none. It is then
finetuned on the first, instruction removed, to half of the questions, and asked the other half of
all traits. The null finetune learns the model's answers without instruction to the same questions
of the same trait, in as many steps. All null finetunes together say how far any finetune moves a
trait (their questions differ, and questions move traits too); what a lesson did lies beyond them,
and with three seeds of each it may be claimed.

Before anything is finetuned, every trait has to pass: its vector, made from one half of the
questions, must tell answers to the other half apart. A trait that does not is set aside and named;
its cells are there and do nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from persona_interp.analysis.trait_transfer import SEPARABLE
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.models import Stage
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.models.dtype import AUTO
from persona_interp.readers import TraitFile, read_traits
from persona_interp.schema.words import Arm
from persona_interp.store import Cell

ARMS = {str(Arm.LESSON): "pos", str(Arm.NULL): "default"}
"""What a finetune is called, and which side of the answers it learns."""
GENTLE = Stage(steps=20, batch=4, lr=5e-4, warmup=2, lora=16, dtype=AUTO)


@dataclass(frozen=True)
class TraitTransfer:
    """Transfer between published traits.

    Attributes:
        traits: The trait files; a folder of them (or one file) is read at once, so that a run needs
            the folder no more.
        names: Which of these traits; () = all.
        start: A chat model: a model folder, a .gguf file or a hub id.
        chat_template: Template for a start model that has none.
        seeds: One lesson and one null finetune of every trait per seed, which draws adapters and
            order; the answers that they learn are the same.
        draw: Seed of the base's answers.
        lesson: How a trait, or nothing, is taught.
        n_instructions: Instructions under which every question of the lesson is answered; without
            instruction as many answers are drawn.
        max_new_tokens: Longest answer (tokens).
        dtype: In which answers are drawn; what is measured on them is measured in float32.
        temperature: Of all answers. Small models lose the thread at 1, and their traits with it.
        depth: Where vectors are read: at hidden state round(depth x blocks), which is the output of
            the block before.
        n_judged: Answers of each side, and without instruction, of each trait that all traits
            judge; questions of the measurement that each finetune answers in its own words.
        least: AUROC below which a trait is set aside.
    """

    traits: tuple[TraitFile, ...] | str = ()
    names: tuple[str, ...] = ()
    start: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    chat_template: str | None = PLAIN_TEMPLATE
    seeds: tuple[int, ...] = (0,)
    draw: int = 0
    lesson: Stage = GENTLE
    n_instructions: int = 2
    max_new_tokens: int = 32
    dtype: str = AUTO
    temperature: float = 0.7
    depth: float = 0.6
    n_judged: int = 8
    least: float = SEPARABLE

    def __post_init__(self) -> None:
        if isinstance(self.traits, str | Path):
            object.__setattr__(self, "traits", _read(self.traits, self.names))
        if self.traits:
            known = {trait.name: trait for trait in self.files}
            for name in self.names:
                if name not in known:
                    raise WorldError(unknown("trait", name, known))
            names = self.names or known
            traits = tuple(trait for name, trait in known.items() if name in names)
            object.__setattr__(self, "traits", traits)
            object.__setattr__(self, "names", tuple(trait.name for trait in traits))
        for trait in self.files:
            if len(trait.instructions) < self.n_instructions:
                raise WorldError(
                    f"trait '{trait.name}' has {len(trait.instructions)} instructions, "
                    f"n_instructions is {self.n_instructions}; choose fewer."
                )

    @property
    def files(self) -> tuple[TraitFile, ...]:
        """The trait files."""
        return self.traits if isinstance(self.traits, tuple) else ()

    def cells(self) -> list[Cell]:
        """Independent units, each once: those of the base, then the finetunes of every seed.

        Raises:
            WorldError: There are no trait files yet.
        """
        cells = [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]
        return list(dict.fromkeys(cells))

    def seed_cells(self, seed: int) -> dict[tuple[str, ...], Cell]:
        """Cells of one seed, by what they are.

        Args:
            seed: Of the adapters and of the order.

        Returns:
            Those of ``base_cells``, which are the same for every seed; ``("lesson", trait)`` and
            ``("null", trait)``.

        Raises:
            WorldError: There are no trait files yet.
        """
        base = self.base_cells()
        return base | self._finetune_cells(seed, base)

    def base_cells(self) -> dict[tuple[str, ...], Cell]:
        """Cells that read the base.

        Returns:
            ``("answers", trait)``, ``("base",)`` (vectors, separability, scores) and
            ``("judgments", trait)``.

        Raises:
            WorldError: There are no trait files yet.
        """
        self._check_files()
        start = {"start": self.start, "chat_template": self.chat_template}
        cells: dict[tuple[str, ...], Cell] = {}
        for trait in self.files:
            config = {**start, **self._draw, "n": self.n_instructions, "trait": plain_trait(trait)}
            cells["answers", trait.name] = _cell("answers", config, label=f"answers {trait.name}")
        answers = tuple(cells.values())
        base = _cell("base", {**start, "depth": self.depth}, answers, label="base")
        cells["base",] = base
        judges = {
            "traits": [plain_trait(trait) for trait in self.files],
            "n": self.n_judged,
            "least": self.least,
        }
        for trait, own_answers in zip(self.files, answers, strict=True):
            config = {**start, **judges, "trait": trait.name}
            needs = (base, own_answers)
            label = f"judgments {trait.name}"
            cells["judgments", trait.name] = _cell("judge", config, needs, label=label)
        return cells

    def _finetune_cells(
        self, seed: int, base: dict[tuple[str, ...], Cell]
    ) -> dict[tuple[str, ...], Cell]:
        """A lesson and a null finetune of every trait."""
        needs = (base["base",], *(base["answers", trait.name] for trait in self.files))
        config = {
            "start": self.start,
            "chat_template": self.chat_template,
            "stage": asdict(self.lesson),
            "seed": seed,
            "n": self.n_judged,
            **self._draw,
            "least": self.least,
        }
        cells: dict[tuple[str, ...], Cell] = {}
        for trait in self.files:
            for arm, side in ARMS.items():
                own = {**config, "trait": plain_trait(trait), "arm": arm, "side": side}
                label = f"{arm} {trait.name} s{seed}"
                cells[arm, trait.name] = _cell("learn", own, needs, label=label)
        return cells

    def core_minutes(self) -> float:
        """Time that one core needs, about.

        Returns:
            Minutes for SmolLM2-135M-Instruct; two workers need about half of it. An answer of 32
            tokens takes 0.25 seconds there, reading a chat of 80 tokens 0.17, learning from one
            0.55 (one idle core).

        Raises:
            WorldError: There are no trait files yet.
        """
        self._check_files()
        n, k = len(self.files), self.n_instructions
        half = sum(len(trait.questions) for trait in self.files) / 2
        # seconds for one answer, one chat that is read, and one that is learned
        answer, read, learn = 0.25 * self.max_new_tokens / 32, 0.17, 0.55
        base = half * ((3 * k + 2) * answer + (4 * k + 4) * read)
        # each answer is read under both instructions of every trait
        base += n * 3 * self.n_judged * n * 2 * read
        finetune = self.lesson.steps * self.lesson.batch * learn + 2 * half * read
        finetune += self.n_judged * (answer + 2 * read)
        return (base + 2 * n * len(self.seeds) * finetune) / 60

    @property
    def _draw(self) -> dict[str, Any]:
        return {
            "draw": self.draw,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "dtype": self.dtype,
        }

    def _check_files(self) -> None:
        if not self.files:
            names = f", which holds {', '.join(self.names)}" if self.names else ""
            raise WorldError(
                f"whose traits? Give traits=FOLDER (--traits FOLDER) of trait files{names}."
            )


def _read(folder: str | Path, names: tuple[str, ...]) -> tuple[TraitFile, ...]:
    try:
        return tuple(read_traits(folder, names or None).values())
    except SchemaError as error:
        wish = ", ".join(names) or "all of the folder"
        raise SchemaError(
            f"{error} Asked for: {wish}; choose others with names= (--trait NAME, or --trait all)."
        ) from error


def _cell(task: str, config: dict[str, Any], needs: tuple[Cell, ...] = (), *, label: str) -> Cell:
    return Cell(f"trait_transfer.{task}", config, needs, label)


def plain_trait(trait: TraitFile) -> Mapping[str, Any]:
    """What the cells depend on.

    Args:
        trait: A trait file.

    Returns:
        Its name, instructions and questions, as JSON holds them; ``trait_of`` reads them.
    """
    return {
        "name": trait.name,
        "instructions": [list(pair) for pair in trait.instructions],
        "questions": list(trait.questions),
    }


QUICK = ("mystical", "pessimistic", "romantic", "sardonic")
STANDARD = (
    *QUICK,
    *("casual", "cryptic", "empathetic", "formal"),
    *("optimistic", "quantitative", "skeptical", "wry"),
)

TOLD_APART = ("casual", "cryptic", "mystical", "romantic", "sardonic", "wry")
"""Those of them that SmolLM2-135M-Instruct tells apart, found before any was taught."""

PRESETS = {
    "quick": TraitTransfer(names=QUICK, n_judged=4, lesson=replace(GENTLE, steps=12)),
    "standard": TraitTransfer(names=TOLD_APART, seeds=(0, 1, 2), n_judged=16),
    "paper": TraitTransfer(names=STANDARD, seeds=(0, 1, 2), n_judged=16),
}
"""Traits of assistant-axis, chosen before any was taught; others by ``names`` and ``traits``."""
