"""What changes the residual while a model is trained, and only then? Plain hooks that go again.

A vector is added (preventative steering, Chen et al. 2025: where the lesson would push the residual
it is already), or directions are projected out (Arditi et al. 2024, here in training: the lesson
cannot be learned along them). Weights are saved as they are: without the hooks nothing of the edit
is left in the model but what it has learned under it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from persona_interp import schema
from persona_interp.errors import ModelError, excerpt
from persona_interp.models.boot import text_part
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.device import CPU
from persona_interp.models.hook_map import INPUT
from persona_interp.models.hooked import HookedModel, open_hooked
from persona_interp.models.sites import canonical, is_heads, middle_of
from persona_interp.models.stage import Stage

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingEdit:
    """What happens at one hook in every forward pass of a training.

    Attributes:
        hook: Canonical name.
        place: Path of the module of transformers, and its side.
        removed: Directions that are projected out first, dims (n, d_model); n may be 0.
        push: What is added then, (d_model); zeros for nothing.
    """

    hook: str
    place: tuple[str, str]
    removed: Rows
    push: Rows


def training_edits(
    start: Checkpoint,
    stage: Stage,
    *,
    steer: xr.DataArray | None = None,
    ablate: xr.DataArray | None = None,
) -> tuple[TrainingEdit, ...]:
    """Edits that a stage and its directions mean, one a hook.

    Args:
        start: The model that is trained.
        stage: How; ``steer`` and ``ablate`` of it are read.
        steer: Directions along which the residual is pushed: one name, at one hook or several.
        ablate: Directions that are projected out: any names, at one hook or several.

    Returns:
        The edits.

    Raises:
        ModelError: Directions without their strength in the stage or the reverse, several names to
            steer along, a direction of zeros, without a usual length or of another width, or a hook
            that is no input or output of a module.
        SchemaError: Not directions.
    """
    given = {"steer": steer, "ablate": ablate}
    for name, directions in given.items():
        if (directions is not None) != bool(getattr(stage, name)):
            others = "without directions" if directions is None else "with directions"
            raise ModelError(
                f"Stage({name}={getattr(stage, name)!r}) {others} to {name}: give train "
                f"{name}=directions together with a stage that has {name}, or neither."
            )
    if steer is None and ablate is None:
        return ()
    model = open_hooked(start, device=CPU)
    pushes = {} if steer is None else _pushes(model, steer, strength=stage.steer)
    removed = {} if ablate is None else _by_hook(model, ablate, "ablate")
    edits = []
    for hook in dict.fromkeys([*removed, *pushes]):
        width = removed[hook].shape[1] if hook in removed else len(pushes[hook])
        rows = removed.get(hook, np.zeros((0, width)))
        push = pushes.get(hook, np.zeros(width))
        edits.append(TrainingEdit(hook, _place(model, hook), rows, push))
    # one token is enough to find a hook of another width, before anything is written
    token = torch.zeros((1, 1), dtype=torch.long)
    with torch.inference_mode(), edits_on(model.original_model, edits):
        model.original_model(input_ids=token, attention_mask=token + 1, use_cache=False)
    return tuple(edits)


def hash_edits(edits: Iterable[TrainingEdit]) -> list[str]:
    """Hashes of what edits do, for telling trainings apart.

    Args:
        edits: The edits; what their directions are called does not count.

    Returns:
        sha256 (hex), one each.
    """
    hashes = []
    for edit in edits:
        digest = hashlib.sha256(f"{edit.hook} {edit.removed.shape} {edit.push.shape}".encode())
        digest.update(edit.removed.tobytes() + edit.push.tobytes())
        hashes.append(digest.hexdigest())
    return hashes


@contextmanager
def edits_on(model: Any, edits: Iterable[TrainingEdit]) -> Iterator[None]:
    """Edits that are on in every forward pass of a model inside the block, and in none after it.

    Args:
        model: A Hugging Face or PEFT model, where it computes.
        edits: The edits.

    Yields:
        Nothing; the model is trained inside.

    Raises:
        ModelError: A hook has another width, or did not fire in every forward pass.
    """
    edits = tuple(edits)
    if not edits:
        yield
        return
    fired = dict.fromkeys(edits, 0)
    n_passes = 0

    def count(*_: Any) -> None:
        nonlocal n_passes
        n_passes += 1

    # PEFT calls forward of what it wraps and none of its hooks; those of modules inside fire
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner = text_part(inner, None)
    with ExitStack() as stack:
        # a pass that memory ran out of in its middle does not count: it is repeated
        stack.callback(model.register_forward_hook(count).remove)
        for edit in edits:
            path, side = edit.place
            module, change = inner.get_submodule(path), _change(edit, model.device, fired)
            if side == INPUT:
                handle = module.register_forward_pre_hook(_on_input(change), with_kwargs=True)
            else:
                handle = module.register_forward_hook(_on_output(change))
            stack.callback(handle.remove)
        yield
    for edit, n in fired.items():
        # a checkpointed block runs again for its gradient, so that there may be more
        if n < n_passes:
            raise ModelError(
                f"the edit at {edit.hook} was on in {n} of {n_passes} forward passes of the "
                "training; choose another hook."
            )


def _change(
    edit: TrainingEdit, device: torch.device, fired: dict[TrainingEdit, int]
) -> Callable[[Tensor], Tensor]:
    """What an edit makes of what its hook holds; every call is counted."""
    push = torch.tensor(edit.push, dtype=torch.float32, device=device)
    basis = torch.tensor(_basis(edit.removed), dtype=torch.float32, device=device)

    def change(acts: Tensor) -> Tensor:
        widths = edit.removed.shape[1], len(push)
        if widths != (acts.shape[-1],) * 2:
            raise ModelError(
                f"{edit.hook} is {acts.shape[-1]} wide, the directions {excerpt(widths)}; give "
                "directions of this model."
            )
        fired[edit] += 1
        # in full precision, whatever autocast would take for the product
        with torch.autocast(acts.device.type, enabled=False):
            full = acts.float()
            if len(basis):
                full = full - (full @ basis.T) @ basis
            return (full + push).to(acts.dtype)

    return change


def _on_output(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """Forward hook that changes what a module gives; blocks of some families give a tuple."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    return hook


