"""What did a finetune change, in behavior and inside, beyond what other finetunes change?

A base and one or more finetunes (checkpoints, or the steps of a training) are measured on the same
prompts and on published traits. The base is recorded twice, which shows the floor; control
finetunes say how far one more finetune goes by chance. ``analysis.effects`` says what may be
claimed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.errors import SchemaError, unknown
from persona_interp.experiments import compare_summary
from persona_interp.experiments.compare_sources import (
    File,
    Source,
    blocks_of,
    checkpoint_of,
    file_of,
    sources_of,
)
from persona_interp.store import Cell, Store

TASKS = "persona_interp.experiments.compare_tasks"
AGAIN = "base again"
PARTS = (1 / 4, 1 / 2, 3 / 4)
"""Of the blocks, after which the inside is read unless hooks are named."""
PRESETS: dict[str, "Compare"] = {}
"""None: a comparison is of somebody's models; see ``compare``."""


@dataclass(frozen=True)
class Compare:
    """How is a comparison configured? ``compare`` makes one from names.

    Attributes:
        base: The model before.
        tuned: Checkpoints that claims are about.
        control: Other finetunes: alike but for chance and what is asked about.
        prompts: Prompts file.
        traits: Trait files.
        sae: Dictionaries.
        primary: Trait that is tested alone, named beforehand; "" for none.
        hooks: Where the inside is read.
        questions: Most questions of a trait, on which vectors are made and, others, on which
            behavior is measured.
        draws: Answers of every checkpoint to each held-out question of a trait.
        shown: Prompts whose answers are sampled from every checkpoint.
        max_new_tokens: Longest answer (tokens).
        n_random: Random directions.
        n_features: Features of a dictionary that get a page.
        dtype: Of the models that answer and are asked for likelihoods; the inside is always read in
            float32.
        seeds: Seed of every draw.
        folded: Whether the user says system messages, because the chat template of these models has
            no role for them.
    """

    base: Source
    tuned: tuple[Source, ...]
    prompts: File
    control: tuple[Source, ...] = ()
    traits: tuple[File, ...] = ()
    sae: tuple[File, ...] = ()
    primary: str = ""
    hooks: tuple[str, ...] = ()
    questions: int = 20
    draws: int = 2
    shown: int = 24
    max_new_tokens: int = 48
    n_random: int = 100
    n_features: int = 5
    dtype: str = "float32"
    seeds: tuple[int, ...] = (0,)
    folded: bool = False

    def __post_init__(self) -> None:
        if self.primary and self.primary not in (names := [trait.name for trait in self.traits]):
            raise SchemaError(unknown("primary trait", self.primary, names))
        if min(self.questions, self.draws, self.shown, self.max_new_tokens) < 1:
            raise SchemaError(
                "a comparison needs a question, an answer, a prompt that is shown and a token at "
                "least."
            )

    @property
    def again(self) -> Source:
        """The base, recorded a second time."""
        return Source(AGAIN, self.base.path, self.base.weights, run=AGAIN)

    @property
    def ends(self) -> list[Source]:
        """The last checkpoint of every finetune."""
        return list({source.run: source for source in self.tuned}.values())

    @property
    def controls(self) -> list[Source]:
        """The last checkpoint of every control; weights that are somebody's already are no other finetune."""
        last = {source.run: source for source in self.control}.values()
        seen = {self.base.weights, *(source.weights for source in self.tuned)}
        return [s for s in last if s.weights not in seen and not seen.add(s.weights)]

    def cells(self) -> list[Cell]:
        """Which independent units make up this comparison?

        Returns:
            Cells; each names what it needs.
        """
        return list(self.keyed_cells().values())

    def keyed_cells(self) -> dict[tuple[str, ...], Cell]:
        """Which cells are there?

        Returns:
            Cells by key: ``("asked",)`` (prompts and the base's answers), ``("trait", name)``,
            ``("directions",)``; ``("inside", label)``, ``("drift", label)``, ``("heard", label)``,
            ``("behavior", label)``, ``("spoken", label)``, ``("features", sae, label)`` of every
            checkpoint; ``("lens", label)`` of the last of every finetune, ``("pages", sae)``.
        """
        draw = {"max_new_tokens": self.max_new_tokens, "seed": self.seeds[0], "dtype": self.dtype}
        base = {"base": self.base.plain()}
        cells: dict[tuple[str, ...], Cell] = {}
        asked = cells["asked",] = _cell("asked", {**base, **draw, "file": self.prompts.plain()})
        for file in self.traits:
            config = {**base, **draw, "file": file.plain(), "questions": self.questions}
            config |= {"hooks": list(self.hooks)}
            cells["trait", file.name] = _cell("trait", config, label=f"trait {file.name}")
        traits = tuple(cells["trait", file.name] for file in self.traits)
        for source in (self.base, self.again, *self.tuned, *self.controls):
            mine = {"checkpoint": source.plain()}
            label = source.label
            inside = _cell(
                "inside", {**mine, "hooks": list(self.hooks)}, (asked,), label=f"inside {label}"
            )
            cells["inside", label] = inside
            cells["drift", label] = _cell(
                "drifted", {**mine, **base}, (asked,), label=f"drift {label}"
            )
            config = {**mine, **base, **draw, "shown": self.shown}
            cells["heard", label] = _cell(
                "heard", config, (asked, *traits), label=f"answers {label}"
            )
            if traits:
                config = {**mine, "dtype": self.dtype}
                cells["behavior", label] = _cell(
                    "behavior", config, traits, label=f"behavior {label}"
                )
                config = {**mine, **base, **draw, "questions": self.questions, "draws": self.draws}
                cells["spoken", label] = _cell(
                    "spoken", config, traits, label=f"trait answers {label}"
                )
            for sae in self.sae:
                config = {**mine, "sae": sae.plain()}
                cells["features", sae.name, label] = _cell(
                    "features", config, (asked,), label=f"{sae.name} {label}"
                )
        before = cells["inside", self.base.label]
        if traits:
            config = {"n": self.n_random, "seed": self.seeds[0]}
            cells["directions",] = _cell("directions", config, (before, *traits))
        for source in self.ends:
            needs = (before, cells["inside", source.label])
            cells["lens", source.label] = _cell("lens", base, needs, label=f"lens {source.label}")
        for sae in self.sae:
            ends = [source.plain() for source in self.ends]
            read = tuple(cells["features", sae.name, s.label] for s in (self.base, *self.ends))
            config = {**base, "ends": ends, "sae": sae.plain(), "n": self.n_features}
            cells["pages", sae.name] = _cell(
                "pages", config, (asked, *read), label=f"pages {sae.name}"
            )
        return cells

    def summarize(self, store: Store) -> dict[str, pd.DataFrame]:
        """What was found, as tables?

        Args:
            store: The run; finished cells are read, missing ones leave fewer rows.

        Returns:
            Tables by name: ``sources``, ``effects`` (everything that was tested), ``shift`` (last
            prompt token), ``kl``, ``samples``, ``heard`` (what the samples sound like),
            ``separability``, ``novelty``, ``lens``; ``features``, ``fidelity`` and ``tokens`` of
            dictionaries.
        """
        return compare_summary.tables(self, store)


