"""What does a model compute while an edit is on, and was it on at every token?"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
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
Change = Callable[[Tensor], Tensor]


def run_edited(
    bridge: Any,
    edits: Edit | Sequence[Edit],
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
    sources: Mapping[Edit, Any] = MappingProxyType({}),
) -> T:
    """Result of ``run(model)`` while the edits are on, each proven to be on once at every token.

    Args:
        bridge: A booted model; ``run`` gets the plain model inside it, whose modules run through
            the hooks.
        edits: The changes, one or several that are on together; at one hook in this order.
        run: Runs forward passes and returns something.
        passes: Shape of the token ids of every forward pass it runs, (row, position), in order.
        sources: Of "patch": its checkpoint, booted, by edit.

    Returns:
        What ``run`` returned.

    Raises:
        ModelError: A hook does not exist, has another width, or did not fire exactly once on every
            token.
    """
    edits = (edits,) if isinstance(edits, Edit) else tuple(edits)
    changes = []
    for edit in edits:
        patches: list[Tensor] = []
        if edit in sources:
            patches = _residuals(sources[edit], edit, run, passes=passes)
        changes.append((edit, _change(edit, patches)))
    return _run_hooked(bridge, changes, run, passes=passes)


def _change(edit: Edit, patches: Sequence[Tensor]) -> Change:
    """What an edit makes of the residual in one forward pass after the other."""
    following = iter(patches)  # the passes of both models come in one order

    def change(acts: Tensor) -> Tensor:
        return apply_edit(edit, acts, patch=lambda: next(following))

    return change


def _residuals(
    bridge: Any, edit: Edit, run: Callable[[Any], Any], *, passes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """Residual at the edit's hook in every forward pass."""
    residuals: list[Tensor] = []

    # a clone, since the model may write into its residual later
    def keep(acts: Tensor) -> Tensor:
        residuals.append(acts.clone())
        return acts

    _run_hooked(bridge, [(edit, keep)], run, passes=passes)
    return residuals


def _run_hooked(
    bridge: Any,
    changes: Sequence[tuple[Edit, Change]],
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
) -> T:
    """Result of ``run(model)`` while residuals at each edit's hook go through its change."""
    firings: list[list[tuple[int, ...]]] = [[] for _ in changes]
    hooks = []
    for (edit, change), shapes in zip(changes, firings, strict=True):
        hooks.append((canonical(bridge, edit.hook), _fire(change, shapes)))
    with bridge.hooks(fwd_hooks=hooks):
        result = run(bridge.original_model)
    # A hook may be skipped, or fire on a part of the tokens, without an error: an edit that was not
    # on would look like an edit without effect.
    for (edit, _), shapes in zip(changes, firings, strict=True):
        if shapes != [tuple(shape) for shape in passes]:
            raise ModelError(
                f"hook '{edit.hook}' fired on tokens {shapes}, expected once in each of the "
                f"forward passes {list(passes)}; nothing that '{edit.name}' says can be trusted. "
                "Edit the residual of a block (blocks.0.hook_out)."
            )
    return result


def _fire(change: Change, shapes: list[tuple[int, ...]]) -> Callable[[Tensor, Any], Tensor]:
    """Hook that changes the residual and notes on how many tokens."""

    def fire(acts: Tensor, hook: Any) -> Tensor:
        shapes.append(tuple(acts.shape[:-1]))
        return change(acts)

    return fire


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
