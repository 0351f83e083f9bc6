"""What does a model compute while an edit is on, and was it on at every token?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from persona_interp.dictionaries.subset import FeatureEncoder
from persona_interp.errors import ModelError
from persona_interp.models.sites import canonical, changing_hooks, middle_of
from persona_interp.record.edit import Edit
from persona_interp.record.places import Layout, is_on, is_on_after
from persona_interp.record.pooling import Mask

T = TypeVar("T")
Change = Callable[[Tensor], Tensor]


def run_edited(
    bridge: Any,
    edits: Edit | Sequence[Edit],
    run: Callable[[Any], T],
    *,
    layouts: Sequence[Layout],
    sources: Mapping[Edit, Any] = MappingProxyType({}),
    n_drawn: Callable[[T], int] = lambda result: 0,
) -> T:
    """Result of ``run(model)`` while the edits are on, each proven to be on once at every token.

    Args:
        bridge: A booted model; ``run`` gets the plain model inside it, whose modules run through
            the hooks.
        edits: The changes, one or several that are on together; at one hook in this order.
        run: Runs forward passes and returns something.
        layouts: Tokens that its forward passes read, in order. The last may be open: then the
            passes go on with tokens that the model draws, a column each.
        sources: Of "patch": its checkpoint, booted, by edit.
        n_drawn: From the result, how many of the tokens drawn in each row were read again.

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
            patches = _residuals(sources[edit], edit, run, layouts=layouts)
        changes.append((edit, _change(edit, patches)))
    with _hooks_on(bridge, changes, layouts) as walks:
        result = run(bridge.original_model)
    for walk in walks:
        walk.check(n_drawn(result))
    return result


@contextmanager
def edits_on(bridge: Any, edits: Sequence[Edit], layout: Layout) -> Iterator[None]:
    """One forward pass of a booted model with edits on, proven to be on once at every token.

    Args:
        bridge: A booted model.
        edits: The changes; no patch.
        layout: Tokens that the pass reads.

    Yields:
        Nothing; the pass is run inside.

    Raises:
        ModelError: As of ``run_edited``.
    """
    with _hooks_on(bridge, [(edit, _change(edit, [])) for edit in edits], [layout]) as walks:
        yield
    for walk in walks:
        walk.check(0)


def _change(edit: Edit, patches: Sequence[Tensor]) -> Change:
    """What an edit makes of the residual in one forward pass after the other."""
    following = iter(patches)  # the passes of both models come in one order
    encoder = None
    if edit.dictionary is not None:
        encoder = FeatureEncoder(edit.dictionary, edit.features)

    def change(acts: Tensor) -> Tensor:
        return apply_edit(edit, acts, patch=lambda: next(following), encoder=encoder)

    return change


def _residuals(
    bridge: Any, edit: Edit, run: Callable[[Any], Any], *, layouts: Sequence[Layout]
) -> list[Tensor]:
    """Residual at the edit's hook in every forward pass."""
    residuals: list[Tensor] = []

    # a clone, since the model may write into its residual later
    def keep(acts: Tensor) -> Tensor:
        residuals.append(acts.clone())
        return acts

    with _hooks_on(bridge, [(edit, keep)], layouts) as (walk,):
        run(bridge.original_model)
    walk.check(0)
    return residuals


class _Stretch(NamedTuple):
    """Tokens of one layout, at which an edit is on or not.

    Attributes:
        on: Dims (row, position).
        after: The same of the tokens that are drawn after them, dims (row,); None for none.
    """

    on: Mask
    after: Mask | None


