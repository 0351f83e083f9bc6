"""In which forms is a dictionary asked for? With its members, as an SAE of SAELens, as a path."""

import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary, SparseDictionary
from persona_interp.dictionaries.pretrained import from_sae, open_any
from persona_interp.dictionaries.saelens import is_sae
from persona_interp.errors import ModelError, SchemaError, excerpt

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
        acts: Residuals, dims (..., d_model); heads one behind the other.
        hook: Where they were read.

    Raises:
        ModelError: The widths differ.
    """
    width = len(dictionary.mean)
    if acts.shape[-1] != width:
        name = getattr(dictionary, "name", "this dictionary")
        raise ModelError(
            f"{name} reads width {width}; {hook} has {acts.shape[-1]}. It was made for another "
            "model or another hook; give hook= where it is opened."
        )


def check_features(features: int | Iterable[int] | None, dictionary: Dictionary) -> list[int]:
    """Indices of features that a dictionary has.

    Args:
        features: Index or indices; None for all.
        dictionary: The dictionary.

    Returns:
        The indices: at least one, distinct.

    Raises:
        SchemaError: They are no such indices.
    """
    n_features = len(dictionary.W_dec)
    if features is None:
        return list(range(n_features))
    several = list(features) if isinstance(features, Iterable) else [features]
    try:
        if any(isinstance(index, bool) for index in several):  # which Python counts among the ints
            raise TypeError("no index")
        indices = [operator.index(index) for index in several]
    except TypeError as error:
        raise SchemaError(
            f"expected indices of features, whole numbers; got {excerpt(features)}."
        ) from error
    absent = [index for index in indices if not 0 <= index < n_features]
    if not indices or len(set(indices)) < len(indices) or absent:
        name = getattr(dictionary, "name", "this dictionary")
        raise SchemaError(
            f"expected distinct features from 0 to {n_features - 1} of {name}; got "
            f"{excerpt(absent or indices)}."
        )
    return indices


def bring(acts: Tensor, dictionary: Dictionary) -> Tensor:
    """Residuals where a dictionary computes: an SAE comes to them, others stay where their mean is.

    Args:
        acts: Residuals, dims (..., d_in).
        dictionary: The dictionary.

    Returns:
        The residuals, for a dictionary that is no SAE on the device and in the dtype of its mean.
    """
    return acts if isinstance(dictionary, SparseDictionary) else acts.to(dictionary.mean)
