"""Which folder does a hub id mean? ``org/name``, ``org/name@revision`` or ``org/name@revision/subfolder``."""

import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from persona_interp.errors import ModelError

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py")
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:@(refs/pr/\d+|[^/@\s]+))?(?:/(.+))?")


class HubId(NamedTuple):
    """A place on the hub.

    Attributes:
        repo: "org/name".
        revision: Branch (without a slash), tag, commit or "refs/pr/3"; None is the main branch.
        folder: Folder in the repository; "" is its top.
    """

    repo: str
    revision: str | None
    folder: str


def parse_hub_id(name: str) -> HubId | None:
    """Which place on the hub does the name mean?

    Args:
        name: ``org/name[@revision][/subfolder]``.

    Returns:
        The place; None where this can be no hub id.

    >>> parse_hub_id("org/name@v1/checkpoint-8")
    HubId(repo='org/name', revision='v1', folder='checkpoint-8')
    """
    found = HUB_ID.fullmatch(name)
    if found is None or ".." in name or name[0] in "./~":
        return None
    return HubId(found[1], found[2], (found[3] or "").strip("/"))


def from_hub(name: str, *, deep: bool = False) -> Path:
    """Where is this model of the hub on this machine, fetched if need be and allowed?

    Args:
        name: ``org/name[@revision][/subfolder]``; only files of that folder are fetched.
        deep: Whether to fetch its ``checkpoint-<step>`` folders too.

    Returns:
        The folder in the hub's own cache.

    Raises:
        ModelError: It is no hub id, or neither in the cache nor to be had.
    """
    wanted = f"'tiny', a model or adapter folder, a .gguf file or a hub id like 'org/name@revision'; got '{name}'"
    at = parse_hub_id(name)
    if at is None:
        raise ModelError(f"a start is {wanted}, and no such folder exists.")
    top = f"{at.folder}/" if at.folder else ""
    try:
        root = snapshot_download(
            at.repo,
            revision=at.revision,
            allow_patterns=[f"{top}{kind}" for kind in FILES],
            ignore_patterns=[f"{top}*/*"] if not deep else [f"{top}[!c]*/*", f"{top}*/*/*"],
        )
    except HFValidationError as error:
        raise ModelError(f"a start is {wanted}, and no such folder exists.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"a start is {wanted}, which is no local folder, is not in the hub cache and could not "
            "be fetched "
            f"({type(error).__name__}). Check the spelling, go online once, or give the path of a "
            "saved folder."
        ) from error
    if not (Path(root) / at.folder).is_dir():
        raise ModelError(
            f"{at.repo} at revision {at.revision or 'main'} has no folder '{at.folder}'."
        )
    return Path(root) / at.folder
