"""Where in a model does a dictionary read? Hooks, their names in libraries, their neighbors.

Canonical names are those of TransformerLens 3 (``blocks.3.hook_out``). Its older names, the module
names of transformers and the words of other tools mean the same places.
"""

import re
from typing import Any

from persona_interp.errors import ModelError, unknown

ALIASES = {
    "hook_resid_pre": "hook_in",
    "hook_resid_post": "hook_out",
    "hook_resid_mid": "ln2.hook_in",
    "mlp.hook_post": "mlp.out.hook_in",
    "attn.hook_z": "attn.o.hook_in",
}
"""Canonical name by older name of TransformerLens, within a block.

``hook_mlp_out`` and ``hook_attn_out`` are missing: in models that norm once more before they add
(Gemma 2) they are behind that norm, so only the model can translate them.
"""
SITES = {
    **dict.fromkeys(("", "resid", "resid_post", "resid_out", "residual", "post"), "hook_out"),
    **dict.fromkeys(("residual_post", "residual_out", "residual_stream", "res"), "hook_out"),
    **dict.fromkeys(("resid_pre", "resid_in", "residual_pre", "input"), "hook_in"),
    "resid_mid": "ln2.hook_in",
    **dict.fromkeys(("mlp", "mlp_out"), "mlp.hook_out"),
    "post_feedforward_layernorm": "hook_mlp_out",
    **dict.fromkeys(("attn", "attn_out", "self_attn", "attention"), "attn.hook_out"),
}
"""Name within a block by module of transformers, or by word of another tool."""
STEMS = {"model", "base_model", "language_model", "text_model", "transformer", "gpt_neox"} | {
    "decoder",
    "backbone",
    "module",
    "",
}
"""Modules around the blocks of a language model; those of a vision tower are not among them."""
OF_MODEL = {
    "hook_mlp_out": ("mlp.hook_out", "ln2_post.hook_out"),
    "hook_attn_out": ("attn.hook_out", "ln1_post.hook_out"),
}
"""What a model may translate an older name to, within a block."""
EMBEDDINGS = re.compile(r"hook_embed|embed\.hook_out|(.+\.)?(embed_tokens|embed_in|wte)|embed")
HOOK = re.compile(r"blocks\.(-?\d{1,4})\.(.+)")
BLOCK = re.compile(r"(?:(.*?)[._/])?(?:layers?|blocks?|h|l)[._/]?\[?(\d{1,4})\]?(?:[._/](.*))?")
SHORT = re.compile(r"(resid|mlp|attn)_(\d{1,4})")
OUTPUT = re.compile(r"[./]?output(\.0|\[0\])?$")
NEAR = 2
"""Blocks up to which another hook is a neighbor."""
PARTS = ("ln2.hook_in", "mlp.hook_out", "attn.hook_out")
"""Hooks within a block: the residual after attention, what the MLP and what attention add."""


def hook_name(place: str | int) -> str:
    """Canonical name of a hook, in whatever library its name was written.

    Args:
        place: A hook of TransformerLens, old or new name (``"blocks.3.hook_resid_post"``), a module
            of transformers (``"model.layers.3"``, its output), the words of another tool
            (``"resid_post_layer_3"``) or the number of a block (its output).

    Returns:
        The canonical name of the hook.

    Raises:
        ModelError: No such place is known.

    >>> [hook_name(place) for place in ("blocks.3.hook_resid_post", "model.layers.3", 3)]
    ['blocks.3.hook_out', 'blocks.3.hook_out', 'blocks.3.hook_out']
    >>> hook_name("layers.3.mlp"), hook_name("resid_post_layer_3")
    ('blocks.3.mlp.hook_out', 'blocks.3.hook_out')
    """
    name = str(place).strip()
    if re.fullmatch(r"-?\d{1,4}", name):
        return f"blocks.{int(name)}.hook_out"
    if EMBEDDINGS.fullmatch(name):
        return "embed.hook_out"
    if (hook := HOOK.fullmatch(name)) and "hook" in hook[2]:
        return f"blocks.{hook[1]}.{ALIASES.get(hook[2], hook[2])}"
    block, site = _module(name)
    if site is None:
        valid = [f"blocks.3.{site}" for site in (*ALIASES.values(), *ALIASES)]
        valid += ["blocks.3.mlp.hook_out", "model.layers.3", "resid_post_layer_3", "3"]
        raise ModelError(unknown("place of an SAE", name, valid))
    return f"blocks.{block}.{site}"


def is_place(name: str) -> bool:
    """Whether a folder's name says which module its SAE reads; a bare number does not.

    Args:
        name: The name.

    Returns:
        True for ``"layers.3"``.

    >>> is_place("layers.3.mlp"), is_place("my_sae"), is_place("3")
    (True, False, False)
    """
    return bool(EMBEDDINGS.fullmatch(name)) or _module(name)[1] is not None


def _module(name: str) -> tuple[int, str | None]:
    """Block and site that a module's name or another tool's words mean; None for neither."""
    if short := SHORT.fullmatch(name):
        return int(short[2]), SITES[short[1]]
    match = BLOCK.fullmatch(OUTPUT.sub("", name))
    if match is None:
        return 0, None
    before, block, after = match[1] or "", int(match[2]), match[3] or ""
    if set(before.split(".")) <= STEMS:  # model.layers.3.mlp
        return block, SITES.get(after)
    return block, None if after else SITES.get(before)  # mlp_out_layer_3


def same_hook(one: str, other: str) -> bool:
    """Whether two names may mean one hook.

    Args:
        one: Canonical name of a hook in some model.
        other: Name of a hook.

    Returns:
        True where the second name is the first, or one that a model translates to it.

    >>> same_hook("blocks.1.ln2_post.hook_out", "blocks.1.hook_mlp_out")
    True
    """
    match = HOOK.fullmatch(other)
    sites = OF_MODEL.get(match[2], ()) if match else ()
    return one == other or any(match and one == f"blocks.{match[1]}.{site}" for site in sites)


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
