"""What does a model say when its residual is pushed, projected or capped along vectors?"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from persona_interp.errors import SchemaError, excerpt, unknown
from persona_interp.record.edit import Edit

Vectors = xr.DataArray | torch.Tensor | npt.ArrayLike


def add(
    vector: Vectors,
    *,
    hook: str | None = None,
    strength: float | None = None,
    absolute: float | None = None,
    name: str | None = None,
) -> Edit:
    """Edit that pushes the residual along a vector: ``h' = h + c v`` (Turner et al. 2023).

    Args:
        vector: One direction: a DataArray of ``record.mean_difference(...).sel(name="john")``, or
            d_model numbers, also as a tensor (``sae.W_dec[3]``).
        hook: Hook name; picks from the vector's hooks, where it has several. May be left out where
            the vector has one.
        strength: Length of the push as a fraction of the mean residual norm at that hook, which the
            vector must know (its coordinate ``norm``); negative = away.
        absolute: Instead of strength: multiples of the vector as it is.
        name: What tables call it; by default of kind, vector and strength.

    Returns:
        The edit.

    Raises:
        SchemaError: Not one vector, not one of strength and absolute, or a vector of zeros or
            unknown norm.

    >>> add(np.array([0.0, 2.0]), hook="blocks.0.hook_out", absolute=1.5).vectors.tolist()
    [[0.0, 3.0]]
    """
    hook = _hook(vector, hook)
    rows = _rows(vector, hook)
    if len(rows) != 1 or (strength is None) == (absolute is None):
        raise SchemaError(
            f"add takes one vector and one of strength= and absolute=; got {len(rows)} vectors, "
            f"strength={strength} and absolute={absolute}."
        )
    amount = strength if absolute is None else absolute
    if not isinstance(amount, int | float | np.number) or not np.isfinite(amount):
        raise SchemaError(f"strength= and absolute= are finite numbers; got {excerpt(amount)}.")
    if absolute is not None:
        factor, amount = absolute, f"{absolute:g}x"
    else:
        norm, length = _norm(vector, hook), float(np.linalg.norm(rows))
        if norm is None or not length:
            raise SchemaError(
                "strength is in units of the mean residual norm, which only directions of record "
                "know (coordinate 'norm'), and takes a vector that is not 0; give absolute= "
                "instead, multiples of the vector, or for a feature of a dictionary "
                "record.clamp(feature, dictionary=, value=)."
            )
        factor, amount = float(strength or 0) * norm / length, f"{strength:+g}"
    return Edit(name or f"add {_name(vector)} {amount}", hook, "add", vectors=factor * rows)


def project_out(
    vectors: Vectors,
    *,
    hook: str | None = None,
    center: Vectors | None = None,
    name: str | None = None,
) -> Edit:
    """Edit that removes directions: ``h' = h - Q Q^T (h - center)``, Q a basis of their span.

    Directional ablation (Arditi et al. 2024); with ``center`` the residual's component becomes that
    of the center instead of 0, so that the mean persona as center means "nobody in particular".

    Args:
        vectors: Directions of ``record``, all names of them; or an array, (d_model) or (n,
            d_model).
        hook: Hook name; picks from the hooks of the directions.
        center: A residual, (d_model) or with a dim ``hook``; 0 by default.
        name: What tables call it; by default of the vectors' names.

    Returns:
        The edit.

    Raises:
        SchemaError: No direction other than 0, or widths that differ.

    >>> edit = project_out(np.array([[0.0, 2.0], [0.0, 3.0]]), hook="blocks.0.hook_out")
    >>> abs(edit.vectors).round(6).tolist()  # the sign of a direction of an SVD is arbitrary
    [[0.0, 1.0]]
    """
    hook = _hook(vectors, hook)
    rows = _rows(vectors, hook)
    width = rows.shape[1]
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    # The usual tolerance of a rank, at the precision of the directions: they are stored in float32,
    # so that two equal ones may differ by rounding and would span a plane of noise.
    tolerance = np.finfo(np.float32).eps * sizes.max(initial=0.0) * max(rows.shape)
    basis = axes[sizes > tolerance]
    middle = np.zeros((1, width))
    if center is not None:
        middle = _rows(center, hook)
    if not len(basis) or middle.shape != (1, width):
        raise SchemaError(
            "project_out takes directions other than 0 and one center of their width; got "
            f"{rows.shape} of rank {len(basis)} and a center {middle.shape}."
        )
    name = name or f"project out {_name(vectors)}"
    return Edit(name, hook, "project_out", vectors=basis, center=middle[0])


def cap(vector: Vectors, *, at: float, hook: str | None = None, name: str | None = None) -> Edit:
    """Edit that keeps the residual from going further along a vector than a bound.

    ``h' = h - u max(0, <h, u> - at)``, u the vector at unit length (activation capping, Lu et al.
    2026). A floor on the assistant axis is a cap on its opposite: ``cap(-axis, at=-floor)``. What
    is below the bound is not touched.

    Args:
        vector: One direction; only its direction counts.
        at: Largest component along the vector, residual units.
        hook: Hook name, as of ``add``.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: Not one vector, or one of zeros, or a bound that is not finite.

    >>> cap(np.array([0.0, 2.0]), hook="blocks.0.hook_out", at=1.0).vectors.tolist()
    [[0.0, 1.0]]
    """
    hook = _hook(vector, hook)
    rows = _rows(vector, hook)
    length = float(np.linalg.norm(rows))
    is_bound = isinstance(at, int | float | np.number) and np.isfinite(at)
    if len(rows) != 1 or not length or not is_bound:
        raise SchemaError(
            f"cap takes one vector other than 0 and a finite bound; got {rows.shape}, "
            f"at={excerpt(at)}."
        )
    name = name or f"cap {_name(vector)} at {at:g}"
    return Edit(name, hook, "cap", vectors=rows / length, values=(float(at),))


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
