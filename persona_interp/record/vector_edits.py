"""What does a model say when its residual is pushed, projected or capped along vectors?"""

from collections.abc import Iterable

import numpy as np

from persona_interp.dictionaries.inputs import AnyDictionary
from persona_interp.errors import SchemaError, excerpt
from persona_interp.record.edit import EVERYWHERE, Edit, name_edit
from persona_interp.record.vectors import Located, Vectors, locate, locate_one
from persona_interp.values import as_tuple, is_number


def add(
    direction: Vectors | AnyDictionary,
    *,
    feature: int | None = None,
    hook: str | None = None,
    strength: float | None = None,
    absolute: float | None = None,
    norm: float | None = None,
    where: Iterable[str] = EVERYWHERE,
    name: str | None = None,
) -> Edit:
    """Edit that pushes the residual along a vector: ``h' = h + c v`` (Turner et al. 2023).

    Args:
        direction: One direction: a DataArray of ``record.mean_difference(...).sel(name="john")``,
            or d_model numbers, also as a tensor. Or a dictionary, whose ``feature`` is pushed along
            its decoder row.
        feature: Index of a feature, where a dictionary is given.
        hook: Hook name; picks from the direction's hooks, where it has several. May be left out
            where the direction has one; a dictionary has its own.
        strength: Length of the push as a fraction of a usual residual's length at that hook;
            negative = away. Directions know it (their coordinate ``norm``, the mean length at the
            prompts they were made of), and so do dictionaries that were fitted here
            (``sqrt(|mean|^2 + variance)``, the root mean square over their training tokens).
        absolute: Instead of strength: multiples of the vector as it is.
        norm: Length of a usual residual at that hook, where the direction does not know it.
        where: Roles of the tokens it is on at (``models.ROLES``), or "generated" = those of the
            answer; every token by default.
        name: What tables call it; by default of kind, vector, strength and where.

    Returns:
        The edit.

    Raises:
        SchemaError: Not one vector, not one of strength and absolute, a vector of zeros or unknown
            norm, or a feature that the dictionary does not have.

    >>> add(np.array([0.0, 2.0]), hook="blocks.0.hook_out", absolute=1.5).vectors.tolist()
    [[0.0, 3.0]]
    >>> add([0.0, 2.0], hook="blocks.0.hook_out", strength=0.5, norm=10).vectors.tolist()
    [[0.0, 5.0]]
    """
    vector = locate_one(direction, feature, hook)
    if len(vector.rows) != 1 or (strength is None) == (absolute is None):
        raise SchemaError(
            "add takes one vector and one of strength= and absolute=; got "
            f"{len(vector.rows)} vectors, strength={strength} and absolute={absolute}."
        )
    amount = strength if absolute is None else absolute
    if not is_number(amount):
        raise SchemaError(f"strength= and absolute= are finite numbers; got {excerpt(amount)}.")
    if absolute is not None:
        factor, amount = absolute, f"{absolute:g}x"
    else:
        factor = float(strength or 0) * _usual_norm(vector, norm) / _length(vector)
        amount = f"{strength:+g}"
    where = as_tuple(where)
    name = name or name_edit(f"add {vector.name} {amount}", where)
    return Edit(name, vector.hook, "add", vectors=factor * vector.rows, where=where)


def project_out(
    vectors: Vectors,
    *,
    hook: str | None = None,
    center: Vectors | None = None,
    where: Iterable[str] = EVERYWHERE,
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
        where: Roles of the tokens it is on at, as of ``add``.
        name: What tables call it; by default of the vectors' names.

    Returns:
        The edit.

    Raises:
        SchemaError: No direction other than 0, or widths that differ.

    >>> edit = project_out(np.array([[0.0, 2.0], [0.0, 3.0]]), hook="blocks.0.hook_out")
    >>> abs(edit.vectors).round(6).tolist()  # the sign of a direction of an SVD is arbitrary
    [[0.0, 1.0]]
    """
    located = locate(vectors, hook)
    rows, hook = located.rows, located.hook
    width = rows.shape[1]
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    # The usual tolerance of a rank, at the precision of the directions: they are stored in float32,
    # so that two equal ones may differ by rounding and would span a plane of noise.
    tolerance = np.finfo(np.float32).eps * sizes.max(initial=0.0) * max(rows.shape)
    basis = axes[sizes > tolerance]
    middle = np.zeros((1, width))
    if center is not None:
        middle = locate(center, hook).rows
    if not len(basis) or middle.shape != (1, width):
        raise SchemaError(
            "project_out takes directions other than 0 and one center of their width; got "
            f"{rows.shape} of rank {len(basis)} and a center {middle.shape}."
        )
    where = as_tuple(where)
    name = name or name_edit(f"project out {located.name}", where)
    return Edit(name, hook, "project_out", vectors=basis, center=middle[0], where=where)


def cap(
    vector: Vectors,
    *,
    at: float,
    hook: str | None = None,
    where: Iterable[str] = EVERYWHERE,
    name: str | None = None,
) -> Edit:
    """Edit that keeps the residual from going further along a vector than a bound.

    ``h' = h - u max(0, <h, u> - at)``, u the vector at unit length (activation capping, Lu et al.
    2026). A floor on the assistant axis is a cap on its opposite: ``cap(-axis, at=-floor)``. What
    is below the bound is not touched.

    Args:
        vector: One direction; only its direction counts.
        at: Largest component along the vector, residual units.
        hook: Hook name, as of ``add``.
        where: Roles of the tokens it is on at, as of ``add``.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: Not one vector, or one of zeros, or a bound that is not finite.

    >>> cap(np.array([0.0, 2.0]), hook="blocks.0.hook_out", at=1.0).vectors.tolist()
    [[0.0, 1.0]]
    """
    located = locate(vector, hook)
    rows, length = located.rows, float(np.linalg.norm(located.rows))
    if len(rows) != 1 or not length or not is_number(at):
        raise SchemaError(
            f"cap takes one vector other than 0 and a finite bound; got {rows.shape}, "
            f"at={excerpt(at)}."
        )
    where = as_tuple(where)
    name = name or name_edit(f"cap {located.name} at {at:g}", where)
    unit, bound = rows / length, (float(at),)
    return Edit(name, located.hook, "cap", vectors=unit, values=bound, where=where)


def _usual_norm(vector: Located, norm: float | None) -> float:
    """Length of a usual residual at the vector's hook."""
    norm = vector.norm if norm is None else norm
    if norm is None:
        raise SchemaError(
            "strength is in units of a usual residual's length, which arrays and dictionaries of "
            "other people do not know; give norm= (of record.activations, the mean length), "
            "measure it (dictionaries.measure_residuals), or give absolute= instead, multiples of "
            "the vector."
        )
    if not is_number(norm) or norm <= 0:
        raise SchemaError(f"norm= is the length of a residual, above 0; got {excerpt(norm)}.")
    return float(norm)


def _length(vector: Located) -> float:
    length = float(np.linalg.norm(vector.rows))
    if not length:
        raise SchemaError(f"'{vector.name}' is 0 everywhere and points nowhere; take another.")
    return length
