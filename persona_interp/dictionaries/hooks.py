"""Where in a model does a dictionary read? Hooks, their names in libraries, their neighbors.

Canonical names are those of TransformerLens 3 (``blocks.3.hook_out``). Its older names and the
module names of transformers mean the same places.
"""

import re
from typing import Any

from persona_interp.errors import ModelError, unknown

ALIASES = {
    "hook_resid_pre": "hook_in",
    "hook_resid_post": "hook_out",
    "hook_resid_mid": "ln2.hook_in",
    "hook_mlp_out": "mlp.hook_out",
    "hook_attn_out": "attn.hook_out",
    "mlp.hook_post": "mlp.out.hook_in",
    "attn.hook_z": "attn.o.hook_in",
}
"""Canonical name by older name of TransformerLens, within a block."""
SITES = {
    "": "hook_out",
    "mlp": "mlp.hook_out",
    "attn": "attn.hook_out",
    "self_attn": "attn.hook_out",
    "attention": "attn.hook_out",
}
"""Canonical name by module of transformers, within a block."""
MODULE = re.compile(r"(?:.*\.)?(?:layers|h|blocks)[._](\d+)(?:\.(\w+))?")
HOOK = re.compile(r"blocks\.(-?\d+)\.(.+)")
NEAR = 2
"""Blocks up to which another hook is a neighbor."""
PARTS = ("ln2.hook_in", "mlp.hook_out", "attn.hook_out")
"""Hooks within a block: the residual after attention, what the MLP and what attention add."""


def hook_name(place: str | int) -> str:
    """Canonical name of a hook, in whatever library its name was written.

    Args:
        place: A hook of TransformerLens, old or new name (``"blocks.3.hook_resid_post"``), a module
            of transformers (``"model.layers.3"``, its output) or the number of a block (its
            output).

    Returns:
        The canonical name of the hook.

    Raises:
        ModelError: No such place is known.

    >>> [hook_name(place) for place in ("blocks.3.hook_resid_post", "model.layers.3", 3)]
    ['blocks.3.hook_out', 'blocks.3.hook_out', 'blocks.3.hook_out']
    >>> hook_name("layers.3.mlp")
    'blocks.3.mlp.hook_out'
    """
    name = str(place)
    if name.lstrip("-").isdigit():
        return f"blocks.{name}.hook_out"
    if name in ("hook_embed", "embed.hook_out") or name.endswith("embed_tokens"):
        return "embed.hook_out"
    if (hook := HOOK.fullmatch(name)) and "hook" in hook[2]:
        return f"blocks.{hook[1]}.{ALIASES.get(hook[2], hook[2])}"
    if (module := MODULE.fullmatch(name)) and (module[2] or "") in SITES:
        return f"blocks.{module[1]}.{SITES[module[2] or '']}"
    valid = [f"blocks.3.{site}" for site in (*ALIASES.values(), *ALIASES)] + ["model.layers.3", "3"]
    raise ModelError(unknown("place of an SAE", name, valid))


def resolve_hook(bridge: Any, hook: str) -> str:
    """Canonical name of a hook in this model; where it has no such hook, the name as it is.

    Args:
        bridge: A booted model.
        hook: A hook name; a negative block counts from the end.

    Returns:
        The name.
    """
    match = HOOK.fullmatch(hook_name(hook))
    if match and int(match[1]) < 0:
        hook = f"blocks.{bridge.cfg.n_layers + int(match[1])}.{match[2]}"
    if hook in bridge.hook_dict:
        return bridge.hook_dict[hook].name
    return hook_name(hook)


def neighbors(bridge: Any, hook: str) -> list[str]:
    """Hooks that may be meant when a dictionary names this one by mistake.

    Args:
        bridge: A booted model.
        hook: Canonical name; its block may be one that the model does not have.

    Returns:
        Hooks of the residual's width, the nearest first: the same place up to two blocks away (of a
        block that does not exist, the nearest two), what enters block 0, and around the block
        itself the residual after attention and what attention and MLP add. Never the hook itself.
    """
    n_layers = bridge.cfg.n_layers
    match = HOOK.fullmatch(hook)
    block, site = (int(match[1]), match[2]) if match else (0, "hook_out")
    if block < 0:
        block += n_layers
    if site == "hook_in":  # what enters a block is what left the one before
        block, site = block - 1, "hook_out"
    block = min(max(block, -1), n_layers)

    blocks = range(block - NEAR, block + NEAR + 1)
    nearest = sorted(blocks, key=lambda other: (abs(other - block), other))
    candidates = [f"blocks.{other}.{site}" for other in nearest]
    candidates += [f"blocks.{other}.hook_out" for other in nearest]
    candidates += ["blocks.0.hook_in"]
    candidates += [f"blocks.{other}.{part}" for other in (block, block + 1) for part in PARTS]

    own_names = {hook}
    if site == "hook_out":
        own_names.add(f"blocks.{block}.hook_out")
    if block == -1:
        own_names.add("blocks.0.hook_in")
    distinct = dict.fromkeys(candidates)
    return [name for name in distinct if name in bridge.hook_dict and name not in own_names]
