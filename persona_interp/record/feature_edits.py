"""What does a model say when features of a dictionary are set?"""

import operator
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.record.edit import Edit
from persona_interp.record.vector_edits import numbers

TARGETS = ("zero", "mean")


def clamp(
    features: int | Iterable[int],
    *,
    dictionary: AnyDictionary,
    value: float,
    name: str | None = None,
) -> Edit:
    """Edit that holds features at one activation.

    ``h' = h + (f' - f(h)) W_dec``: what the dictionary does not explain stays (Templeton et al.
    2024).

    Args:
        features: Index or indices of features.
        dictionary: Whose; its hook is edited.
        value: The activation, in the dictionary's units.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: There are no such features.
    """
    dictionary = as_dictionary(dictionary)
    indices = _indices(features, dictionary)
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise SchemaError(f"clamp takes a finite activation, value=; got {excerpt(value)}.")
    return Edit(
        name or f"clamp {', '.join(map(str, indices))} at {value:g}",
        dictionary.hook,
        "clamp",
        dictionary=dictionary,
        features=indices,
        values=(float(value),) * len(indices),
    )


def ablate(
    features: int | Iterable[int],
    *,
    dictionary: AnyDictionary,
    to: str = "zero",
    means: npt.ArrayLike | None = None,
    name: str | None = None,
) -> Edit:
    """Edit that removes features: ``h' = h + (f' - f(h)) W_dec``, f' = 0 or the feature's mean.

    Args:
        features: Index or indices of features.
        dictionary: Whose; its hook is edited.
        to: "zero" or "mean".
        means: With "mean": mean activation of every feature of the dictionary, (d_sae), for example
            ``record.features(base, ...)["act"].mean(("checkpoint", "prompt"))``.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: There are no such features, an unknown ``to``, or means that are missing or not
            one a feature.
    """
    dictionary = as_dictionary(dictionary)
    indices = _indices(features, dictionary)
    if to not in TARGETS:
        raise SchemaError(unknown("target of ablate", to, TARGETS))
    levels, shape = np.zeros(dictionary.d_sae), None
    if means is not None:
        levels = numbers(means)
        shape = levels.shape
    if not np.isfinite(levels).all():
        raise SchemaError("means of features must be finite; measure them again.")
    if levels.shape != (dictionary.d_sae,) or (to == "mean") != (means is not None):
        raise SchemaError(
            f'to="mean" takes means=, one number for each of {dictionary.d_sae} features, and '
            f'to="zero" none; got to={to!r} and means of shape {shape}.'
        )
    return Edit(
        name or f"ablate {', '.join(map(str, indices))} to {to}",
        dictionary.hook,
        f"ablate_{to}",
        dictionary=dictionary,
        features=indices,
        values=tuple(float(levels[index]) for index in indices),
    )


def _indices(features: int | Iterable[int], dictionary: Dictionary) -> tuple[int, ...]:
    if isinstance(features, int | np.integer):
        features = (int(features),)
    try:
        indices = tuple(operator.index(index) for index in features)
    except TypeError as error:
        raise SchemaError(
            f"expected indices of features, whole numbers; got {excerpt(features)}."
        ) from error
    exist = all(0 <= index < dictionary.d_sae for index in indices)
    if not indices or len(set(indices)) < len(indices) or not exist:
        valid = f"distinct features from 0 to {dictionary.d_sae - 1} of {dictionary.name}"
        raise SchemaError(f"expected {valid}; got {excerpt(indices)}.")
    return indices
