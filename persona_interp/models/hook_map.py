"""Which module of transformers holds what a hook of TransformerLens shows? Found once, then kept.

TransformerLens says what the places of a family are called. Each of its hooks stands at the input
or output of a module of transformers, so that a plain hook there reads the same numbers, and at the
speed of the forward pass. The map is kept in the cache: by architecture, dtype, kind of device and
versions of the libraries, never by what a model is called.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from persona_interp.models.cache import cache, read_kept, short_hash
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.configuration import read_configuration
from persona_interp.models.sites import modules_by_path
from persona_interp.models.weight_files import stored_weights, weight_files

FORM = 1
"""Counts up whenever maps of earlier versions of this package cannot be used."""
LIBRARIES = ("torch", "transformers", "transformer-lens")
INPUT, OUTPUT = "input", "output"
ASIDE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
"""Entries of a configuration that change no computation."""


class HookMap(NamedTuple):
    """Hooks of an architecture, and where transformers holds the same.

    Attributes:
        names: Canonical name by every name.
        modules: Canonical name of its output by path of a module.
        places: Path of a module and "input" or "output", by canonical name; those alone that hold
            the same numbers as the hook.
        facts: ``n_layers``, ``n_heads``, ``d_model`` and ``has_middle``, as of a booted model.
        attention: Attention implementation that was compared; "" for the family's own choice.
    """

    names: dict[str, str]
    modules: dict[str, str]
    places: dict[str, tuple[str, str]]
    facts: dict[str, int]
    attention: str


def map_hooks(bridge: Any) -> HookMap:
    """Map of a booted model's hooks, as its modules are nested; nothing is compared yet.

    Args:
        bridge: A booted model.

    Returns:
        The map.
    """
    names = {name: point.name for name, point in bridge.hook_dict.items()}
    canonical = set(names.values())
    modules = modules_by_path(bridge)
    places: dict[str, tuple[str, str]] = {}
    for path, module in modules.items():
        for side in (INPUT, OUTPUT):
            point = getattr(module, "hook_in" if side == INPUT else "hook_out", None)
            if point is not None and point.name in canonical:
                places[point.name] = (path, side)
    facts = {name: int(getattr(bridge.cfg, name)) for name in ("n_layers", "n_heads", "d_model")}
    facts["has_middle"] = int(bridge.has_middle)
    outputs = {path: module.hook_out.name for path, module in modules.items()}
    return HookMap(names, outputs, places, facts, "")


def map_file(checkpoint: Checkpoint, *, device: str, dtype: str) -> Path:
    """File of the map of a checkpoint's architecture.

    Args:
        checkpoint: Where the weights are.
        device: Where it computes.
        dtype: What it computes in.

    Returns:
        Its place in the cache, whether it is there or not.
    """
    configuration = read_configuration(checkpoint.path)
    stored = stored_weights(weight_files(checkpoint.path))
    key = {
        "form": FORM,
        "configuration": {k: v for k, v in configuration.items() if k not in ASIDE},
        "shapes": {name: one.shape for name, one in stored.items()},
        "device": torch.device(device).type,
        "dtype": dtype,
        "versions": {name: version(name) for name in LIBRARIES},
    }
    return cache() / "hooks" / short_hash(key) / "map.json"


def read_map(file: Path) -> HookMap | None:
    """Map that was kept.

    Args:
        file: Its file.

    Returns:
        The map; None where there is none, or not as it was written.
    """
    content = read_kept(file)
    if content is None:
        return None
    places = {name: (path, side) for name, (path, side) in content["places"].items()}
    return HookMap(**{**content, "places": places})
