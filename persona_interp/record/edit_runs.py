"""What does a model compute while an edit is on, and was it on at every token?"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from persona_interp.dictionaries.dictionary import Dictionary
from persona_interp.errors import ModelError
from persona_interp.models.boot import canonical
from persona_interp.record.edit import Edit

T = TypeVar("T")


def run_edited(
    bridge: Any,
    edit: Edit,
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
    source: Any = None,
) -> T:
    """Result of ``run(model)`` while the edit is on, proven to be on once at every token.

    Args:
        bridge: A booted model; ``run`` gets the plain model inside it, whose modules run through
            the hooks.
        edit: The change.
        run: Runs forward passes and returns something.
        passes: Shape of the token ids of every forward pass it runs, (row, position), in order.
        source: Of "patch": its checkpoint, booted.

    Returns:
        What ``run`` returned.

    Raises:
        ModelError: The hook does not exist, has another width, or did not fire exactly once on
            every token.
    """
    patches: list[Tensor] = []
    if source is not None:
        patches = _residuals(source, edit, run, passes=passes)
    # the passes of both models come in one order
    following = iter(patches)

    def change(acts: Tensor) -> Tensor:
        return apply_edit(edit, acts, patch=lambda: next(following))

    return _run_hooked(bridge, edit, run, passes=passes, change=change)


def _residuals(
    bridge: Any, edit: Edit, run: Callable[[Any], Any], *, passes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """Residual at the edit's hook in every forward pass."""
    residuals: list[Tensor] = []

    # a clone, since the model may write into its residual later
    def keep(acts: Tensor) -> Tensor:
        residuals.append(acts.clone())
        return acts

    _run_hooked(bridge, edit, run, passes=passes, change=keep)
    return residuals


def _run_hooked(
    bridge: Any,
    edit: Edit,
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
    change: Callable[[Tensor], Tensor],
) -> T:
    """Result of ``run(model)`` while every residual at the edit's hook goes through ``change``."""
    shapes: list[tuple[int, ...]] = []

    def fire(acts: Tensor, hook: Any) -> Tensor:
        shapes.append(tuple(acts.shape[:-1]))
        return change(acts)

    with bridge.hooks(fwd_hooks=[(canonical(bridge, edit.hook), fire)]):
        result = run(bridge.original_model)
    # A hook may be skipped, or fire on a part of the tokens, without an error: an edit that was not
    # on would look like an edit without effect.
    if shapes != [tuple(shape) for shape in passes]:
        raise ModelError(
            f"hook '{edit.hook}' fired on tokens {shapes}, expected once in each of the forward "
            f"passes {list(passes)}; nothing that '{edit.name}' says can be trusted. Edit the "
            "residual of a block (blocks.0.hook_out)."
        )
    return result


def apply_edit(edit: Edit, acts: Tensor, *, patch: Callable[[], Tensor]) -> Tensor:
    """Residual that takes the place of this one.

    Args:
        edit: The change.
        acts: Residual, dims (..., d_model).
        patch: Of "patch": gives the other checkpoint's residual at the same tokens.

    Returns:
        The residual with the change, same dims.

    Raises:
        ModelError: The width differs from the edit's.
    """
    if edit.dictionary is not None:
        return _set_features(acts, edit, edit.dictionary)
    if edit.vectors is not None:
        return _change_along(acts, edit, edit.vectors)
    residual = patch().to(acts)
    if residual.shape != acts.shape:
        raise ModelError(
            f"'{edit.name}': the source gives {tuple(residual.shape)}, this model has "
            f"{tuple(acts.shape)}."
        )
    return residual


def _set_features(acts: Tensor, edit: Edit, dictionary: Dictionary) -> Tensor:
    """``h + (f' - f(h)) W_dec``: what the dictionary does not explain stays."""
    features = list(edit.features)
    _check_width(edit, acts, dictionary.d_in)
    shift = _like(edit.values, acts) - dictionary.encode(acts)[..., features].to(acts)
    return acts + shift @ dictionary.W_dec[features].to(acts)


def _change_along(acts: Tensor, edit: Edit, rows: npt.NDArray[np.float64]) -> Tensor:
    """Residual after an edit along vectors: add, cap or project_out."""
    _check_width(edit, acts, rows.shape[1])
    vectors = _like(rows, acts)
    if edit.kind == "add":
        return acts + vectors[0]
    if edit.kind == "cap":
        excess = ((acts @ vectors[0]) - edit.values[0]).clamp(min=0)
        return acts - excess[..., None] * vectors[0]
    offset = acts
    if edit.center is not None:
        offset = acts - _like(edit.center, acts)
    return acts - (offset @ vectors.T) @ vectors


def _check_width(edit: Edit, acts: Tensor, width: int) -> None:
    if width != acts.shape[-1]:
        raise ModelError(
            f"'{edit.name}' is {width} wide; the residual at {edit.hook} is {acts.shape[-1]}."
        )


def _like(numbers: npt.ArrayLike, acts: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(numbers), dtype=acts.dtype, device=acts.device)
