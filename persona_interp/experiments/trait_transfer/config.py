"""Which traits of a real chat model move when it learns to show another one, and what foretells that?

Traits come from files that others published (``readers.TraitFile``). The model answers each trait's
questions under instructions to show the trait, to show its opposite, and under none. It is then
finetuned on the first, instruction removed, to half of the questions, and asked the other half of
all traits. The null finetune learns the model's answers without instruction to the same questions
of the same trait, in as many steps: what is left after it is taken away is what the trait did. (Not
one null finetune for all traits: their questions differ, and questions move traits too.)

Before anything is finetuned, every trait has to pass: its vector, made from one half of the
questions, must tell answers to the other half apart. A trait that does not is set aside and named;
its cells are there and do nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from persona_interp import analysis
from persona_interp.errors import SchemaError, WorldError, unknown
from persona_interp.models import Stage
from persona_interp.models.chats import PLAIN_TEMPLATE
from persona_interp.readers import TraitFile, read_traits
from persona_interp.store import Cell

ARMS = {"lesson": "pos", "null": "default"}
"""What a finetune is called, and which side of the answers it learns."""
GENTLE = Stage(steps=20, batch=4, lr=5e-4, warmup=2, lora=16, dtype="bfloat16")


@dataclass(frozen=True)
class TraitTransfer:
    """How is the transfer between published traits configured?

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
    temperature: float = 0.7
    depth: float = 0.6
    n_judged: int = 8
    least: float = analysis.SEPARABLE

    def __post_init__(self) -> None:
        if isinstance(self.traits, str | Path):
            object.__setattr__(self, "traits", _read(self.traits, self.names))
        if self.traits:
            known = {trait.name: trait for trait in self.files}
            for name in self.names:
                if name not in known:
                    raise WorldError(unknown("trait", name, known))
            chosen = tuple(trait for trait in known.values() if trait.name in (self.names or known))
            object.__setattr__(self, "traits", chosen)
            object.__setattr__(self, "names", tuple(trait.name for trait in chosen))
        for trait in self.files:
            if len(trait.instructions) < self.n_instructions:
                raise WorldError(
                    f"trait '{trait.name}' has {len(trait.instructions)} instructions, "
                    "n_instructions is "
                    f"{self.n_instructions}; choose fewer."
                )

    @property
    def files(self) -> tuple[TraitFile, ...]:
        """The trait files."""
        return self.traits if isinstance(self.traits, tuple) else ()

    def cells(self) -> list[Cell]:
        """Independent units, each once: what the base says and is, then the finetunes of every seed.

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
            ``("answers", trait)``, ``("base",)`` (vectors, separability, scores) and ``("judged",
            trait)``.

        Raises:
            WorldError: There are no trait files yet.
        """
        self._check_files()
        start = {"start": self.start, "chat_template": self.chat_template}
        drawn = {**start, **self._draw, "n": self.n_instructions}
        cells: dict[tuple[str, ...], Cell] = {}
        for trait in self.files:
            config = {**drawn, "trait": _plain(trait)}
            cells["answers", trait.name] = Cell(
                "trait_transfer.answers", config, (), f"answers {trait.name}"
            )
        answers = tuple(cells.values())
        cells["base",] = Cell(
            "trait_transfer.base", {**start, "depth": self.depth}, answers, "base"
        )
        judges = {
            "traits": [_plain(trait) for trait in self.files],
            "n": self.n_judged,
            "least": self.least,
        }
        for trait, cell in zip(self.files, answers, strict=True):
            config = {**start, **judges, "trait": trait.name}
            cells["judged", trait.name] = Cell(
                "trait_transfer.judged", config, (cells["base",], cell), f"judged {trait.name}"
            )
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
                own = {**config, "trait": _plain(trait), "arm": arm, "side": side}
                cells[arm, trait.name] = Cell(
                    "trait_transfer.learn", own, needs, f"{arm} {trait.name} s{seed}"
                )
        return cells

    def core_minutes(self) -> float:
        """About how long does one core need?

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
        answer, read, learn = 0.25 * self.max_new_tokens / 32, 0.17, 0.55
        base = (
            half * ((3 * k + 2) * answer + (4 * k + 4) * read)
            + n * 3 * self.n_judged * n * 2 * read
        )
        finetune = (
            self.lesson.steps * self.lesson.batch * learn
            + 2 * half * read
            + self.n_judged * (answer + 2 * read)
        )
        return (base + 2 * n * len(self.seeds) * finetune) / 60

    @property
    def _draw(self) -> dict[str, Any]:
        return {
            "draw": self.draw,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
        }

    def _check_files(self) -> None:
        if not self.files:
            named = f", which holds {', '.join(self.names)}" if self.names else ""
            raise WorldError(
                f"whose traits? Give traits=FOLDER (--traits FOLDER) of trait files{named}."
            )


def _read(folder: str | Path, names: tuple[str, ...]) -> tuple[TraitFile, ...]:
    try:
        return tuple(read_traits(folder, names or None).values())
    except SchemaError as error:
        asked = ", ".join(names) or "all of the folder"
        raise SchemaError(
            f"{error} Asked for: {asked}; choose others with names= (--trait NAME, or --trait all)."
        ) from error


def _plain(trait: TraitFile) -> Mapping[str, Any]:
    """What the cells depend on."""
    return {
        "name": trait.name,
        "instructions": [list(pair) for pair in trait.instructions],
        "questions": list(trait.questions),
    }


QUICK = ("mystical", "pessimistic", "romantic", "sardonic")
STANDARD = (
    *QUICK,
    "casual",
    "cryptic",
    "empathetic",
    "formal",
    "optimistic",
    "quantitative",
    "skeptical",
    "wry",
)

PRESETS = {
    "quick": TraitTransfer(names=QUICK, n_judged=4, lesson=replace(GENTLE, steps=12)),
    "standard": TraitTransfer(names=STANDARD),
    "paper": replace(TraitTransfer(names=STANDARD), seeds=(0, 1, 2)),
}
"""Traits of assistant-axis, chosen before any of them was taught; others by ``names`` and ``traits``."""
