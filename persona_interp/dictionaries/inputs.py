"""In which forms is a dictionary asked for? With its members, as an SAE of SAELens, as a path."""

from pathlib import Path
from typing import Any

from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.pretrained import from_sae, open_any
from persona_interp.dictionaries.saelens import is_sae
from persona_interp.errors import ModelError, excerpt

AnyDictionary = Any
"""A ``Dictionary``, an ``SAE`` of SAELens, or what ``open_any`` opens: a folder, (release, id)."""
MEMBERS = ("hook", "encode", "decode", "mean")
"""What tells a dictionary from anything else."""


def as_dictionary(value: AnyDictionary) -> Dictionary:
    """Dictionary that a value means.

    Args:
        value: A dictionary, which is returned as it is; an ``SAE`` of SAELens whose metadata names
            its hook, which stays as it is; a folder, ``"release/sae_id"`` or ``(release, sae_id)``.

    Returns:
        The dictionary.

    Raises:
        ModelError: It is none of these, cannot be opened, or does not say where it reads.

    >>> as_dictionary(5)
    Traceback (most recent call last):
    ...
    persona_interp.errors.ModelError: expected a dictionary: of fit(...) or load_pretrained(...), \
an SAE of SAELens, or the path of its folder; got 5.
    """
    if is_sae(value):
        return from_sae(value)
    if isinstance(value, str | Path | tuple):
        return open_any(value)
    if not all(hasattr(value, member) for member in MEMBERS):
        raise ModelError(
            "expected a dictionary: of fit(...) or load_pretrained(...), an SAE of SAELens, or the "
            f"path of its folder; got {excerpt(value)}."
        )
    return value


def check_width(dictionary: Dictionary, acts: Tensor, hook: str) -> None:
    """Refuse residuals of another width than a dictionary reads.

    Args:
        dictionary: The dictionary.
        acts: Residuals, dims (..., d_model).
        hook: Where they were read.

    Raises:
        ModelError: The widths differ, or the hook has a dimension of heads besides.
    """
    width = len(dictionary.mean)
    if acts.shape[-1] != width:
        name = getattr(dictionary, "name", "this dictionary")
        raise ModelError(
            f"{name} reads width {width}; {hook} has {acts.shape[-1]}. It was made for another "
            "model or another hook; give hook= where it is opened."
        )
