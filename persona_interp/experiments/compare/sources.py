"""Which models and files are compared? Looked up and hashed before anything is computed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp import dictionaries, models, readers
from persona_interp.errors import ModelError, SchemaError
from persona_interp.experiments.compare.comparison import Comparison
from persona_interp.experiments.compare.config import (
    MERGED_INTO,
    Compare,
    CompareOptions,
    File,
    Source,
)
from persona_interp.experiments.compare.inputs import file_of, prompts_file, trait_files
from persona_interp.experiments.compare.requests import EVERYDAY
from persona_interp.experiments.experiment import compute, to_dict
from persona_interp.models import Checkpoint, Trajectory
from persona_interp.models.chats import TEXT_TEMPLATE
from persona_interp.models.configuration import BLOCK_KEYS, read_configuration
from persona_interp.models.device import AUTO, Batch, on_device
from persona_interp.models.folder import holds_tokenizer, holds_weights
from persona_interp.models.load import load_tokenizer, read_tokenizer
from persona_interp.schema.words import On, Role

DEPTHS = (1 / 4, 1 / 2, 3 / 4)
"""Of the blocks, after which the inside is read unless hooks are named."""


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
    models.boot(checkpoint, hooks=(*hooks, *(sae.hook for sae in by_path.values())))
    return Compare(
        first,
        finetunes,
        file_of(prompts),
        control=controls,
        neutral=neutral,
        traits=traits,
        sae=_dictionary_files(by_path),
        primary=options.primary,
        hooks=hooks,
        settings=options.settings,
        seeds=(options.seed,),
        fold_system=models.folds_system(load_tokenizer(checkpoint)),
        plain_text=is_plain,
    )


def sources_of(
    base: Any,
    tuned: Any,
    control: Any,
    *,
    adapter_base: Any = None,
    tokenizer: Any = None,
    for_all: bool = False,
    **reading: Any,
) -> tuple[Source, tuple[Source, ...], tuple[Source, ...]]:
    """Base, finetunes and controls that these names mean.

    An adapter is merged into the base that it names, and where that is not to be had into
    ``adapter_base``; its source has a note that says so. The start of a trajectory is left out
    where it is the base.

    Args:
        base: The model before.
        tuned: A finetune or a list of them.
        control: A control finetune or a list of them.
        adapter_base: The base of adapters whose own is not to be had; ``base`` by default.
        tokenizer: Of models in memory.
        for_all: Whether it reads text for all models, in place of their own.
        **reading: For every one of them, as in ``models.resolve``: trust, chat_template,
            keep_template, fold_system.

    Returns:
        Three kinds of sources with distinct labels; all read text alike.

    Raises:
        ModelError: A source is not there, no finetune is named, or the tokenizers differ.
    """
    trust = reading.get("trust", ())
    plain = models.resolve(base, tokenizer=tokenizer, trust=trust)
    # adapters are merged into weights as they are; how text is read is settled afterwards, for all
    under = plain
    if adapter_base is not None:
        under = models.resolve(adapter_base, tokenizer=tokenizer, trust=trust)
    start = models.resolve(plain, **reading)
    start_hash = models.hash_weights(start)
    uses: dict[str, int] = dict.fromkeys((str(Role.BASE), str(Role.AGAIN)), 1)
    checkpoints = [start]
    groups: list[tuple[Source, ...]] = []
    for names in (tuned, control):
        sources: list[Source] = []
        for number, one in enumerate(_as_list(names)):
            reader = tokenizer if for_all or not isinstance(one, str | Path) else None
            steps, note = _checkpoints(one, under, tokenizer=reader, **reading)
            run = str(one) if isinstance(one, str | Path) else f"{steps[-1].label} ({number})"
            for checkpoint, weights in _beside(steps, start_hash):
                label = _distinct(checkpoint.label, uses)
                checkpoints.append(replace(checkpoint, name=label))
                source = Source(label, str(checkpoint.path), weights, checkpoint.step, run)
                sources.append(replace(source, trusted=checkpoint.trusted, note=note))
        groups.append(tuple(sources))
    finetunes, controls = groups
    if not finetunes:
        raise ModelError("a comparison needs a finetune beside its base; name one or more.")
    models.same_tokenizer(checkpoints)
    run = str(base) if isinstance(base, str | Path) else start.label
    first = Source(str(Role.BASE), str(start.path), start_hash, run=run, trusted=start.trusted)
    return first, finetunes, controls


def checkpoint_of(source: dict[str, Any]) -> Checkpoint:
    """Checkpoint of a source.

    Args:
        source: ``Source.plain()``.

    Returns:
        The checkpoint, its label that of the source.
    """
    path = Path(source["path"])
    return Checkpoint(path, step=source["step"], name=source["label"], trusted=source["trusted"])


def blocks_of(source: Source) -> int:
    """Number of blocks of a model.

    Args:
        source: A saved folder.

    Returns:
        The number.

    Raises:
        ModelError: Its configuration does not say.
    """
    config = read_configuration(Path(source.path))
    for part in (config, config.get("text_config") or {}):
        for key in BLOCK_KEYS:
            if isinstance(part.get(key), int) and part[key]:
                return part[key]
    raise ModelError(
        f"{source.path}/config.json does not say how many blocks there are; name hooks."
    )


def default_blocks(n: int) -> list[int]:
    """Blocks after which the inside is read: a quarter, a half and three quarters of the way.

    Args:
        n: Blocks of the model.

    Returns:
        Numbers of blocks, distinct.

    >>> default_blocks(30), default_blocks(2)
    ([7, 14, 22], [0, 1])
    """
    # .01 more, so that halves are rounded up and not to the even number
    return sorted({max(round(depth * n + 0.01) - 1, 0) for depth in DEPTHS})


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


def _dictionary_files(by_path: dict[str, Any]) -> tuple[File, ...]:
    """Dictionaries with their hashes; names are distinct, because tables know them by name."""
    files: dict[str, File] = {}
    for path, dictionary in by_path.items():
        name = dictionary.name
        if name in files:
            raise ModelError(
                f"two dictionaries are called '{name}', {files[name].path} and {path}, and tables "
                "could not tell them apart; compare with one of them, or save one by another name."
            )
        files[name] = File(name, path, dictionaries.hash_dictionary(dictionary))
    return tuple(files.values())


def _checkpoints(
    one: Any, base: Checkpoint, *, tokenizer: Any, **reading: Any
) -> tuple[list[Checkpoint], str]:
    """The checkpoints of one source, and what had to be done to get them."""
    is_name = isinstance(one, str | Path)
    options = {**reading, "tokenizer": tokenizer}
    try:
        return list(models.sources(one, **options)), ""
    except ModelError as error:
        # an adapter whose own base is not to be had may be merged into ours
        if not is_name or not any(Path(one).expanduser().rglob("adapter_config.json")):
            raise
        why = str(error).partition(";")[0].rstrip(".")
    note = f"{MERGED_INTO} {base.label}, because {why}"
    return list(models.sources(one, base=base, **options)), note


def _beside(steps: list[Checkpoint], base_hash: str) -> list[tuple[Checkpoint, str]]:
    """The steps of a training with their hashes, without its start where that is the base."""
    pairs = [(checkpoint, models.hash_weights(checkpoint)) for checkpoint in steps]
    if len(pairs) == 1:
        return pairs
    others = [pair for pair in pairs if pair[1] != base_hash]
    return others or pairs[-1:]


def _as_list(names: Any) -> list[Any]:
    """Names or models as a list; a trajectory is one training, no list."""
    if isinstance(names, list | tuple) and not isinstance(names, Trajectory):
        return list(names)
    return [names]


def _paths(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)


def _distinct(label: str, uses: dict[str, int]) -> str:
    """A label of its own: numbered from the second use on."""
    uses[label] = uses.get(label, 0) + 1
    return label if uses[label] == 1 else f"{label} ({uses[label]})"
