"""What does an adapter's folder say, before anything is loaded?"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError, excerpt
from persona_interp.files import read_object
from persona_interp.models.folder import ADAPTER_CONFIG, holds_weights, is_folder
from persona_interp.models.weight_files import Stored

BASE = "base_model_name_or_path"
TYPES: dict[str, tuple[type, ...]] = {
    BASE: (str,),
    "revision": (str,),
    "peft_type": (str,),
    "task_type": (str,),
    "r": (int,),
    "lora_alpha": (int, float),
    "target_modules": (str, list),
    "exclude_modules": (str, list),
    "modules_to_save": (list,),
    "init_lora_weights": (bool, str),
    "rank_pattern": (dict,),
    "alpha_pattern": (dict,),
    "layers_to_transform": (int, list),
}
"""What fields of an adapter's configuration may hold beside nothing."""
PATTERNS = ("target_modules", "exclude_modules", "rank_pattern", "alpha_pattern")
"""Fields whose text, or whose keys, PEFT matches as regular expressions with every name."""
REPEATED_GROUP = re.compile(r"\)\s*[*+{]")
REPEAT = re.compile(r"[*+]|\{\d*,")
MOST_REPEATS = 6
"""Repeats in one pattern: a name of n letters is tried n ** repeats / repeats! times."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter without its model.

    Args:
        folder: Any folder.

    Returns:
        Whether there is an adapter's configuration and no model.
    """
    return (folder / ADAPTER_CONFIG).is_file() and not holds_weights(folder)


def base_name(folder: Path) -> str:
    """Base that an adapter names in its configuration.

    Args:
        folder: An adapter folder.

    Returns:
        A folder (relative ones are looked for from here, then from the adapter and from the folders
        it is in, one of which its training may have been started in) or a hub id with its revision.

    Raises:
        ModelError: It names none, or a folder that is not here.
    """
    config = read_config(folder)
    name, revision = config.get(BASE), config.get("revision")
    fix = "give the base it was trained on: base= in Python, --base on the command line."
    if not name or "\0" in name:
        raise ModelError(f"the adapter {folder} does not name its base; {fix}")
    place = named_base(folder)
    if place is not None:
        return str(place)
    # what is left can only be a hub id, which has one slash at most and no path's beginning
    if name[0] in "/~." or "\\" in name or name.count("/") > 1:
        raise ModelError(
            f"the adapter {folder} names its base '{name}', a folder that is not here; {fix}"
        )
    return f"{name}@{revision}" if revision and "@" not in name else name


def named_base(folder: Path) -> Path | None:
    """Folder of the base that an adapter names, if it is here.

    Args:
        folder: An adapter folder.

    Returns:
        The folder; None where the adapter names none that is here.
    """
    name = read_config(folder).get(BASE)
    if not name or "\0" in name:
        return None
    for place in (Path(name).expanduser(), folder / name):
        if place.exists():
            return place
    for above in folder.resolve().parents:
        if (above / name / "config.json").is_file():
            return above / name
    return None


def check_chain(folder: Path, base: str | Path) -> None:
    """Refuse an adapter that is, at whatever remove, its own base.

    Args:
        folder: An adapter folder.
        base: What it is to be merged into.

    Raises:
        ModelError: It is in the chain of bases that begins there.
    """
    place: Path | None = Path(base)
    seen = [folder.resolve()]
    while place is not None and is_folder(place) and is_adapter(place):
        if place.resolve() in seen:
            raise ModelError(
                f"the adapter {folder} is its own base, by way of {place}; give the whole model "
                "that it was trained on: base= in Python, --base on the command line."
            )
        seen.append(place.resolve())
        place = named_base(place)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of an adapter.

    Args:
        folder: An adapter folder.

    Returns:
        The configuration as PEFT wrote it.

    Raises:
        ModelError: It is no JSON object.
    """
    file = folder / ADAPTER_CONFIG
    config = read_object(file, error=ModelError)
    for key, kinds in TYPES.items():
        value = config.get(key)
        if value is not None and not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ModelError(
                f"{file}: {key} is {names}; got {excerpt(value)}. Save the adapter again."
            )
    _check_patterns(config, file)
    return config


def check_ranks(folder: Path, config: Mapping[str, Any], header: Mapping[str, Stored]) -> None:
    """Refuse ranks that no matrix of the file has, before memory is taken for them.

    Args:
        folder: An adapter folder.
        config: Its configuration, of LoRA.
        header: What its file of weights holds.

    Raises:
        ModelError: A rank is no whole number, or larger than every matrix.
    """
    most = max((max(stored.shape, default=0) for stored in header.values()), default=0)
    for rank in [config["r"], *(config.get("rank_pattern") or {}).values()]:
        if type(rank) is not int or rank > most:
            raise ModelError(
                f"the adapter {folder} asks for matrices of rank {excerpt(rank)}, and its largest "
                f"has {most} rows or columns; save configuration and weights together again."
            )


def _check_patterns(config: dict[str, Any], file: Path) -> None:
    """Refuse patterns that could be tried without an end in sight."""
    for key in PATTERNS:
        value = config.get(key)
        patterns = [value] if isinstance(value, str) else value if isinstance(value, dict) else []
        for pattern in patterns:
            if REPEATED_GROUP.search(pattern) or len(REPEAT.findall(pattern)) > MOST_REPEATS:
                raise ModelError(
                    f"{file}: the pattern {excerpt(pattern)} of {key} repeats a group, or more "
                    f"than {MOST_REPEATS} things, and may be matched without an end. Give the "
                    "names of the modules as a list."
                )
