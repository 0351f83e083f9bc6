"""What does a model compute while an edit is on, and was it on at every token?"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from persona_interp.errors import ModelError
from persona_interp.models.boot import canonical
from persona_interp.record.interventions import Edit

T = TypeVar("T")


def run_edited(
    bridge: Any,
    edit: Edit,
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
    source: Any = None,
) -> T:
    """What does ``run(model)`` give while the edit is on? Proves that it was on, once at every token.

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
    given = iter(() if source is None else _held(source, edit, run, passes=passes))
    return _hooked(
        bridge,
        edit,
        run,
        passes=passes,
        change=lambda acts: changed(edit, acts, given=lambda: next(given)),
    )


def _held(
    bridge: Any, edit: Edit, run: Callable[[Any], Any], *, passes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """The residual of every forward pass."""
    held: list[Tensor] = []

    def keep(acts: Tensor) -> Tensor:
        held.append(acts.clone())
        return acts

    _hooked(bridge, edit, run, passes=passes, change=keep)
    return held


def _hooked(
    bridge: Any,
    edit: Edit,
    run: Callable[[Any], T],
    *,
    passes: Sequence[tuple[int, ...]],
    change: Callable[[Tensor], Tensor],
) -> T:
    seen: list[tuple[int, ...]] = []

    def fire(acts: Tensor, hook: Any) -> Tensor:
        seen.append(tuple(acts.shape[:-1]))
        return change(acts)

    with bridge.hooks(fwd_hooks=[(canonical(bridge, edit.hook), fire)]):
        result = run(bridge.original_model)
    if seen != [tuple(shape) for shape in passes]:
        raise ModelError(
            f"hook '{edit.hook}' fired on tokens {seen}, expected once in each of the forward "
            f"passes {list(passes)}; "
            f"nothing that '{edit.name}' says can be trusted. Edit the residual of a block "
            "(blocks.0.hook_out)."
        )
    return result


def changed(edit: Edit, acts: Tensor, *, given: Callable[[], Tensor]) -> Tensor:
    """Which residual takes the place of this one?

    Args:
        edit: The change.
        acts: Residual, dims (..., d_model).
        given: Of "patch": gives the other checkpoint's residual at the same tokens.

    Returns:
        The residual with the change, same dims.

    Raises:
        ModelError: The width differs from the edit's.
    """

    def like(x: npt.ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(x), dtype=acts.dtype, device=acts.device)

    def check(width: int) -> None:
        if width != acts.shape[-1]:
            raise ModelError(
                f"'{edit.name}' is {width} wide; the residual at {edit.hook} is {acts.shape[-1]}."
            )

    if edit.dictionary is not None:
        check(edit.dictionary.d_in)
        picked = list(edit.features)
        moved = like(edit.values) - edit.dictionary.encode(acts)[..., picked].to(acts)
        return acts + moved @ edit.dictionary.W_dec[picked].to(acts)
    if edit.vectors is not None:
        check(edit.vectors.shape[1])
        vectors = like(edit.vectors)
        if edit.kind == "add":
            return acts + vectors[0]
        if edit.kind == "cap":
            return (
                acts - ((acts @ vectors[0]) - edit.values[0]).clamp(min=0)[..., None] * vectors[0]
            )
        center = 0 if edit.center is None else like(edit.center)
        return acts - ((acts - center) @ vectors.T) @ vectors
    new = given().to(acts)
    if new.shape != acts.shape:
        raise ModelError(
            f"'{edit.name}': the source gives {tuple(new.shape)}, this model has "
            f"{tuple(acts.shape)}."
        )
    return new
