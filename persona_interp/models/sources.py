"""Which weights does a name mean? One syntax for every kind of start, and every one ends as a saved folder.

    "tiny"                        a fresh tiny model that knows some words
    "models/mine"                 a folder saved by transformers
    "runs/lora"                   an adapter saved by PEFT: merged into its base once (base=, or the one it names)
    "llm.gguf"                    a GGUF file: dequantized once
    "org/name@revision/folder"    a hub id; revision and folder are optional, and nothing is fetched when offline
    "runs/finetune"               a Trainer's checkpoint-<step> folders, or a saved trajectory: many, by ``sources``
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

from persona_interp.errors import ModelError
from persona_interp.models.adapters import base_name, is_adapter, merge
from persona_interp.models.cache import cache, made_once, short_hash
from persona_interp.models.checkpoint import INDEX, Checkpoint, Trajectory
from persona_interp.models.copies import reading, saved, templated
from persona_interp.models.gguf import dequantized
from persona_interp.models.hub import COMMIT, from_hub, parse_hub_id
from persona_interp.models.load import (
    TOKENIZER_FILES,
    check_folder,
    load_tokenizer,
    quiet,
    read_tokenizer,
)
from persona_interp.models.tiny import write_tiny
from persona_interp.models.vocabulary import same_tokenizer

STEP = re.compile(r"checkpoint-(\d+)")
PLACE = re.compile(r"(?:checkpoint|step)-(\d+)")  # a Trainer's folder, or one of ``train``


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
    fold_system: bool = False,
    out: str | Path | None = None,
) -> Checkpoint:
    """Where are the weights that this start means?

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
        return Checkpoint(
            _tiny(tuple(sorted(set(words))), seed=seed, out=out), seed=seed, name=name
        )
    if isinstance(start, Checkpoint):
        made = start
    elif isinstance(start, str | Path):
        made = replace(_folder(start, base=base, trust=trust), seed=seed)
        tokenizer = _missing_tokenizer(made.path, base) if tokenizer is None else tokenizer
    else:
        made, tokenizer = replace(saved(start, tokenizer), seed=seed), None
    made = replace(made, name=name) if name else made
    if tokenizer is not None:
        own = hasattr(tokenizer, "get_vocab")
        made = reading(made, tokenizer if own else load_tokenizer(resolve(tokenizer, trust=trust)))
    if not isinstance(start, Checkpoint):
        check_folder(made)
    if chat_template is None and not fold_system:
        return made
    return templated(made, chat_template, fold_system=fold_system, out=out)


def sources(start: Any, **options: Any) -> tuple[Checkpoint, ...]:
    """Which checkpoints does this start mean, one or the many of a training?

    Args:
        start: A Trainer's output folder (or hub id): each ``checkpoint-<step>`` in order of step,
            whole models or adapters, labeled folder@step; a model saved in the folder itself is
            left aside (``resolve`` gives it). A folder of a saved trajectory, or a trajectory: its
            checkpoints with their start. Else what ``resolve`` takes.
        **options: Those of ``resolve``: base, tokenizer, trust, name, seed, chat_template,
            fold_system.

    Returns:
        The checkpoints; ``Trajectory(sources(...))`` is a trajectory where they come from one
        training.

    Raises:
        ModelError: As ``resolve``, or the checkpoints read text differently.
    """
    if isinstance(start, Trajectory):
        return _read_as(start, options)
    if isinstance(start, Checkpoint) or not isinstance(start, str | Path) or start == "tiny":
        return (resolve(start, **options),)
    folder, title = _located(start, deep=True)
    if (folder / INDEX).is_file():
        return _read_as(Trajectory.open(folder), options)
    if not (steps := _steps(folder)):
        return (resolve(start, **options),)
    stage = options.pop("name", "") or title or folder.resolve().name
    if _trusted(start, options.get("trust", ())):
        options["trust"] = (*options["trust"], str(folder))
    bar = tqdm(steps.items(), desc=stage, delay=2, leave=False)
    made = tuple(
        replace(resolve(path, **options), stage=stage, step=step, name="") for step, path in bar
    )
    same_tokenizer(made)
    return made


