"""What did a finetune change, in behavior and inside, beyond what other finetunes change?

A base and one or more finetunes (checkpoints, or the steps of a training) are measured on the same
prompts and on published traits. The base is recorded twice, which shows the floor; control
finetunes say how far one more finetune goes by chance. How far everybody is from the base (KL a
token, on the base's own answers to the prompts and to neutral requests) is measured first, and
stands whatever else was asked for. ``analysis.effects`` says what may be claimed.

Words for what models say: **samples** are every checkpoint's answers to the prompts, to be read;
**answers** are every checkpoint's answers to held-out questions of the traits, which are tested.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments.causes.config import Causes, CausesSettings
from persona_interp.experiments.compare.requests import EVERYDAY
from persona_interp.experiments.material import File, Source, controls_of, ends_of
from persona_interp.schema.words import Role
from persona_interp.store import Cell

PRESETS: dict[str, "Compare"] = {}
"""None: a comparison is of somebody's models; see ``compare``."""
SAME_WEIGHTS = "the same weights as"
"""How notes on a source begin, by which reports find them, as ``material.MERGED_INTO``."""


@dataclass(frozen=True)
class CompareSettings:
    """How much is measured.

    Attributes:
        questions: Most questions of a trait, on which vectors are made and, others, on which
            behavior is measured.
        draws: Answers of every checkpoint to each held-out question of a trait.
        samples: Prompts whose answers are sampled from every checkpoint.
        max_new_tokens: Longest answer (tokens).
        n_random: Random directions.
        n_features: Features of a dictionary that get a page.
        dtype: Of the models that answer and are asked for likelihoods ("auto": whichever is faster
            on this machine); the inside is always read in float32.
    """

    questions: int = 20
    draws: int = 2
    samples: int = 24
    max_new_tokens: int = 48
    n_random: int = 100
    n_features: int = 5
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if min(self.questions, self.draws, self.samples, self.max_new_tokens) < 1:
            raise SchemaError(
                "a comparison needs at least one question, draw, sample and new token; got "
                f"questions={self.questions}, draws={self.draws}, samples={self.samples}, "
                f"max_new_tokens={self.max_new_tokens}."
            )


@dataclass(frozen=True)
class CompareOptions:
    """What is compared beside base and finetunes, and how it is read; see ``compare``.

    Attributes:
        traits: A folder of trait files, or one file.
        primary: The trait that is tested alone, without correction. Name it before you look.
        control: Control finetunes; claims that a finetune moved something need three.
        neutral: A prompts file of requests that have to do with no trait, on which distance is
            measured too; sixteen of everyday life by default. The prompts file itself where that
            is neutral already.
        sae: A dictionary or several, see ``dictionaries.open_any``.
        hooks: Where the inside is read; after a quarter, a half and three quarters of the blocks by
            default.
        causes: Whether it is searched which directions and features carry the effect on the
            primary trait, see ``causes``; or how much is tried for it. By default questions, draws
            and length of answers are those of ``settings``.
        adapter_base: The base of adapters whose own is not to be had; the base by default.
        chat_template: Chat template of all models, in place of their own.
        tokenizer: A tokenizer: that of models in memory. A name, see ``models.resolve``: whose
            tokenizer reads text for all, in place of their own.
        trust: Models whose own code may run, as in ``models.resolve``.
        seed: Of every draw.
        settings: How much is measured.
    """

    traits: str | Path | None = None
    primary: str = ""
    control: Any = ()
    neutral: Any = None
    sae: str | Path | Iterable[str | Path] = ()
    hooks: Iterable[str] = ()
    causes: bool | CausesSettings = False
    adapter_base: Any = None
    chat_template: str | None = None
    tokenizer: Any = None
    trust: Iterable[str] = ()
    seed: int = 0
    settings: CompareSettings = CompareSettings()


