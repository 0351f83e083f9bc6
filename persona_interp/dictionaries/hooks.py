"""Which hooks may a dictionary mean, in this model?"""

from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.sites import HOOK, MID, canonical, hook_name

NEAR = 2
"""Blocks up to which another hook is a neighbor."""
PARTS = (MID, "mlp.hook_out", "attn.hook_out")
"""Hooks within a block: the residual after attention, what the MLP and what attention add."""


def resolve_hook(bridge: Any, hook: str) -> str:
    """Canonical name of a hook in this model; where it has no such hook, the name as it is.

    Args:
        bridge: A booted model.
        hook: A hook name; a negative block counts from the end.

    Returns:
        The name.
    """
    try:
        return canonical(bridge, hook)
    except ModelError:
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
    points = bridge.hook_dict
    # the residual after attention has its canonical name from the model alone
    distinct = dict.fromkeys(points[name].name for name in candidates if name in points)
    return [name for name in distinct if name not in own_names]
