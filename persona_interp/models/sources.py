"""Which weights does a name mean? One syntax for every kind of start; each ends as a saved folder.

    "tiny"                        a fresh tiny model that knows some words
    "models/mine"                 a folder saved by transformers
    "runs/lora"                   an adapter saved by PEFT: merged into its base once
                                  (base=, or the one it names)
    "llm.gguf"                    a GGUF file: dequantized once
    "org/name@revision/folder"    a hub id; revision and folder are optional, and nothing is
                                  fetched when offline
    "runs/finetune"               a Trainer's checkpoint-<step> folders, or a saved
                                  trajectory: many, by ``sources``
    a model in memory             with tokenizer=; saved once by its weights

Code in a model's folder runs only where ``trust`` names that model, and nothing asks the hub about
a local name.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from persona_interp.errors import ModelError, quote_path
from persona_interp.models.adapter_files import base_name, check_chain, is_adapter
from persona_interp.models.adapters import merge
from persona_interp.models.cache import cache, make_once, short_hash
from persona_interp.models.checkpoint import INDEX, Checkpoint, Trajectory
from persona_interp.models.copies import from_memory, with_template, with_tokenizer
from persona_interp.models.folder import check_folder, holds_tokenizer
from persona_interp.models.gguf import from_gguf
from persona_interp.models.hub import COMMIT, from_hub, parse_hub_id
from persona_interp.models.load import load_tokenizer, quiet, read_tokenizer
from persona_interp.models.tiny import write_tiny
from persona_interp.models.vocabulary import same_tokenizer

TRAINER_STEP = re.compile(r"checkpoint-(\d+)")  # a Trainer's folder
ANY_STEP = re.compile(r"(?:checkpoint|step)-(\d+)")  # that, or one of ``train``


def resolve(
    start: Any,
    *,
    base: Any = None,
    tokenizer: Any = None,
    trust: Iterable[str] = (),
    name: str = "",
    words: Iterable[str] = (),
    seed: int = 0,
    chat_template: str | None = None,
    keep_template: bool = True,
    fold_system: bool = False,
    out: str | Path | None = None,
) -> Checkpoint:
    """Checkpoint that a start means.

    Args:
        start: "tiny", a model or adapter folder, a ``.gguf`` file, a hub id
            ``"org/name[@revision][/folder]"``, a Hugging Face or PEFT model in memory, or a
            checkpoint, which is itself (but for what is asked here).
        base: The model an adapter was trained on, anything ``resolve`` takes; by default the one
            the adapter names.
        tokenizer: A tokenizer, or anything ``resolve`` takes that has one, to read text with; the
            model is copied with it.
        trust: Models whose own code may run, each by the very name it is given with: a folder, or a
            hub id with the 40 digits of a commit ("org/name@0123..."), because branches and tags
            move.
        name: What tables and figures call it; by default the folder's name (of a Trainer's
            checkpoint, folder@step), or the hub id.
        words: What the tiny model shall know.
        seed: Seed of the tiny model's random weights.
        chat_template: Chat template for a model that has none; such a model is copied with it.
        keep_template: Whether a model that has a chat template keeps it; else ``chat_template``
            takes its place.
        fold_system: Whether a model whose chat template has no system role (Gemma, Mistral) lets
            the first user message say a system message, before its own words; such a model is
            copied with that template.
        out: Folder for a model that has to be made; a cache folder by default.

    Returns:
        The checkpoint; an adapter is merged, and was checked to change its base and to compute the
        same merged.

    Raises:
        ModelError: Nothing usable is there, or ``out`` holds another model.
    """
    if isinstance(start, Trajectory):
        raise ModelError(
            f"a trajectory is {len(start)} checkpoints; take one (its .last), or all with sources."
        )
    trust, out = tuple(trust), None if out is None else Path(out)
    if start == "tiny":
        folder = _tiny(tuple(sorted(set(words))), seed=seed, out=out)
        return Checkpoint(folder, seed=seed, name=name)
    if isinstance(start, Checkpoint):
        checkpoint = start
    elif isinstance(start, str | Path):
        checkpoint = replace(_folder(start, base=base, trust=trust), seed=seed)
        if tokenizer is None:
            tokenizer = _stand_in_tokenizer(checkpoint.path, base)
    else:
        checkpoint, tokenizer = replace(from_memory(start, tokenizer), seed=seed), None
    if name:
        checkpoint = replace(checkpoint, name=name)
    if tokenizer is not None:
        if not hasattr(tokenizer, "get_vocab"):
            tokenizer = load_tokenizer(resolve(tokenizer, trust=trust))
        checkpoint = with_tokenizer(checkpoint, tokenizer)
    if not isinstance(start, Checkpoint):
        check_folder(checkpoint)
    if chat_template is None and not fold_system:
        return checkpoint
    return with_template(
        checkpoint, chat_template, keep=keep_template, fold_system=fold_system, out=out
    )


def sources(start: Any, **options: Any) -> tuple[Checkpoint, ...]:
    """Checkpoints that a start means, one or the many of a training.

    Args:
        start: A Trainer's output folder (or hub id): each ``checkpoint-<step>`` in order of step,
            whole models or adapters, labeled folder@step; a model saved in the folder itself is
            left aside (``resolve`` gives it). A folder of a saved trajectory, or a trajectory: its
            checkpoints with their start. Else what ``resolve`` takes.
        **options: Those of ``resolve``: base, tokenizer, trust, name, seed, chat_template,
            keep_template, fold_system.

    Returns:
        The checkpoints; ``Trajectory(sources(...))`` is a trajectory where they come from one
        training.

    Raises:
        ModelError: As ``resolve``, or the checkpoints read text differently.
    """
    if isinstance(start, Trajectory):
        return _resolve_all(start, options)
    if isinstance(start, Checkpoint) or not isinstance(start, str | Path) or start == "tiny":
        return (resolve(start, **options),)
    folder, title = _locate(start, deep=True)
    if (folder / INDEX).is_file():
        return _resolve_all(Trajectory.open(folder), options)
    steps = _steps(folder)
    if not steps:
        return (resolve(start, **options),)
    stage = options.pop("name", "") or title or folder.resolve().name
    # a hub id's trust holds for the folder it was fetched into
    if _is_trusted(start, options.get("trust", ())):
        options["trust"] = (*options["trust"], str(folder))
    checkpoints = []
    for step, path in tqdm(steps.items(), desc=stage, delay=2, leave=False):
        checkpoint = resolve(path, **options)
        checkpoints.append(replace(checkpoint, stage=stage, step=step, name=""))
    same_tokenizer(checkpoints)
    return tuple(checkpoints)


def _resolve_all(run: Trajectory, options: dict[str, Any]) -> tuple[Checkpoint, ...]:
    """The checkpoints of a trajectory, reading text as the options say."""
    about_text = {"tokenizer", "trust", "chat_template", "keep_template", "fold_system"}
    settings = {key: options[key] for key in about_text & options.keys()}
    return tuple(resolve(checkpoint, **settings) for checkpoint in run)


def _folder(start: str | Path, *, base: Any, trust: tuple[str, ...]) -> Checkpoint:
    """Checkpoint of the folder that a name means, adapters merged; its tokenizer may be missing."""
    folder, title = _locate(start)
    trusted = _is_trusted(start, trust)
    stage, step = _stage_and_step(folder)
    if is_adapter(folder):
        start_of_base = base_name(folder) if base is None else base
        if isinstance(start_of_base, str | Path):
            check_chain(folder, start_of_base)
        whole_base = resolve(start_of_base, trust=trust)
        # the merged folder's name is a hash, so the adapter's own is the title
        if not title and not stage:
            title = folder.resolve().name
        # an adapter has no code; whatever runs is its base's
        folder, trusted = merge(folder, whole_base), whole_base.trusted
    _check_single(folder)
    return Checkpoint(folder, stage, step, name=title, trusted=trusted)


def _locate(start: str | Path, *, deep: bool = False) -> tuple[Path, str]:
    """The folder that a name means, and a title where the folder's own name says nothing."""
    if not str(start).strip():
        raise ModelError("a model has no name (''): is a variable not set? '.' is this folder.")
    try:
        path = Path(start).expanduser()
        is_here = path.exists()
    # a NUL in it, a home folder of nobody, a name longer than any file's
    except (OSError, RuntimeError, ValueError) as cause:
        raise ModelError(
            f"{quote_path(start)} can be no path of a model: {cause.args[-1]}."
        ) from cause
    if path.suffix == ".gguf":
        return from_gguf(path), path.stem
    if is_here and not path.is_dir():
        raise ModelError(
            f"{quote_path(path)} is a file; a model is a folder (config.json, safetensors, "
            "tokenizer.json), a .gguf file or a hub id."
        )
    if is_here:
        return path, ""
    return from_hub(str(start), deep=deep), str(start)