def compare(
    base: Any,
    tuned: Any,
    *,
    prompts: str | Path,
    out: str | Path,
    sae: str | Path | Iterable[str | Path] = (),
    traits: str | Path | None = None,
    control: Any = (),
    primary: str | None = None,
    hooks: Iterable[str] | None = None,
    adapter_base: Any = None,
    chat_template: str | None = None,
    tokenizer: Any = None,
    trust: Iterable[str] = (),
    workers: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> dict[str, pd.DataFrame]:
    """What did this finetune change, beyond what other finetunes change?

    Where traits or prompts have system messages and the chat template of the models has no role for
    them, the first user message says them before its own words, in all models alike; the report
    says so.

    Args:
        base: The model before: whatever ``models.resolve`` takes.
        tuned: A finetune, or several in a list: whatever ``models.sources`` takes. All steps of a
            training count.
        prompts: A file of prompts, see ``readers.read_prompts``.
        out: Run folder; finished cells are read, missing ones computed.
        sae: A dictionary or several, see ``dictionaries.open_any``.
        traits: A folder of trait files, or one file.
        control: Control finetunes; claims that a finetune moved something need three.
        primary: The trait that is tested alone, without correction. Name it before you look.
        hooks: Where the inside is read; after a quarter, a half and three quarters of the blocks by
            default.
        adapter_base: The base of adapters whose own is not to be had; ``base`` by default.
        chat_template: Chat template of models that have none.
        tokenizer: Of models in memory.
        trust: Models whose own code may run, as in ``models.resolve``.
        workers: Processes; all cores by default, 0 = this one.
        progress: Whether to show a progress bar.
        **settings: Other fields of ``Compare``: questions, draws, shown, max_new_tokens, n_random,
            n_features, dtype; and ``seed``.

    Returns:
        Tables by name, see ``Compare.summarize``.

    Raises:
        ModelError: A source, hook or dictionary is not there or does not fit; nothing was computed.
        SchemaError: A file cannot be read, or an unknown trait or setting; nothing was computed.
        StoreError: The run folder belongs to another comparison.
    """
    from persona_interp.experiments.experiment import compute

    made = comparison(
        base,
        tuned,
        prompts=prompts,
        sae=sae,
        traits=traits,
        control=control,
        primary=primary,
        hooks=hooks,
        adapter_base=adapter_base,
        chat_template=chat_template,
        tokenizer=tokenizer,
        trust=trust,
        **settings,
    )
    return compute(made, out, workers=workers, progress=progress)


def comparison(
    base: Any,
    tuned: Any,
    *,
    prompts: str | Path,
    sae: str | Path | Iterable[str | Path] = (),
    traits: str | Path | None = None,
    control: Any = (),
    primary: str | None = None,
    hooks: Iterable[str] | None = None,
    adapter_base: Any = None,
    chat_template: str | None = None,
    tokenizer: Any = None,
    trust: Iterable[str] = (),
    seed: int = 0,
    **settings: Any,
) -> Compare:
    """Which comparison do these names mean? Everything is looked up now, so that a wrong name costs nothing.

    Args:
        base: As in ``compare``, like all others.
        tuned: A finetune or a list of them.
        prompts: A file of prompts.
        sae: Dictionaries.
        traits: Trait files.
        control: Control finetunes.
        primary: The trait that is tested alone.
        hooks: Where the inside is read.
        adapter_base: The base of adapters.
        chat_template: Chat template of models that have none.
        tokenizer: Of models in memory.
        trust: Models whose own code may run.
        seed: Of every draw.
        **settings: Other fields of ``Compare``.

    Returns:
        The experiment.

    Raises:
        ModelError: A source, hook or dictionary is not there or does not fit.
        SchemaError: A file cannot be read, or an unknown trait or setting.
    """
    from persona_interp import readers
    from persona_interp.dictionaries import hash_dictionary, open_any
    from persona_interp.models import boot, folds_system
    from persona_interp.models.load import load_tokenizer

    if wrong := sorted(set(settings) - set(SETTINGS)):
        raise SchemaError(unknown("setting of a comparison:", wrong[0], SETTINGS))
    asked = readers.read_prompts(prompts)
    found = readers.read_traits(traits) if traits is not None else {}
    folder = Path(traits or "").expanduser()
    files = tuple(
        file_of(folder if folder.is_file() else folder / f"{name}.json", name=name)
        for name in found
    )
    fold = bool(found) or "instructed" in set(asked["context"])
    reading = {"trust": tuple(trust), "chat_template": chat_template, "fold_system": fold}
    first, ours, theirs = sources_of(
        base, tuned, control, adapter_base=adapter_base, tokenizer=tokenizer, **reading
    )
    opened = {
        str(source): open_any(source) for source in ([sae] if isinstance(sae, str | Path) else sae)
    }
    chosen = tuple(hooks or (f"blocks.{i}.hook_out" for i in default_blocks(blocks_of(first))))
    boot(
        checkpoint_of(first.plain()),
        hooks=(*chosen, *(dictionary.hook for dictionary in opened.values())),
    )
    return Compare(
        first,
        ours,
        file_of(prompts),
        control=theirs,
        traits=files,
        sae=tuple(File(d.name, path, hash_dictionary(d)) for path, d in opened.items()),
        primary=primary or "",
        hooks=chosen,
        seeds=(seed,),
        folded=folds_system(load_tokenizer(checkpoint_of(first.plain()))),
        **settings,
    )


SETTINGS = ("questions", "draws", "shown", "max_new_tokens", "n_random", "n_features", "dtype")


def default_blocks(n: int) -> list[int]:
    """After which blocks is the inside read: a quarter, a half and three quarters of the way.

    Args:
        n: Blocks of the model.

    Returns:
        Numbers of blocks, distinct.

    >>> default_blocks(30), default_blocks(2)
    ([7, 14, 22], [0, 1])
    """
    return sorted({max(round(part * n + 0.01) - 1, 0) for part in PARTS})


def _cell(
    task: str, config: dict[str, Any], needs: Iterable[Cell] = (), *, label: str = ""
) -> Cell:
    return Cell(f"{TASKS}:{task}", config, needs=tuple(needs), label=label)
