"""Where in a model does a dictionary read? Names of hooks in several libraries, and which hooks are near."""

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
SITES = {
    "": "hook_out",
    "mlp": "mlp.hook_out",
    "attn": "attn.hook_out",
    "self_attn": "attn.hook_out",
}
SITES |= {"attention": "attn.hook_out"}
MODULE = re.compile(r"(?:.*\.)?(?:layers|h|blocks)[._](\d+)(?:\.(\w+))?")
NEAR = 2  # blocks
HOOK = re.compile(r"blocks\.(-?\d+)\.(.+)")


def hook_name(place: str | int) -> str:
    """Which hook does this name mean, in whatever library it was written?

    Args:
        place: A hook of TransformerLens, old or new name (``"blocks.3.hook_resid_post"``), a module
            of transformers (``"model.layers.3"``, its output) or the number of a block (its
            output).

    Returns:
        The canonical name of the hook.

    Raises:
        ModelError: No such place is known.

    >>> hook_name("blocks.3.hook_resid_post"), hook_name("model.layers.3"), hook_name(3), hook_name("layers.3.mlp")
    ('blocks.3.hook_out', 'blocks.3.hook_out', 'blocks.3.hook_out', 'blocks.3.mlp.hook_out')
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


def located(bridge: Any, hook: str) -> str:
    """Where in this model is this hook, if it has it?

    Args:
        bridge: A booted model.
        hook: A hook name; a negative block counts from the end.

    Returns:
        The canonical name; where the model has no such hook, the name as it is.
    """
    place = HOOK.fullmatch(hook_name(hook))
    if place and int(place[1]) < 0:
        hook = f"blocks.{bridge.cfg.n_layers + int(place[1])}.{place[2]}"
    return bridge.hook_dict[hook].name if hook in bridge.hook_dict else hook_name(hook)


def neighbors(bridge: Any, hook: str) -> list[str]:
    """Which hooks may be meant when a dictionary names this one by mistake?

    Args:
        bridge: A booted model.
        hook: Canonical name; its block may be one that the model does not have.

    Returns:
        Hooks of the residual's width, the nearest first: the same place up to two blocks away (of a
        block that does not exist, the nearest two), what enters block 0, and around the block
        itself the residual after attention and what attention and MLP add. Never the hook itself.
    """
    place = HOOK.fullmatch(hook)
    n, block, site = (
        bridge.cfg.n_layers,
        int(place[1]) if place else 0,
        place[2] if place else "hook_out",
    )
    block = n + block if block < 0 else block
    site, block = (
        ("hook_out", block - 1) if site == "hook_in" else (site, block)
    )  # the same residual
    block = min(max(block, -1), n)
    around = sorted(
        range(block - NEAR, block + NEAR + 1), key=lambda other: (abs(other - block), other)
    )
    found = [f"blocks.{other}.{site}" for other in around]
    found += [f"blocks.{other}.hook_out" for other in around]
    found += ["blocks.0.hook_in"]
    found += [
        f"blocks.{near}.{part}"
        for near in (block, block + 1)
        for part in ("ln2.hook_in", "mlp.hook_out", "attn.hook_out")
    ]
    same = {hook, f"blocks.{block}.hook_out"} if site == "hook_out" else {hook}
    if block == -1:
        same |= {"blocks.0.hook_in"}
    return [name for name in dict.fromkeys(found) if name in bridge.hook_dict and name not in same]
