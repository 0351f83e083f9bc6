"""What does a model say when features of a dictionary are set?"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.record.edit import EVERYWHERE, Edit, name_edit
from persona_interp.record.vectors import numbers
from persona_interp.values import as_tuple, is_number

TARGETS = ("zero", "mean")


def clamp(
    dictionary: AnyDictionary,
    *,
    features: int | Iterable[int],
    value: float,
    where: Iterable[str] = EVERYWHERE,
    name: str | None = None,
) -> Edit:
    """Edit that holds features at one activation.

    ``h' = h + (f' - f(h)) W_dec``: what the dictionary does not explain stays (Templeton et al.
    2024).

    Args:
        dictionary: A dictionary; its hook is edited.
        features: Index or indices of its features.
        value: The activation, in the dictionary's units.
        where: Roles of the tokens it is on at (``models.ROLES``), or "generated" = those of the
            answer; every token by default.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: There are no such features.
    """
    dictionary = as_dictionary(dictionary)
    indices = tuple(check_features(features, dictionary))
    if not is_number(value):
        raise SchemaError(f"clamp takes a finite activation, value=; got {excerpt(value)}.")
    where = as_tuple(where)
    return Edit(
        name or name_edit(f"clamp {', '.join(map(str, indices))} at {value:g}", where),
        dictionary.hook,
        "clamp",
        dictionary=dictionary,
        features=indices,
        values=(float(value),) * len(indices),
        where=where,
    )


def ablate(
    dictionary: AnyDictionary,
    *,
    features: int | Iterable[int],
    to: str = "zero",
    means: npt.ArrayLike | None = None,
    where: Iterable[str] = EVERYWHERE,
    name: str | None = None,
) -> Edit:
    """Edit that removes features: ``h' = h + (f' - f(h)) W_dec``, f' = 0 or the feature's mean.

    Args:
        dictionary: A dictionary; its hook is edited.
        features: Index or indices of its features.
        to: "zero" or "mean".
        means: With "mean": mean activation of every feature of the dictionary, (d_sae), for example
            ``record.features(base, ...)["act"].mean(("checkpoint", "prompt"))``.
        where: Roles of the tokens it is on at, as of ``clamp``.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: There are no such features, an unknown ``to``, or means that are missing or not
            one a feature.
    """
    dictionary = as_dictionary(dictionary)
    indices = tuple(check_features(features, dictionary))
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
    where = as_tuple(where)
    return Edit(
        name or name_edit(f"ablate {', '.join(map(str, indices))} to {to}", where),
        dictionary.hook,
        f"ablate_{to}",
        dictionary=dictionary,
        features=indices,
        values=tuple(float(levels[index]) for index in indices),
        where=where,
    )
