"""Which models are a base, its finetunes and other finetunes? Looked up and hashed by name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from persona_interp import dictionaries, models
from persona_interp.errors import ModelError
from persona_interp.experiments.material import MERGED_INTO, File, Source
from persona_interp.models import Checkpoint, Trajectory
from persona_interp.models.configuration import BLOCK_KEYS, read_configuration
from persona_interp.schema.words import Role

DEPTHS = (1 / 4, 1 / 2, 3 / 4)
"""Of the blocks, after which the inside is read unless hooks are named."""


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


def dictionary_files(by_path: Mapping[str, Any]) -> tuple[File, ...]:
    """Dictionaries with their hashes; names are distinct, because tables know them by name.

    Args:
        by_path: Open dictionaries by where they are.

    Returns:
        One file each.

    Raises:
        ModelError: Two have one name.
    """
    files: dict[str, File] = {}
    for path, dictionary in by_path.items():
        name = dictionary.name
        if name in files:
            raise ModelError(
                f"two dictionaries are called '{name}', {files[name].path} and {path}, and tables "
                "could not tell them apart; give one of them, or save one by another name."
            )
        files[name] = File(name, path, dictionaries.hash_dictionary(dictionary))
    return tuple(files.values())


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


def _distinct(label: str, uses: dict[str, int]) -> str:
    """A label of its own: numbered from the second use on."""
    uses[label] = uses.get(label, 0) + 1
    return label if uses[label] == 1 else f"{label} ({uses[label]})"
