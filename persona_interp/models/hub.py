"""Which folder does a hub id mean? ``org/name[@revision][/subfolder]``."""

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

from persona_interp.errors import ModelError, quote_path

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
    """Place on the hub that a name means.

    Args:
        name: ``org/name[@revision][/subfolder]``.

    Returns:
        The place; None where this can be no hub id.

    >>> parse_hub_id("org/name@v1/checkpoint-8")
    HubId(repo='org/name', revision='v1', folder='checkpoint-8')
    """
    match = HUB_ID.fullmatch(name)
    if match is None or ".." in name or name[0] in "./~":
        return None
    return HubId(match[1], match[2], (match[3] or "").strip("/"))


def from_hub(name: str, *, deep: bool = False) -> Path:
    """Folder of a hub's model on this machine, fetched if need be and allowed.

    Args:
        name: ``org/name[@revision][/subfolder]``; only files of that folder are fetched.
        deep: Whether to fetch its ``checkpoint-<step>`` folders too.

    Returns:
        The folder in the hub's own cache.

    Raises:
        ModelError: It is no hub id, or neither in the cache nor to be had.
    """
    choices = (
        "a start is 'tiny', a model or adapter folder, a .gguf file or a hub id like "
        f"'org/name@revision'; got {quote_path(name)}"
    )
    hub_id = parse_hub_id(name)
    if hub_id is None:
        raise ModelError(f"{choices}, and no such folder exists.")
    # the stars of these patterns match slashes too, so what lies deeper must be left out by name
    top = f"{hub_id.folder}/" if hub_id.folder else ""
    ignored = [f"{top}[!c]*/*", f"{top}*/*/*"] if deep else [f"{top}*/*"]
    try:
        root = snapshot_download(
            hub_id.repo,
            revision=hub_id.revision,
            allow_patterns=[f"{top}{pattern}" for pattern in FILES],
            ignore_patterns=ignored,
        )
    except HFValidationError as error:
        raise ModelError(f"{choices}, and no such folder exists.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{choices}, which is no local folder, is not in the hub cache and could not be "
            f"fetched ({type(error).__name__}). Check the spelling, go online once, or give the "
            "path of a saved folder."
        ) from error
    folder = Path(root) / hub_id.folder
    if not folder.is_dir():
        raise ModelError(
            f"{hub_id.repo} at revision {hub_id.revision or 'main'} has no folder "
            f"'{hub_id.folder}'."
        )
    return folder