@dataclass
class _Walk:
    """Where a hook is in the stretches: it fires on their columns, one after the other.

    A hook may be skipped, or fire on a part of the tokens, without an error: an edit that was not
    on would look like an edit without effect.
    """

    edit: Edit
    stretches: Sequence[_Stretch]
    number: int = 0  # of the stretch it is in
    column: int = 0  # the next one there
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    has_strayed: bool = False

    def step(self, shape: tuple[int, ...]) -> Mask | None:
        """At which of the tokens that it now fires on the edit is on; None for a wrong shape."""
        self.shapes.append(shape)
        self.has_strayed = self.has_strayed or not self._fits(shape)
        if self.has_strayed:
            return None
        on, after = self.stretches[self.number]
        width, stop = on.shape[1], self.column + shape[1]
        here = on[:, self.column : stop]
        if after is None and stop == width:
            self.number, self.column = self.number + 1, 0
        else:
            self.column = stop
        if after is None:
            return here
        drawn = np.repeat(after[:, None], shape[1] - here.shape[1], axis=1)
        return np.concatenate([here, drawn], axis=1)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether these tokens come next."""
        if len(shape) != 2 or self.number == len(self.stretches):
            return False
        on, after = self.stretches[self.number]
        return shape[0] == len(on) and (after is not None or self.column + shape[1] <= on.shape[1])

    def check(self, n_drawn: int) -> None:
        """Refuse a run in which the hook did not fire exactly once on every token."""
        expected, end = [stretch.on.shape for stretch in self.stretches], len(self.stretches)
        column = 0
        if expected and self.stretches[-1].after is not None:
            rows, width = expected[-1]
            end, column = end - 1, width + n_drawn
            expected[-1] = (rows, column)
        if self.has_strayed or (self.number, self.column) != (end, column):
            raise ModelError(
                f"hook '{self.edit.hook}' fired on tokens {_list(self.shapes)}, expected once on "
                f"each of {_list(expected)} (rows, positions); nothing of '{self.edit.name}' "
                "can be trusted. Edit the residual of a block (blocks.0.hook_out)."
            )


def _list(shapes: Sequence[tuple[int, ...]]) -> str:
    """The first few shapes."""
    more = f" and {len(shapes) - 8} more" if len(shapes) > 8 else ""
    return f"{shapes[:8]}{more}"


@contextmanager
def _hooks_on(
    bridge: Any, changes: Sequence[tuple[Edit, Change]], layouts: Sequence[Layout]
) -> Iterator[list[_Walk]]:
    """A model in which what each edit's hook holds goes through its change."""
    # a prompt of one token has no prefix, and no pass for it
    read = [layout for layout in layouts if layout.roles.size or layout.speakers is not None]
    walks, hooks, middle = [], [], []
    for edit, change in changes:
        stretches = [_Stretch(is_on(edit, one), is_on_after(edit, one)) for one in read]
        walks.append(_Walk(edit, stretches))
        name, fire = canonical(bridge, edit.hook), _fire(change, walks[-1])
        (hooks if middle_of(bridge, name) is None else middle).extend(
            changing_hooks(bridge, name, fire)
        )
    hooks += middle  # behind changes of what attention adds, which come before them
    with ExitStack() as stack:
        try:
            stack.enter_context(bridge.hooks(fwd_hooks=hooks))
        except ValueError as error:
            raise ModelError(
                f"{error} It does not fire as it is; edit the residual of a block "
                "(blocks.0.hook_out)."
            ) from error
        yield walks


def _fire(change: Change, walk: _Walk) -> Callable[[Tensor, Any], Tensor]:
    """Hook that changes what it holds at the tokens where the edit is on."""

    def fire(acts: Tensor, hook: Any) -> Tensor:
        # dims (row, position, d); heads stand side by side, as dictionaries read them
        on = walk.step(tuple(acts.shape[:2]) if acts.ndim == 4 else tuple(acts.shape[:-1]))
        if on is None:
            return acts
        changed = change(acts.flatten(2)).reshape(acts.shape)
        if on.all():
            return changed
        mask = torch.as_tensor(on, device=acts.device)
        return torch.where(mask.reshape(*on.shape, *[1] * (acts.ndim - 2)), changed, acts)

    return fire


def apply_edit(
    edit: Edit,
    acts: Tensor,
    *,
    patch: Callable[[], Tensor],
    encoder: FeatureEncoder | None = None,
) -> Tensor:
    """Residual that takes the place of this one.

    Args:
        edit: The change.
        acts: Residual, dims (..., d_model).
        patch: Of "patch": gives the other checkpoint's residual at the same tokens.
        encoder: Of features: reads those of the edit; one is made where none is given.

    Returns:
        The residual with the change, same dims.

    Raises:
        ModelError: The width differs from the edit's.
    """
    if edit.dictionary is not None:
        encoder = encoder or FeatureEncoder(edit.dictionary, edit.features)
        return _set_features(acts, edit, encoder)
    if edit.vectors is not None:
        return _change_along(acts, edit, edit.vectors)
    residual = patch().to(acts)
    if residual.shape != acts.shape:
        raise ModelError(
            f"'{edit.name}': the source gives {tuple(residual.shape)}, this model has "
            f"{tuple(acts.shape)}."
        )
    return residual


def _set_features(acts: Tensor, edit: Edit, encoder: FeatureEncoder) -> Tensor:
    """``h + (f' - f(h)) W_dec``: what the dictionary does not explain stays."""
    dictionary = encoder.dictionary
    _check_width(edit, acts, dictionary.d_in)
    shift = _like(edit.values, acts) - encoder.encode(acts).to(acts)
    return acts + shift @ dictionary.W_dec[encoder.features].to(acts)


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
