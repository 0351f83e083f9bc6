"""What is a vector at a hook, whoever it comes from: directions, an array, a dictionary?"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.dictionaries.inputs import AnyDictionary, as_dictionary, check_features
from persona_interp.errors import SchemaError, excerpt, unknown

Vectors = xr.DataArray | torch.Tensor | npt.ArrayLike


class Located(NamedTuple):
    """Vectors and the hook where they belong.

    Attributes:
        rows: Dims (n, d_model).
        hook: Name of the hook.
        name: What they are called.
        norm: Length of a usual residual there; None where it is not known.
    """

    rows: npt.NDArray[np.float64]
    hook: str
    name: str
    norm: float | None


def locate(vectors: Vectors, hook: str | None) -> Located:
    """Vectors at one hook.

    Args:
        vectors: Directions of ``record``, or an array or tensor, (d_model) or (n, d_model).
        hook: Hook name; may be left out where the vectors have one.

    Returns:
        The vectors there; ``norm`` is the coordinate ``norm`` of directions.

    Raises:
        SchemaError: No hook, another one than theirs, or no finite vectors.

    >>> locate([0.0, 2.0], "blocks.0.hook_out").rows.tolist()
    [[0.0, 2.0]]
    """
    hook = _hook(vectors, hook)
    return Located(_rows(vectors, hook), hook, _name(vectors), _norm(vectors, hook))


def locate_one(
    direction: Vectors | AnyDictionary, feature: int | None, hook: str | None
) -> Located:
    """The vector that is meant: a direction, or a feature of a dictionary.

    Args:
        direction: A direction or a dictionary, as of ``add``.
        feature: Index of a feature, where a dictionary is given.
        hook: Hook name, as of ``add``.

    Returns:
        The vector at its hook.

    Raises:
        SchemaError: A dictionary without a feature, a feature without a dictionary, or one that
            does not exist.
    """
    if feature is None:
        if hasattr(direction, "W_dec"):
            raise SchemaError("a dictionary is pushed along one of its features; give feature=.")
        return locate(direction, hook)
    if isinstance(direction, xr.DataArray | np.ndarray | torch.Tensor | list):
        raise SchemaError(
            f"feature= belongs to a dictionary, add(sae, feature={excerpt(feature)}, ...); got a "
            "vector, which has no features."
        )
    return _locate_feature(as_dictionary(direction), feature, hook)


def _locate_feature(dictionary: Dictionary, feature: int, hook: str | None) -> Located:
    """Decoder row of a feature; ``norm`` is the root mean square length of training residuals."""
    (index,) = check_features(feature, dictionary)
    if hook not in (None, dictionary.hook):
        raise SchemaError(
            f"this dictionary reads {dictionary.hook}, the edit is at {excerpt(hook)}; leave hook= "
            "out, or give the row itself: add(sae.W_dec[3], hook=..., absolute=...)."
        )
    variance = float(getattr(dictionary, "variance", math.nan))
    norm = math.sqrt(float(dictionary.mean.double().pow(2).sum()) + variance)
    rows = numbers(dictionary.W_dec[index])[None]
    # a dictionary of somebody else does not say which residuals it saw
    known = norm if math.isfinite(norm) else None
    return Located(rows, dictionary.hook, f"feature {index}", known)


def numbers(values: Any) -> npt.NDArray[np.float64]:
    """Array of these numbers.

    Args:
        values: Numbers, an array, or a tensor of any dtype, with gradients or without.

    Returns:
        float64.

    Raises:
        SchemaError: They are no numbers.

    >>> numbers(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
    array([1., 1.])
    """
    try:
        if isinstance(values, torch.Tensor):
            return values.detach().double().cpu().numpy()
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SchemaError(f"expected numbers of one shape; got {excerpt(values)}.") from error


def _hook(vectors: Vectors, hook: str | None) -> str:
    """Hook that was given, or the only one of the vectors."""
    if hook is None and isinstance(vectors, xr.DataArray) and "hook" in vectors.coords:
        if vectors["hook"].size == 1:
            return str(vectors["hook"].item())
    if not isinstance(hook, str):
        raise SchemaError(
            f'these vectors do not say where they belong; give hook="blocks.12.hook_out", not '
            f"{excerpt(hook)}."
        )
    return hook


def _rows(vectors: Vectors, hook: str) -> npt.NDArray[np.float64]:
    """Vectors at this hook, dims (n, d_model)."""
    if isinstance(vectors, xr.DataArray):
        if "hook" in vectors.dims:
            if hook not in vectors["hook"]:
                raise SchemaError(
                    unknown("hook of the directions", hook, vectors["hook"].to_numpy())
                )
            vectors = vectors.sel(hook=hook)
        elif "hook" in vectors.coords and vectors["hook"].item() != hook:
            raise SchemaError(
                f"these directions are of {vectors['hook'].item()}, the edit is at {hook}; use one "
                "hook."
            )
        vectors = vectors.transpose(..., "d_model").to_numpy()
    rows = np.atleast_2d(numbers(vectors))
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise SchemaError(
            f"expected finite vectors of dims (d_model) or (n, d_model); got shape {rows.shape}."
        )
    return rows


def _norm(vector: Vectors, hook: str) -> float | None:
    """Mean residual norm at this hook, where the vector knows it."""
    if not isinstance(vector, xr.DataArray) or "norm" not in vector.coords:
        return None
    norm = vector["norm"]
    if "hook" in norm.dims:
        norm = norm.sel(hook=hook)
    return float(norm)


def _name(vectors: Vectors) -> str:
    if not isinstance(vectors, xr.DataArray) or "name" not in vectors.coords:
        return "vector"
    return ", ".join(map(str, np.atleast_1d(vectors["name"].to_numpy())))
