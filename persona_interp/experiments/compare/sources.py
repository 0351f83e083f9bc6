"""Which models and files are compared? Looked up and hashed before anything is computed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import dictionaries, models, readers
from persona_interp.errors import ModelError, SchemaError
from persona_interp.experiments.causes.config import CausesSettings
from persona_interp.experiments.causes.sources import sites_of
from persona_interp.experiments.compare.comparison import Comparison
from persona_interp.experiments.compare.config import Compare, CompareOptions
from persona_interp.experiments.compare.requests import EVERYDAY
from persona_interp.experiments.experiment import compute, to_dict
from persona_interp.experiments.inputs import file_of, prompts_file, trait_files
from persona_interp.experiments.material import Source
from persona_interp.experiments.sources import (
    blocks_of,
    checkpoint_of,
    default_blocks,
    dictionary_files,
    sources_of,
)
from persona_interp.models import Checkpoint
from persona_interp.models.chats import TEXT_TEMPLATE
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.models.folder import holds_tokenizer, holds_weights
from persona_interp.models.load import load_tokenizer, read_tokenizer
from persona_interp.schema.words import On


def compare(
    base: Any,
    tuned: Any,
    *,
    prompts: Any,
    out: str | Path,
    options: CompareOptions | None = None,
    on: str = On.LOCAL,
    slurm: Mapping[str, str] | None = None,
    wait: bool = True,
    workers: int | None = None,
    device: object = None,
    batch: Batch = AUTO,
    progress: bool = True,
) -> Comparison:
    """What a finetune changed, beyond what other finetunes change, as tables.

    Where traits or prompts have system messages and the chat template of the models has no role for
    them, the first user message says them before its own words, in all models alike; the report
    says so.

    Args:
        base: The model before: whatever ``models.resolve`` takes.
        tuned: A finetune, or several in a list: whatever ``models.sources`` takes. All steps of a
            training count.
        prompts: A file of prompts, or anything else that ``readers.read`` takes.
        out: Run folder; finished cells are read, missing ones computed.
        options: Traits, controls, dictionaries and how all is read and measured.
        on: "local" or "slurm": where cells are computed, see ``experiments.compute``.
        slurm: Options of sbatch.
        wait: Whether to wait for jobs; else the tables are of what is finished by now.
        workers: Processes; by default all cores, or one for each CUDA device that is used; 0 = this
            one. On Slurm: jobs at a time.
        device: Where models compute, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is
            one.
        batch: Tokens a forward pass; "auto": what fits into memory.
        progress: Whether to show a progress bar.

    Returns:
        Tables by name, see ``tables.summarize``; a notebook shows what they say first.

    Raises:
        ModelError: A source, hook, dictionary or device is not there or does not fit; nothing was
            computed.
        SchemaError: A file cannot be read, or an unknown trait; nothing was computed.
        StoreError: The run folder belongs to another comparison.
    """
    with on_device(device, batch=batch):
        experiment = comparison(base, tuned, prompts=prompts, options=options)
        tables = compute(
            experiment,
            out,
            on=on,
            slurm=slurm,
            wait=wait,
            workers=workers,
            progress=progress,
        )
    return Comparison(tables, run=Path(out), config=to_dict(experiment))


def comparison(
    base: Any, tuned: Any, *, prompts: Any, options: CompareOptions | None = None
) -> Compare:
    """Comparison that these names mean, all of them looked up: a wrong name costs nothing.

    Args:
        base: As in ``compare``, like all others.
        tuned: A finetune or a list of them.
        prompts: As in ``compare``.
        options: Traits, controls, dictionaries and how all is read and measured.

    Returns:
        The experiment.

    Raises:
        ModelError: A source, hook or dictionary is not there or does not fit.
        SchemaError: A file cannot be read, or an unknown trait.
    """
    options = options or CompareOptions()
    prompts = prompts_file(prompts)
    table = readers.distinct(readers.read_prompts(prompts))
    traits = trait_files(options.traits)
    if options.causes:
        _check_causes(options.primary, [file.name for file in traits])
    reading = {
        "trust": tuple(options.trust),
        "chat_template": options.chat_template,
        "keep_template": options.chat_template is None,
        "fold_system": bool(traits) or "instructed" in set(table["context"]),
    }
    tokenizer = options.tokenizer
    if isinstance(tokenizer, str | Path | Checkpoint):
        tokenizer = _reader_of(tokenizer, trust=options.trust)
    # a question alone is a text; what has turns or instructions needs a template
    is_plain = not traits and options.chat_template is None and _are_questions(table)
    if is_plain:
        first = models.resolve(base, tokenizer=tokenizer, trust=options.trust)
        is_plain = load_tokenizer(first).chat_template is None
    if is_plain:
        reading["chat_template"] = TEXT_TEMPLATE
    first, finetunes, controls = sources_of(
        base,
        tuned,
        options.control,
        adapter_base=options.adapter_base,
        tokenizer=tokenizer,
        for_all=tokenizer is not options.tokenizer,
        **reading,
    )
    checkpoint = checkpoint_of(first.plain())
    by_path = {str(path): dictionaries.open_any(path) for path in _paths(options.sae)}
    hooks = tuple(options.hooks) or _default_hooks(first)
    neutral = _neutral(options.neutral, prompts=prompts, tokenizer=load_tokenizer(checkpoint))
    sites = sites_of(first, options.hooks, by_path.values()) if options.causes else ()
    every = (*hooks, *sites, *(sae.hook for sae in by_path.values()))
    models.boot(checkpoint, hooks=tuple(dict.fromkeys(every)))
    return Compare(
        first,
        finetunes,
        file_of(prompts),
        control=controls,
        neutral=neutral,
        traits=traits,
        sae=dictionary_files(by_path),
        primary=options.primary,
        hooks=hooks,
        causes=_causes_settings(options),
        sites=sites,
        settings=options.settings,
        seeds=(options.seed,),
        fold_system=models.folds_system(load_tokenizer(checkpoint)),
        plain_text=is_plain,
    )


def _reader_of(name: str | Path | Checkpoint, *, trust: Iterable[str]) -> Any:
    """Tokenizer that a name means; a folder may hold nothing else."""
    if not isinstance(name, Checkpoint):
        folder = Path(name).expanduser()
        if holds_tokenizer(folder) and not holds_weights(folder):
            return read_tokenizer(folder)
    return load_tokenizer(models.resolve(name, trust=trust))


def _are_questions(prompts: pd.DataFrame) -> bool:
    """Whether every prompt is one message of the user, as of a text file."""
    return all([turn["role"] for turn in chat] == ["user"] for chat in prompts["messages"])


def _check_causes(primary: str, traits: list[str]) -> None:
    """Refuse a search for what carries an effect that nobody named."""
    if primary:
        return
    why = "what carries an effect is searched for one trait, named beforehand; give"
    if not traits:
        raise SchemaError(f"{why} trait files (traits, --traits), and one of them as primary.")
    names = ", ".join(f"'{name}'" for name in traits)
    raise SchemaError(f"{why} it as primary (--primary): {names}.")


def _causes_settings(options: CompareOptions) -> CausesSettings | None:
    """How much is tried: as named, else on as many questions and answers as are compared."""
    if not isinstance(options.causes, bool):
        return options.causes
    own = options.settings
    settings = CausesSettings(
        questions=own.questions, draws=own.draws, max_new_tokens=own.max_new_tokens
    )
    return settings if options.causes else None


def _default_hooks(source: Source) -> tuple[str, ...]:
    return tuple(f"blocks.{block}.hook_out" for block in default_blocks(blocks_of(source)))


def _neutral(requests: Any, *, prompts: Path, tokenizer: Any) -> tuple[str, ...]:
    """Neutral requests, asked alone; none where the prompts file is named for them."""
    if requests is None:
        texts = EVERYDAY
    elif file_of(path := prompts_file(requests)).sha256 == file_of(prompts).sha256:
        return ()
    else:
        table = readers.read_prompts(path)
        if longer := int((table["messages"].str.len() > 1).sum()):
            raise SchemaError(
                f"{path}: neutral requests are asked alone, and {longer} of {len(table)} have a "
                "system message or turns before them; give questions."
            )
        texts = tuple(readers.distinct(table)["question"])
    try:
        models.encode(tokenizer, [[{"role": "user", "content": text}] for text in texts])
    except ModelError as error:
        raise ModelError(
            f"the neutral requests cannot be asked: {error} Name a prompts file that can (neutral, "
            "--neutral); the prompts' own where these are neutral already."
        ) from error
    return texts


def _paths(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
