"""What does a model say when something inside it is changed?

An ``Edit`` is one change of the residual at one hook, at every token of prompt and answer. ``add``
steers along a vector, ``project_out`` removes a subspace, ``cap`` bounds a component, ``clamp`` and
``ablate`` set features of a dictionary, ``patch`` puts the residual of another checkpoint in. Edits
go into ``record.behavior(..., edits=)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.errors import SchemaError, unknown
from persona_interp.models import Checkpoint

TARGETS = ("zero", "mean")

Vectors = xr.DataArray | npt.ArrayLike


@dataclass(frozen=True, eq=False)
class Edit:
    """Which change of the residual, at which hook? Made by ``add``, ``project_out``, ``cap``, ``clamp``, ...

    Attributes:
        name: What tables call it; distinct among the edits of one call.
        hook: Hook name; alters the residual there, at every token.
        kind: add, project_out, cap, clamp, ablate_zero, ablate_mean or patch.
        vectors: Of "add" what is added, (1, d_model); of "project_out" an orthonormal basis, (n,
            d_model); of "cap" a unit vector, (1, d_model).
        center: Of "project_out" the residual that keeps its components, (d_model).
        dictionary: Whose features are set.
        features: Which.
        values: To which activation, one each; of "cap" the bound.
        source: Checkpoint whose residual is put in.
    """

    name: str
    hook: str
    kind: str
    vectors: npt.NDArray[np.float64] | None = None
    center: npt.NDArray[np.float64] | None = None
    dictionary: Dictionary | None = None
    features: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    source: Checkpoint | None = None


def add(
    vector: Vectors,
    *,
    hook: str,
    strength: float | None = None,
    absolute: float | None = None,
    name: str | None = None,
) -> Edit:
    """What happens when the residual is pushed along this vector? ``h' = h + c v`` (Turner et al. 2023).

    Args:
        vector: One direction: a DataArray of ``record.mean_difference(...).sel(name="john")``, or
            d_model numbers.
        hook: Hook name; picks from the vector's hooks, where it has several.
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
    rows = _rows(vector, hook)
    if len(rows) != 1 or (strength is None) == (absolute is None):
        raise SchemaError(
            f"add takes one vector and one of strength= and absolute=; got {len(rows)} vectors, "
            f"strength={strength} and absolute={absolute}."
        )
    factor = absolute
    if factor is None:
        norm = _norm(vector, hook)
        length = float(np.linalg.norm(rows))
        if norm is None or not length:
            raise SchemaError(
                "strength is in units of the mean residual norm, which only directions of record "
                "know (coordinate "
                "'norm'), and takes a vector that is not 0; give absolute= instead."
            )
        factor = float(strength or 0) * norm / length
    amount = f"{absolute:g}x" if absolute is not None else f"{strength:+g}"
    return Edit(name or f"add {_called(vector)} {amount}", hook, "add", vectors=factor * rows)


def project_out(
    vectors: Vectors, *, hook: str, center: Vectors | None = None, name: str | None = None
) -> Edit:
    """What is left without these directions? ``h' = h - Q Q^T (h - center)``, Q a basis of their span.

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
    rows = _rows(vectors, hook)
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    basis = axes[sizes > np.finfo(np.float32).eps * sizes.max(initial=0.0) * max(rows.shape)]
    middle = np.zeros((1, rows.shape[1])) if center is None else _rows(center, hook)
    if not len(basis) or middle.shape != (1, rows.shape[1]):
        raise SchemaError(
            "project_out takes directions other than 0 and one center of their width; got "
            f"{rows.shape} of rank "
            f"{len(basis)} and a center {middle.shape}."
        )
    return Edit(
        name or f"project out {_called(vectors)}",
        hook,
        "project_out",
        vectors=basis,
        center=middle[0],
    )


def cap(vector: Vectors, *, hook: str, at: float, name: str | None = None) -> Edit:
    """What is left when the residual may not go further along this vector? ``h' = h - u max(0, <h, u> - at)``.

    ``u`` is the vector at unit length (activation capping, Lu et al. 2026). A floor on the
    assistant axis is a cap on its opposite: ``cap(-axis, at=-floor)``. What is below the bound is
    not touched.

    Args:
        vector: One direction; only its direction counts.
        hook: Hook name; picks from the vector's hooks, where it has several.
        at: Largest component along the vector, residual units.
        name: What tables call it.

    Returns:
        The edit.

    Raises:
        SchemaError: Not one vector, or one of zeros, or a bound that is not finite.

    >>> cap(np.array([0.0, 2.0]), hook="blocks.0.hook_out", at=1.0).vectors.tolist()
    [[0.0, 1.0]]
    """
    rows = _rows(vector, hook)
    length = float(np.linalg.norm(rows))
    if len(rows) != 1 or not length or not np.isfinite(at):
        raise SchemaError(
            f"cap takes one vector other than 0 and a finite bound; got {rows.shape}, at={at}."
        )
    return Edit(
        name or f"cap {_called(vector)} at {at:g}",
        hook,
        "cap",
        vectors=rows / length,
        values=(float(at),),
    )


def clamp(
    features: int | Iterable[int], *, dictionary: Dictionary, value: float, name: str | None = None
) -> Edit:
    """What happens when these features are held at one activation?

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
    picked = _picked(features, dictionary)
    called = name or f"clamp {', '.join(map(str, picked))} at {value:g}"
    values = (float(value),) * len(picked)
    return Edit(
        called, dictionary.hook, "clamp", dictionary=dictionary, features=picked, values=values
    )


