"""What is inside a model, at the speed of its forward pass: plain hooks on transformers.

``boot`` puts TransformerLens around a model, to name its places and to edit them. Who only reads
needs neither its forward pass nor its import: the same place is an input or output of a module of
transformers (``hook_map``), and the pass ends with the last place that is read. The numbers are
bit for bit those of transformers (``hidden_states``).

Two checks stand before that. Of an architecture that is new here, every place is compared with what
TransformerLens shows there. Of weights that are new here, the output of every block, read together
with a padded row, is compared with ``hidden_states`` of each row alone. Both are kept in the cache.
What cannot be compared, or differs, is read through TransformerLens as before.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from persona_interp.models.boot import boot, probe, run_plain, text_part
from persona_interp.models.cache import keep, read_kept
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.device import resolve_device
from persona_interp.models.dtype import FULL, resolve_dtype
from persona_interp.models.hook_map import (
    INPUT,
    HookMap,
    map_file,
    map_hooks,
    read_map,
)
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.load import hash_weights, load
from persona_interp.models.parity import TOLERANCES, distance
from persona_interp.models.sites import canonical, is_heads
from persona_interp.models.tokens import pad_ids


class HookedModel:
    """A model of transformers whose places are read by name; what of a bridge reading needs.

    Attributes:
        original_model: Plain Hugging Face model, evaluation mode.
        tokenizer: The checkpoint's own.
        hook_dict: What has a ``name``, the canonical one, by every name of a hook.
        module_hooks: Canonical name of its output by path of a module.
        cfg: ``n_layers``, ``n_heads``, ``d_model``, ``dtype``, ``device``.
        has_middle: Whether ``hook_resid_mid`` is what its name says.
        places: Module and side of every hook that plain hooks read.
    """

    def __init__(
        self, model: Any, tokenizer: Any, hooks: HookMap, boot_bridge: Callable[[], Any]
    ) -> None:
        self.original_model, self.tokenizer = model, tokenizer
        self.hook_dict = {name: SimpleNamespace(name=own) for name, own in hooks.names.items()}
        self.module_hooks, self.places = hooks.modules, hooks.places
        facts = dict(hooks.facts)
        self.has_middle = bool(facts.pop("has_middle"))
        self.cfg = SimpleNamespace(**facts, dtype=model.dtype, device=str(model.device))
        self._boot, self._bridge = boot_bridge, None

    def run_with_cache(
        self, ids: Tensor, *, attention_mask: Tensor, names_filter: Sequence[str], **stop: int
    ) -> tuple[None, dict[str, Tensor]]:
        """What these hooks hold in one forward pass, which ends when all of them are read.

        Args:
            ids: Token ids, dims (row, position).
            attention_mask: 1 = token, 0 = padding; same dims.
            names_filter: Canonical names of the hooks.
            **stop: ``stop_at_layer`` of TransformerLens, for hooks that only it can read.

        Returns:
            None in place of the logits, and the activations by name.
        """
        if any(name not in self.places for name in names_filter):
            self._bridge = self._bridge or self._boot()
            return self._bridge.run_with_cache(
                ids, attention_mask=attention_mask, names_filter=list(names_filter), **stop
            )
        places = {name: self.places[name] for name in names_filter}
        held = read_places(self.original_model, places, ids, attention_mask)
        for name in filter(is_heads, held):
            held[name] = held[name].unflatten(-1, (self.cfg.n_heads, -1))
        return None, held


class _Read(Exception):
    """Everything that was asked for has been read; never leaves this file."""


def read_places(
    model: Any, places: dict[str, tuple[str, str]], ids: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """What enters or leaves some modules in one forward pass, which ends with the last of them.

    Args:
        model: A Hugging Face model.
        places: Path of a module and its side, by name.
        ids: Token ids, dims (row, position).
        mask: 1 = token, 0 = padding; same dims.

    Returns:
        Arrays by name, in the order of the names; those of modules that did not run are missing.
    """
    held: dict[str, Tensor] = {}

    def hold(name: str, value: Any) -> None:
        # a module that runs again is another place by then, which TransformerLens shows
        held.setdefault(name, value[0] if isinstance(value, tuple) else value)
        if len(held) == len(places):
            raise _Read

    def before(name: str) -> Callable[..., None]:
        return lambda module, args, kwargs: hold(name, args or next(iter(kwargs.values()), None))

    def after(name: str) -> Callable[..., None]:
        return lambda module, args, output: hold(name, output)

    with ExitStack() as stack:
        for name, (path, side) in places.items():
            module = model.get_submodule(path)
            if side == INPUT:
                handle = module.register_forward_pre_hook(before(name), with_kwargs=True)
            else:
                handle = module.register_forward_hook(after(name))
            stack.callback(handle.remove)
        try:
            model(input_ids=ids, attention_mask=mask, use_cache=False)
        except _Read:
            pass
    return {name: held[name] for name in places if name in held}


def open_hooked(
    checkpoint: Checkpoint | str | Path,
    *,
    hooks: Iterable[str] = (),
    device: object = None,
    dtype: str = FULL,
) -> Any:
    """Open a model for reading its insides, at the speed of its forward pass.

    Args:
        checkpoint: Where the weights are, or a name that ``resolve`` takes.
        hooks: Hook names that will be read.
        device: Where to, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.

    Returns:
        A ``HookedModel``; where plain hooks do not read what TransformerLens or ``hidden_states``
        shows, the booted model. ``residuals``, ``canonical`` and all recorders take either.

    Raises:
        ModelError: As of ``boot``, for an architecture that is new here; later as of ``load``.
    """
    checkpoint = as_checkpoint(checkpoint)
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)

    def booted() -> Any:
        return boot(checkpoint, device=device, dtype=dtype)

    # code of a folder's own may compute anything, whatever its configuration says
    model = None if checkpoint.trusted else _open(checkpoint, booted, device=device, dtype=dtype)
    model = model or booted()
    for hook in hooks:
        canonical(model, hook)
    return model


def _open(
    checkpoint: Checkpoint, booted: Callable[[], Any], *, device: str, dtype: str
) -> HookedModel | None:
    """The model with plain hooks; None where they were compared and read something else."""
    tolerance = TOLERANCES[dtype]
    file = map_file(checkpoint, device=device, dtype=dtype)
    hooks = read_map(file)
    if hooks is None:
        hooks = _compare(checkpoint, booted(), device=device, dtype=dtype)
        keep(hooks._asdict(), file)
    blocks = [f"blocks.{i}.hook_out" for i in range(hooks.facts["n_layers"])]
    if any(block not in hooks.places for block in blocks):
        return None
    model, tokenizer = _load(checkpoint, hooks.attention, device=device, dtype=dtype)
    proof = file.with_name(f"{hash_weights(checkpoint)[:16]}.json")
    if read_kept(proof) is None:
        gap = _gap(model, tokenizer, {block: hooks.places[block] for block in blocks})
        if gap > tolerance:
            return None
        keep({"distance": gap}, proof)
    return HookedModel(model, tokenizer, hooks, booted)


def _load(checkpoint: Checkpoint, attention: str, *, device: str, dtype: str) -> tuple[Any, Any]:
    """The language model of a checkpoint and its tokenizer."""
    model, tokenizer = load(checkpoint, attention=attention or None, device=device, dtype=dtype)
    return text_part(model, attention or None), tokenizer


@torch.inference_mode()
def _compare(checkpoint: Checkpoint, bridge: Any, *, device: str, dtype: str) -> HookMap:
    """Map of the places where plain hooks hold what TransformerLens shows."""
    hooks = map_hooks(bridge)
    rows = probe(bridge.original_model, len(bridge.tokenizer))
    ids, mask = (t.to(bridge.original_model.device) for t in pad_ids(rows))
    names = list(hooks.places)
    _, cache = bridge.run_with_cache(ids, attention_mask=mask, names_filter=names)
    shown = {name: cache[name] for name in names if name in cache}
    del bridge, cache  # or two models are in memory at once
    best = hooks._replace(places={})
    for attention in ("", "eager"):
        model, _ = _load(checkpoint, attention, device=device, dtype=dtype)
        # where transformers computes q, k and v at once, TransformerLens has modules of its own
        paths = {path for path, _ in model.named_modules()}
        places = {name: place for name, place in hooks.places.items() if place[0] in paths}
        held = read_places(model, places, ids, mask)
        same = {}
        for name in shown.keys() & held.keys():
            if _is_same(held[name], shown[name], mask, name=name, tolerance=TOLERANCES[dtype]):
                same[name] = hooks.places[name]
        if len(same) > len(best.places):
            best = hooks._replace(places=same, attention=attention)
        if all(f"blocks.{i}.hook_out" in same for i in range(hooks.facts["n_layers"])):
            break
    return best


def _is_same(held: Any, shown: Any, mask: Tensor, *, name: str, tolerance: float) -> bool:
    """Whether two arrays are one, padding aside; heads may stand one behind the other."""
    if not isinstance(held, Tensor) or not isinstance(shown, Tensor):
        return False
    if is_heads(name) and held.numel() == shown.numel():
        held = held.reshape(shown.shape)
    if held.shape != shown.shape or held.shape[:2] != mask.shape:
        return False
    known = mask.bool()
    return torch.equal(held, shown) or distance(held[known], shown[known]) <= tolerance


@torch.inference_mode()
def _gap(model: Any, tokenizer: Any, places: dict[str, tuple[str, str]]) -> float:
    """Largest distance of what blocks give two rows, one of them padded, from each row alone."""
    rows = probe(model, len(tokenizer))
    ids, mask = (t.to(model.device) for t in pad_ids(rows))
    held = list(read_places(model, places, ids, mask).values())
    gaps = [0.0]
    for i, reference in enumerate(run_plain(model, rows)):
        # the last hidden state of transformers is after the final norm
        states = reference.hidden_states[1:-1]
        gaps += [distance(held[k][i, : len(rows[i])], state[0]) for k, state in enumerate(states)]
    return max(gaps)