def _steps(folder: Path) -> dict[int, Path]:
    """The checkpoints that a Trainer left in this folder, by step, in order."""
    steps = {}
    for path in folder.iterdir():
        match = TRAINER_STEP.fullmatch(path.name)
        if match and path.is_dir():
            steps[int(match[1])] = path
    return dict(sorted(steps.items()))


def _stage_and_step(folder: Path) -> tuple[str, int]:
    """Training and step that a checkpoint folder is of; "" and 0 for other folders."""
    folder = folder.resolve()
    match = ANY_STEP.fullmatch(folder.name)
    if match is None:
        return "", 0
    return folder.parent.name, int(match[1])


def _check_single(folder: Path) -> None:
    """Refuse a folder of many checkpoints and no model of its own."""
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    if (folder / INDEX).is_file():
        raise ModelError(
            f"{folder} is a trajectory; take one of its checkpoints, or all with sources."
        )
    steps = _steps(folder)
    if steps:
        last = list(steps.values())[-1]
        raise ModelError(
            f"{folder} holds {len(steps)} checkpoints of a training and no model of its own; name "
            f"one of them, for example {last}, or take all with sources."
        )


def _is_trusted(start: str | Path, trust: Iterable[str]) -> bool:
    """Whether ``trust`` names this start, or a folder that it is inside of."""
    # a name must not come to mean other code later, so every entry is checked, matching or not
    trusted = False
    for entry in map(str, trust):
        if Path(entry).exists():
            trusted |= Path(start).resolve().is_relative_to(Path(entry).resolve())
            continue
        trusted |= str(start) == entry
        hub_id = parse_hub_id(entry)
        if hub_id is None or not COMMIT.fullmatch(hub_id.revision or ""):
            raise ModelError(
                f"trust names '{entry}', which is neither a folder nor a hub id with a commit; "
                "branches and tags can be moved to other code. Write org/name@<the 40 digits of "
                "the commit you read>."
            )
    return trusted


def _stand_in_tokenizer(folder: Path, base: Any) -> Any:
    """Tokenizer for a checkpoint saved without one: the training folder's, else its base's."""
    if holds_tokenizer(folder) or not folder.is_dir():
        return None
    if TRAINER_STEP.fullmatch(folder.name) and holds_tokenizer(folder.parent):
        return read_tokenizer(folder.parent)
    return base


def _tiny(words: tuple[str, ...], *, seed: int, out: Path | None) -> Path:
    """Folder of a fresh tiny model."""
    if not words:
        raise ModelError(
            'the "tiny" start needs the words it shall know; give words=world.words().'
        )
    key = {"start": "tiny", "words": list(words), "seed": seed}

    def make(folder: Path) -> None:
        with quiet():
            write_tiny(folder, words, seed=seed)

    return make_once(out or cache() / "tiny" / short_hash(key), key, make)