def ablate(
    features: int | Iterable[int],
    *,
    dictionary: Dictionary,
    to: str = "zero",
    means: npt.ArrayLike | None = None,
    name: str | None = None,
) -> Edit:
    """What is left without these features? ``h' = h + (f' - f(h)) W_dec`` with f' = 0 or the feature's mean.

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
    picked = _picked(features, dictionary)
    if to not in TARGETS:
        raise SchemaError(unknown("target of ablate", to, TARGETS))
    level = np.zeros(dictionary.d_sae) if means is None else np.asarray(means, dtype=np.float64)
    if level.shape != (dictionary.d_sae,) or (to == "mean") != (means is not None):
        raise SchemaError(
            f'to="mean" takes means=, one number for each of {dictionary.d_sae} features, and to="zero" none; '
            f"got to={to!r} and means of shape {None if means is None else level.shape}."
        )
    called = name or f"ablate {', '.join(map(str, picked))} to {to}"
    values = tuple(float(level[j]) for j in picked)
    return Edit(
        called,
        dictionary.hook,
        f"ablate_{to}",
        dictionary=dictionary,
        features=picked,
        values=values,
    )


def patch(source: Checkpoint, *, hook: str, name: str | None = None) -> Edit:
    """What happens when another checkpoint's residual, at the same tokens, takes this one's place?

    Args:
        source: Where the residual comes from; same tokenizer and width.
        hook: Hook name.
        name: What tables call it.

    Returns:
        The edit.

    >>> from pathlib import Path
    >>> patch(Checkpoint(Path("model"), stage="lesson", step=8), hook="blocks.1.hook_out").name
    'patch lesson@8 at blocks.1.hook_out'
    """
    return Edit(name or f"patch {source.label} at {hook}", hook, "patch", source=source)


def _picked(features: int | Iterable[int], dictionary: Dictionary) -> tuple[int, ...]:
    picked = (
        (int(features),)
        if isinstance(features, int | np.integer)
        else tuple(int(j) for j in features)
    )
    if (
        not picked
        or len(set(picked)) < len(picked)
        or not all(0 <= j < dictionary.d_sae for j in picked)
    ):
        valid = f"distinct features from 0 to {dictionary.d_sae - 1} of {dictionary.name}"
        raise SchemaError(f"expected {valid}; got {picked}.")
    return picked


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
    rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise SchemaError(
            f"expected finite vectors of dims (d_model) or (n, d_model); got shape {rows.shape}."
        )
    return rows


def _norm(vector: Vectors, hook: str) -> float | None:
    if not isinstance(vector, xr.DataArray) or "norm" not in vector.coords:
        return None
    norm = vector["norm"]
    return float(norm.sel(hook=hook) if "hook" in norm.dims else norm)


def _called(vectors: Vectors) -> str:
    if not isinstance(vectors, xr.DataArray) or "name" not in vectors.coords:
        return "vector"
    return ", ".join(map(str, np.atleast_1d(vectors["name"].to_numpy())))