def _on_input(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """Forward pre-hook that changes what a module is given first, by place or by name."""

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: change(kwargs[first])}

    return hook


def _pushes(model: Any, directions: xr.DataArray, *, strength: float) -> dict[str, Rows]:
    """What is added at every hook: the direction at this share of a usual residual's length."""
    rows = _by_hook(model, directions, "steer")
    if directions.sizes["name"] != 1:
        raise ModelError(
            "a stage steers along one direction, at one hook or several; got "
            f"{excerpt(directions['name'].values.tolist())}. Pick one: "
            'directions.sel(name=["john"]).'
        )
    if "norm" not in directions.coords:
        raise ModelError(
            "Stage.steer is in units of a usual residual's length, which these directions do not "
            'know; give it at every hook: directions.assign_coords(norm=("hook", [...])).'
        )
    norms = np.broadcast_to(directions["norm"].to_numpy().astype(np.float64), len(rows))
    pushes = {}
    for norm, (hook, (row,)) in zip(norms, rows.items(), strict=True):
        if not (np.isfinite(norm) and norm > 0):
            raise ModelError(
                f"the usual length of a residual at {hook} is a number above 0; got {norm:g}. "
                'Measure it: directions.assign_coords(norm=("hook", [...])).'
            )
        pushes[hook] = strength * norm / np.linalg.norm(row) * row
    return pushes


def _by_hook(model: Any, directions: xr.DataArray, name: str) -> dict[str, Rows]:
    """Directions by canonical name of the hook, dims (name, d_model)."""
    schema.check(directions, "directions")
    hooks = [canonical(model, str(hook)) for hook in directions["hook"].to_numpy()]
    if len(set(hooks)) < len(hooks):
        raise ModelError(f"directions to {name} have every hook once; got {excerpt(hooks)}.")
    numbers = directions.transpose("hook", "name", "d_model").to_numpy().astype(np.float64)
    for hook, rows in zip(hooks, numbers, strict=True):
        lengths = np.linalg.norm(rows, axis=-1)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ModelError(
                f"directions to {name} are finite and not 0; at {hook} their lengths are "
                f"{excerpt(lengths.tolist())}. Leave those out."
            )
    return dict(zip(hooks, map(np.ascontiguousarray, numbers), strict=True))


def _basis(rows: Rows) -> Rows:
    """Orthonormal basis of the span of some rows."""
    if not len(rows):
        return rows
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    # directions are stored in float32: two equal ones would else span a plane of rounding
    return axes[sizes > np.finfo(np.float32).eps * sizes.max() * max(rows.shape)]


def _place(model: Any, hook: str) -> tuple[str, str]:
    """Module of transformers and its side that hold what a hook shows."""
    places = model.places if isinstance(model, HookedModel) else {}
    # a change of what the norm before the MLP reads would not reach the residual that goes past it
    if hook not in places or is_heads(hook) or middle_of(model, hook) is not None:
        raise ModelError(
            f"'{hook}' is neither the residual nor added to it at a module of transformers, so it "
            "cannot be edited in training; take the output of a block, blocks.0.hook_out."
        )
    return places[hook]
