"""What do the settings of an SAE's folder say? Only fields of the type that they should have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError, excerpt
from persona_interp.files import read_object

KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
"""Types that a field may have, in words."""

Kinds = Mapping[str, tuple[type, ...]]


def read_settings(path: Path, kinds: Kinds) -> dict[str, Any]:
    """Settings in a JSON file of an SAE's folder.

    Args:
        path: The file.
        kinds: Types that a field may have, by name; other fields may hold anything.

    Returns:
        Its fields.

    Raises:
        ModelError: The file cannot be read, holds no object, or a field is of another type.
    """
    settings = read_object(path, error=ModelError)
    check_kinds(path, settings, kinds)
    return settings


def check_kinds(path: Path, settings: Mapping[str, Any], kinds: Kinds) -> None:
    """Refuse fields of other types; what is absent or null is not stated.

    Args:
        path: The file, for messages.
        settings: Its fields.
        kinds: Types that a field may have, by name.

    Raises:
        ModelError: A field is of another type.
    """
    for name, types in kinds.items():
        value = settings.get(name)
        if value is not None and not any(_is_a(value, kind) for kind in types):
            expected = " or ".join(KINDS[kind] for kind in types)
            raise ModelError(f"{path}: '{name}' must be {expected}; got {excerpt(value)}.")


def check_size(path: Path, settings: Mapping[str, Any], name: str, size: int) -> None:
    """Refuse a stated size that the weights do not have.

    Args:
        path: The file, for messages.
        settings: Its fields.
        name: Which.
        size: What the weights have.

    Raises:
        ModelError: Another one is stated.
    """
    stated = settings.get(name)
    if stated is not None and stated != size:
        raise ModelError(
            f"{path}: '{name}' is {excerpt(stated)}, the weights beside it have {size}; these "
            "files do not belong together, or the weights are transposed."
        )


def check_k(path: Path, k: Any, d_sae: int) -> int:
    """Number of features that a TopK SAE keeps.

    Args:
        path: The file that states it, for messages.
        k: What it states.
        d_sae: Number of features there are.

    Returns:
        The number.

    Raises:
        ModelError: It is not stated, or is no number from 1 to ``d_sae``.
    """
    if not _is_a(k, int) or not 1 <= k <= d_sae:
        raise ModelError(
            f"{path}: a TopK SAE of {d_sae} features needs 'k', a whole number from 1 to {d_sae}; "
            f"got {excerpt(k)}."
        )
    return k


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which Python counts among the ints
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)
