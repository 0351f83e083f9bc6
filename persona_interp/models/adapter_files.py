"""What does an adapter's folder say, before anything is loaded?"""

import json
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.load import ADAPTER_CONFIG, holds_weights


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
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    fix = "give the base it was trained on: base= in Python, --base on the command line."
    if not name:
        raise ModelError(f"the adapter {folder} does not name its base; {fix}")
    for place in (Path(name).expanduser(), folder / name):
        if place.exists():
            return str(place)
    for above in folder.resolve().parents:
        if (above / name / "config.json").is_file():
            return str(above / name)
    # what is left can only be a hub id, which has one slash at most and no path's beginning
    if name[0] in "/~." or "\\" in name or name.count("/") > 1:
        raise ModelError(
            f"the adapter {folder} names its base '{name}', a folder that is not here; {fix}"
        )
    return f"{name}@{revision}" if revision and "@" not in name else name


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
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is corrupt ({error}); save the adapter again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{file} holds no configuration; save the adapter again.")
    return config