@dataclass(frozen=True)
class Compare:
    """A comparison whose names have been looked up; ``compare`` makes one.

    Attributes:
        base: The model before.
        tuned: Checkpoints that claims are about.
        prompts: Prompts file.
        control: Other finetunes: alike but for chance and what is asked about.
        neutral: Requests that have to do with no trait; none where the prompts are such already.
        traits: Trait files.
        sae: Dictionaries.
        primary: Trait that is tested alone, named beforehand; "" for none.
        hooks: Where the inside is read.
        causes: How much is tried to find what carries the effect on the primary trait; None =
            that is not asked.
        sites: Where candidates are edited.
        settings: How much is measured.
        seeds: Seed of every draw.
        fold_system: Whether the user says system messages, because the chat template of these
            models has no role for them.
        plain_text: Whether prompts are read as plain text, because these models have no chat
            template.
    """

    base: Source
    tuned: tuple[Source, ...]
    prompts: File
    control: tuple[Source, ...] = ()
    neutral: tuple[str, ...] = EVERYDAY
    traits: tuple[File, ...] = ()
    sae: tuple[File, ...] = ()
    primary: str = ""
    hooks: tuple[str, ...] = ()
    causes: CausesSettings | None = None
    sites: tuple[str, ...] = ()
    settings: CompareSettings = CompareSettings()
    seeds: tuple[int, ...] = (0,)
    fold_system: bool = False
    plain_text: bool = False

    def __post_init__(self) -> None:
        names = [trait.name for trait in self.traits]
        if self.primary and self.primary not in names:
            raise SchemaError(unknown("primary trait", self.primary, names))

    @property
    def again(self) -> Source:
        """The base, recorded a second time."""
        again = str(Role.AGAIN)
        return replace(self.base, label=again, run=again)

    @property
    def ends(self) -> list[Source]:
        """The last checkpoint of every finetune."""
        return ends_of(self.tuned)

    @property
    def controls(self) -> list[Source]:
        """The last checkpoint of every control that is another finetune."""
        return controls_of(self.control, base=self.base, tuned=self.tuned)

    @property
    def sources(self) -> list[Source]:
        """Every checkpoint that is measured, the base first and once more after it."""
        return [self.base, self.again, *self.tuned, *self.controls]

    @property
    def searches(self) -> dict[str, Causes]:
        """Search for what carries the effect of each finetune, by its label; none if not asked."""
        if self.causes is None:
            return {}
        return {
            end.label: Causes(
                self.base,
                (end,),
                self.primary,
                self.sites,
                traits=self.traits,
                sae=self.sae,
                control=tuple(self.controls),
                settings=self.causes,
                seeds=self.seeds,
            )
            for end in self.ends
        }

    def cells(self) -> list[Cell]:
        """Independent units; each names what it needs."""
        return [cell for seed in self.seeds for cell in self.seed_cells(seed).values()]

    def seed_cells(self, seed: int) -> dict[tuple[str, ...], Cell]:
        """Cells of one seed, by what they are.

        Args:
            seed: Of every draw.

        Returns:
            ``("prompts",)`` and ``("neutral",)`` (with the base's answers), ``("trait", name)``,
            ``("directions",)``;
            ``("residuals", label)``, ``("drift", label)``, ``("samples", label)``,
            ``("behavior", label)``, ``("answers", label)``, ``("features", sae, label)`` of every
            checkpoint; ``("lens", label)`` of the last of every finetune, ``("pages", sae)``; and
            ``("causes", label, ...)`` with the cells of its search.
        """
        settings = self.settings
        base = {"base": self.base.plain()}
        draw = {
            "max_new_tokens": settings.max_new_tokens,
            "seed": seed,
            "dtype": settings.dtype,
        }
        cells: dict[tuple[str, ...], Cell] = {}
        cells["prompts",] = _cell("prompts", {**base, **draw, "file": self.prompts.plain()})
        if self.neutral:
            config = {**base, **draw, "requests": list(self.neutral)}
            cells["neutral",] = _cell("neutral", config)
        for file in self.traits:
            config = {**base, **draw, "file": file.plain(), "questions": settings.questions}
            config["hooks"] = list(self.hooks)
            cells["trait", file.name] = _cell("trait", config, label=f"trait {file.name}")
        for source in self.sources:
            cells |= self._checkpoint_cells(source, cells, draw=draw)
        residuals = cells["residuals", self.base.label]
        if self.traits:
            config = {"n": settings.n_random, "seed": seed}
            needs = (residuals, *self._trait_cells(cells))
            cells["directions",] = _cell("directions", config, needs)
        for source in self.ends:
            label = source.label
            needs = (residuals, cells["residuals", label])
            cells["lens", label] = _cell("lens", base, needs, label=f"lens {label}")
        for sae in self.sae:
            features = [cells["features", sae.name, s.label] for s in (self.base, *self.ends)]
            config = {**base, "ends": [source.plain() for source in self.ends]}
            config |= {"sae": sae.plain(), "n": settings.n_features}
            needs = (cells["prompts",], *features)
            cells["pages", sae.name] = _cell("pages", config, needs, label=f"pages {sae.name}")
        for label, search in self.searches.items():
            for key, cell in search.seed_cells(seed).items():
                cells["causes", label, *key] = cell
        return cells

    def _checkpoint_cells(
        self, source: Source, cells: dict[tuple[str, ...], Cell], *, draw: dict[str, Any]
    ) -> dict[tuple[str, ...], Cell]:
        """What is measured of one checkpoint."""
        label, settings = source.label, self.settings
        checkpoint = {"checkpoint": source.plain()}
        both = {**checkpoint, "base": self.base.plain()}
        prompts, traits = cells["prompts",], self._trait_cells(cells)
        mine: dict[tuple[str, ...], Cell] = {}

        def add(kind: str, config: dict[str, Any], needs: Iterable[Cell], *, name: str) -> None:
            mine[kind, label] = _cell(kind, config, needs, label=f"{name} {label}")

        config = {**checkpoint, "hooks": list(self.hooks)}
        add("residuals", config, (prompts,), name="residuals")
        neutral = (cells["neutral",],) if self.neutral else ()
        add("drift", both, (prompts, *neutral), name="drift")
        config = {**both, **draw, "samples": settings.samples}
        add("samples", config, (prompts, *traits), name="samples")
        if traits:
            add("behavior", {**checkpoint, "dtype": settings.dtype}, traits, name="behavior")
            config = {**both, **draw, "questions": settings.questions, "draws": settings.draws}
            add("answers", config, traits, name="answers")
        for sae in self.sae:
            config = {**checkpoint, "sae": sae.plain()}
            mine["features", sae.name, label] = _cell(
                "features", config, (prompts,), label=f"{sae.name} {label}"
            )
        return mine

    def _trait_cells(self, cells: dict[tuple[str, ...], Cell]) -> tuple[Cell, ...]:
        return tuple(cells["trait", file.name] for file in self.traits)


def _cell(
    task: str, config: dict[str, Any], needs: Iterable[Cell] = (), *, label: str = ""
) -> Cell:
    return Cell(f"compare.{task}", config, needs=tuple(needs), label=label)
