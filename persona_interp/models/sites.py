"""Where in a model may one read? The places that hold one vector a token, and all their names.

Canonical names are those of TransformerLens 3 (``blocks.3.hook_out``). Its older names, the module
names of transformers and the words of other tools mean the same places. A place is one of

=====================  =========================  ==============================================
older name             module of transformers     what it holds
=====================  =========================  ==============================================
``hook_resid_pre``     input of ``layers.3``      residual that enters the block
``hook_resid_mid``     -                          residual between attention and MLP
``hook_resid_post``    ``layers.3``               residual that leaves the block
``hook_attn_out``      ``layers.3.self_attn``     what attention adds to the residual
``hook_mlp_out``       ``layers.3.mlp``           what the MLP adds
``mlp.hook_post``      input of ``down_proj``     hidden layer of the MLP
``attn.hook_z``        input of ``o_proj``        heads, before they are mixed
=====================  =========================  ==============================================

In models that norm once more before they add (Gemma 2) the two ``out`` are behind that norm, and a
module's name means the module.
"""

import re
from collections.abc import Callable
from typing import Any, NoReturn

from persona_interp.errors import ModelError, excerpt, unknown

MID = "hook_resid_mid"
HIDDEN = "mlp.hook_post"
HEADS, HEADS_BEFORE = "attn.o.hook_in", "attn.hook_z"
"""What heads have read, before it is mixed, dims (head, d_head); and its older name."""
ALIASES = {
    "hook_resid_pre": "hook_in",
    "hook_resid_post": "hook_out",
    HIDDEN: "mlp.out.hook_in",
    HEADS_BEFORE: HEADS,
}
"""Canonical name by older name of TransformerLens, within a block.

``hook_resid_mid``, ``hook_attn_out`` and ``hook_mlp_out`` are missing: which norm stands before or
behind them depends on the family (Gemma 2, OLMo 2), so only the model can translate them.
"""
SITES = {
    **dict.fromkeys(("", "resid", "resid_post", "resid_out", "residual", "post"), "hook_out"),
    **dict.fromkeys(("residual_post", "residual_out", "residual_stream", "res"), "hook_out"),
    **dict.fromkeys(("resid_pre", "resid_in", "residual_pre", "input"), "hook_in"),
    "resid_mid": MID,
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
EMBEDDINGS = re.compile(r"hook_embed|embed\.hook_out|(.+\.)?(embed_tokens|embed_in|wte)|embed")
HOOK = re.compile(r"blocks\.(-?\d{1,4})\.(.+)")
BLOCK = re.compile(r"(?:(.*?)[._/])?(?:layers?|blocks?|h|l)[._/]?\[?(\d{1,4})\]?(?:[._/](.*))?")
SHORT = re.compile(r"(resid|mlp|attn)_(\d{1,4})")
EMBEDDING = "blocks.0.hook_in"
OUTPUT = re.compile(r"[./]?output(\.0|\[0\])?$")


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
        valid = [f"blocks.3.{site}" for site in (*ALIASES.values(), *ALIASES, MID)]
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


def canonical(bridge: Any, hook: str) -> str:
    """Canonical name of a hook of this model.

    Args:
        bridge: A booted model.
        hook: A hook of TransformerLens, old or new name, a module of transformers
            (``"model.layers.3.mlp"``, its output) or the words of another tool; a negative block
            counts from the end ("blocks.-1.hook_out").

    Returns:
        The canonical name.

    Raises:
        ModelError: There is none; the message names the nearest, or what can be read instead.
    """
    if not isinstance(hook, str):
        raise ModelError(f"a hook is a name such as 'blocks.3.hook_out'; got {excerpt(hook)}.")
    if from_end := re.match(r"blocks\.(-\d{1,6})\.", hook):
        block = bridge.cfg.n_layers + int(from_end[1])
        hook = hook.replace(from_end[1], str(block), 1)
    points = bridge.hook_dict  # made anew whenever it is asked for
    name = hook if hook in points else _translate(bridge, hook)
    if name not in points:
        _refuse(bridge, hook, name)
    if name.endswith(f".{MID}") and not _has_middle(bridge):
        _refuse(bridge, hook, name)
    point = points[name].name
    # a mixture of experts has no hidden layer that all tokens share; the alias is its output there
    if name.endswith(HIDDEN) and not point.endswith(ALIASES[HIDDEN]):
        raise ModelError(
            f"'{hook}' does not exist in this model: its MLP is a mixture of experts, whose hidden "
            f"layers are not the same for all tokens. Read {point}."
        )
    return point


def older_names(bridge: Any, hook: str) -> list[str]:
    """Other names that a hook has in this model.

    Args:
        bridge: A booted model.
        hook: Its canonical name.

    Returns:
        The names.
    """
    return [name for name, point in bridge.hook_dict.items() if point.name == hook != name]


def middle_of(bridge: Any, hook: str) -> int | None:
    """Block whose residual between attention and MLP a hook holds.

    Args:
        bridge: A booted model.
        hook: Canonical name.

    Returns:
        Number of the block; None where the hook holds something else.
    """
    if not _has_middle(bridge):
        return None
    block = HOOK.fullmatch(hook)
    point = bridge.hook_dict.get(f"blocks.{block[1]}.{MID}") if block else None
    return int(block[1]) if block and point is not None and point.name == hook else None


def changing_hooks(
    bridge: Any, name: str, change: Callable[[Any, Any], Any]
) -> list[tuple[str, Callable[[Any, Any], Any]]]:
    """Hooks that let a change of what a hook holds reach all that comes after it.

    No module holds the residual between attention and MLP: the hook there is what the norm before
    the MLP reads, and past that norm the residual goes on unchanged. So what attention adds is
    changed by as much.

    Args:
        bridge: A booted model.
        name: Canonical name of the hook.
        change: From what it holds, and its hook point, to what it shall hold.

    Returns:
        Names and functions, as TransformerLens takes them.
    """
    block = middle_of(bridge, name)
    if block is None:
        return [(name, change)]
    before: list[Any] = []

    def enter(acts: Any, hook: Any) -> Any:
        # a clone, since the model may write into its residual later
        before[:] = [acts.clone()]
        return acts

    def leave(added: Any, hook: Any) -> Any:
        residual = before.pop().reshape(added.shape) + added
        return added + (change(residual, hook) - residual)

    names = [canonical(bridge, f"blocks.{block}.{site}") for site in ("hook_in", "hook_attn_out")]
    return list(zip(names, (enter, leave), strict=True))


def hidden_state(hook: str) -> int:
    """Entry of transformers' ``hidden_states`` that is the residual at this hook.

    Args:
        hook: Canonical hook name.

    Returns:
        The output of block i is entry i + 1, its input entry i; -1 for hooks that are no entry.
        (The last entry of transformers is after the final norm, the hook before it.)

    >>> hidden_state("blocks.3.hook_out"), hidden_state("blocks.3.hook_in")
    (4, 3)
    >>> hidden_state("blocks.3.mlp.hook_out")
    -1
    """
    block = HOOK.fullmatch(hook)
    if block is None or block[2] not in ("hook_in", "hook_out"):
        return -1
    return int(block[1]) + (block[2] == "hook_out")


def block_of(hook: str) -> int:
    """Number of the block whose output this hook is.

    Args:
        hook: Hook name, canonical or by its alias ``hook_resid_post``.

    Returns:
        Number of the block; -1 for the embedding (``blocks.0.hook_in``).

    Raises:
        ModelError: It is not the output of a block.

    >>> block_of("blocks.3.hook_out")
    3
    """
    if hook == EMBEDDING:
        return -1
    block = HOOK.fullmatch(hook)
    site = ALIASES.get(block[2], block[2]) if block else ""
    if block is None or site != "hook_out" or int(block[1]) < 0:
        raise ModelError(
            f"'{hook}' is not the output of a block, which is what these files hold; see "
            "blocks.0.hook_out."
        )
    return int(block[1])


def is_heads(hook: str) -> bool:
    """Whether a hook holds heads, dims (head, d_head), which are read as one vector a token.

    Args:
        hook: Canonical name.

    Returns:
        True for ``"blocks.3.attn.o.hook_in"``.

    >>> is_heads("blocks.3.attn.o.hook_in"), is_heads("blocks.3.hook_out")
    (True, False)
    """
    return hook.endswith(f".{HEADS}")


def modules_by_path(bridge: Any) -> dict[str, Any]:
    """Modules of TransformerLens by the path of the module of transformers that each stands for.

    Args:
        bridge: A booted model.

    Returns:
        Modules that have a hook at their output.
    """
    modules: dict[str, Any] = {}
    for path, module in bridge.original_model.named_modules():
        # TransformerLens puts a module of its own around each of the model's
        if hasattr(module, "hook_out"):
            modules.setdefault(path.replace("._original_component", ""), module)
    return modules


def _translate(bridge: Any, hook: str) -> str:
    """Name of this hook in the model, where it is the name of a module or another tool's words."""
    outputs = getattr(bridge, "module_hooks", None)
    if outputs is None:
        outputs = {path: module.hook_out.name for path, module in modules_by_path(bridge).items()}
    if hook in outputs:
        return outputs[hook]
    try:
        return hook_name(hook)
    except ModelError:
        return hook


def _has_middle(bridge: Any) -> bool:
    """Whether ``hook_resid_mid`` is what its name says, as ``boot`` has found."""
    return getattr(bridge, "has_middle", True)


def _refuse(bridge: Any, hook: str, name: str) -> NoReturn:
    """Say that there is no such hook, and what can be read instead."""
    block = HOOK.fullmatch(name)
    if block and block[2] == MID and 0 <= int(block[1]) < bridge.cfg.n_layers:
        parts = ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post")
        cause = "attention and MLP of a block read the same residual, so that none is between them"
        if name in bridge.hook_dict:
            cause = "what has this name there is not what enters the block plus what attention adds"
        raise ModelError(
            f"'{hook}' does not exist in this model: {cause}. Read one of "
            f"{', '.join(f'blocks.{block[1]}.{part}' for part in parts)}."
        )
    valid = [key for key, point in bridge.hook_dict.items() if key == point.name]
    raise ModelError(unknown("hook", hook, valid))