def _read_as(run: Trajectory, options: dict[str, Any]) -> tuple[Checkpoint, ...]:
    """The checkpoints of a trajectory, reading text as asked."""
    how = {
        key: options[key]
        for key in ("tokenizer", "trust", "chat_template", "fold_system")
        if key in options
    }
    return tuple(resolve(checkpoint, **how) for checkpoint in run)


def _folder(start: str | Path, *, base: Any, trust: tuple[str, ...]) -> Checkpoint:
    """The folder that a name means, an adapter merged into its base; its tokenizer may be missing."""
    trusted = _trusted(start, trust)
    folder, title = _located(start)
    stage, step = _place(folder)
    if is_adapter(folder):
        under = resolve(base_name(folder) if base is None else base, trust=trust)
        title = title or ("" if stage else folder.resolve().name)
        folder, trusted = merge(folder, under), under.trusted
    _check_single(folder)
    return Checkpoint(folder, stage, step, name=title, trusted=trusted)


def _located(start: str | Path, *, deep: bool = False) -> tuple[Path, str]:
    """The folder that a name means, and what to call it where the folder's own name says nothing."""
    path = Path(start).expanduser()
    if path.suffix == ".gguf":
        return dequantized(path), path.stem
    return (path, "") if path.exists() else (from_hub(str(start), deep=deep), str(start))


def _steps(folder: Path) -> dict[int, Path]:
    """The checkpoints that a Trainer left in this folder, by step."""
    found = {
        int(m[1]): path
        for path in folder.iterdir()
        if path.is_dir() and (m := STEP.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def _place(folder: Path) -> tuple[str, int]:
    """Which training and step a checkpoint folder is of; "" and 0 for other folders."""
    folder = folder.resolve()
    return (
        (folder.parent.name, int(found[1])) if (found := PLACE.fullmatch(folder.name)) else ("", 0)
    )


def _check_single(folder: Path) -> None:
    """A folder of many checkpoints and no model of its own is no single start."""
    if not folder.is_dir() or (folder / "config.json").is_file():
        return
    if (folder / INDEX).is_file():
        raise ModelError(
            f"{folder} is a trajectory; take one of its checkpoints, or all with sources."
        )
    if steps := _steps(folder):
        raise ModelError(
            f"{folder} holds {len(steps)} checkpoints of a training and no model of its own; name "
            "one of them, for "
            f"example {list(steps.values())[-1]}, or take all with sources."
        )


def _trusted(start: str | Path, trust: Iterable[str]) -> bool:
    """Is this start named in ``trust``, or inside a folder that is? A name must not come to mean other code."""
    named = False
    for entry in map(str, trust):
        if Path(entry).exists():
            named |= Path(start).resolve().is_relative_to(Path(entry).resolve())
            continue
        named |= str(start) == entry
        at = parse_hub_id(entry)
        if at is None or not COMMIT.fullmatch(at.revision or ""):
            raise ModelError(
                f"trust names '{entry}', which is neither a folder nor a hub id with a commit; "
                "branches and tags can "
                "be moved to other code. Write org/name@<the 40 digits of the commit you read>."
            )
    return named


def _missing_tokenizer(folder: Path, base: Any) -> Any:
    """A tokenizer for a checkpoint saved without one: of the training's folder, else of its base."""
    if any((folder / name).is_file() for name in TOKENIZER_FILES) or not folder.is_dir():
        return None
    if STEP.fullmatch(folder.name) and any(
        (folder.parent / name).is_file() for name in TOKENIZER_FILES
    ):
        return read_tokenizer(folder.parent)
    return base


def _tiny(words: tuple[str, ...], *, seed: int, out: Path | None) -> Path:
    if not words:
        raise ModelError(
            'the "tiny" start needs the words it shall know; give words=world.words().'
        )
    key = {"start": "tiny", "words": list(words), "seed": seed}

    def make(folder: Path) -> None:
        with quiet():
            write_tiny(folder, words, seed=seed)

    return made_once(out or cache() / "tiny" / short_hash(key), key, make)
