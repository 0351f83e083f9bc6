"""Which weights of a file does its model not use?

transformers leaves them aside, some without a word; a model without them computes something else
than the one that was saved. Only what does not touch the residual may be left.
"""

import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError, excerpt
from persona_interp.models.weight_files import Stored

HEADS = re.compile(
    r"^(\w+\.)?(v_head|value_head|reward_head|score|classifier|classification_head|qa_outputs)\."
)
"""Heads that read the last residual beside the language model's own."""
PREDICTORS = re.compile(r"(^|\.)mtp\.")
"""Blocks that predict tokens further ahead, from the last residual."""
SENSES = re.compile(
    r"(^|\.)(vision_tower|vision_model|visual|multi_modal_projector|audio_tower|talker|token2wav|"
    r"code2wav)\."
)
"""What turns images and sound into tokens, of which there are none here."""
BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|rotary_emb\.original_inv_freq|position_ids)$")
"""What a model computes from its configuration."""
MASKS = re.compile(r"\.att(?:n|ention)(?:\.attention)?\.(bias|masked_bias)$")
"""Masks of attention; biases of the same name are vectors."""
PREFIXES = {
    "_orig_mod.": "torch.compile wrote it: save model._orig_mod",
    "module.": "a parallel wrapper wrote it: save model.module",
    "base_model.model.": "PEFT wrote it: save model.merge_and_unload(), or the adapter alone",
    "model.model.": "a wrapper wrote it: save the causal language model inside it",
}
"""Beginnings that wrappers put before names, and what to save instead."""
INSIDE = re.compile(r"\.(lora_\w+|base_layer|ia3_l|hada_\w+|lokr_\w+|vera_lambda_\w+)(\.|$)")
"""Names of adapters' weights."""


def check_unused(
    folder: Path, model: Any, stored: Mapping[str, Stored], info: Mapping[str, Any]
) -> None:
    """Refuse a model that does not use all weights of its files; warn of idle heads.

    Args:
        folder: Where the files are.
        model: The model that was loaded from them.
        stored: What the files hold.
        info: What transformers says about the loading.

    Raises:
        ModelError: A weight that computes something has no place in the model; the first is named.
    """
    unused = unused_weights(model, stored, unexpected=info["unexpected_keys"])
    idle = [name for name in unused if is_idle(name, stored.get(name), model.config)]
    surplus = [name for name in unused if name not in idle]
    if surplus:
        kind = model.config.model_type
        raise ModelError(
            f"{folder} holds {len(surplus)} weights that a {kind} of its config.json does not use, "
            f"first {excerpt(surplus[0])}; without them it computes something else. "
            f"{_fix(surplus[0])}"
        )
    heads = [name for name in idle if not _is_computed(name, stored.get(name))]
    if heads:
        warnings.warn(
            f"{folder} holds {len(heads)} weights beside the language model, first {heads[0]}; "
            "they do not touch its residual and are left aside.",
            stacklevel=2,
        )


def unused_weights(
    model: Any, stored: Mapping[str, Stored], *, unexpected: Collection[str]
) -> list[str]:
    """Stored weights that a model does not use.

    Args:
        model: The model that was loaded.
        stored: What its files hold.
        unexpected: Those that transformers admits; the ones it is told to keep quiet about are
            looked for here.

    Returns:
        Their names, sorted.
    """
    patterns = [*(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())]
    patterns += [r"rotary_emb\.inv_freq", r"(^|\.)position_ids$"]
    hidden = [name for name in stored if any(re.search(pattern, name) for pattern in patterns)]
    own = set(model.state_dict())
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    known = {*own, *(name.removeprefix(prefix) for name in own)}
    silent = [name for name in hidden if name.removeprefix(prefix) not in known]
    return sorted({*unexpected, *silent}, key=_natural)


def is_idle(name: str, stored: Stored | None, config: Any = None) -> bool:
    """Whether a weight of this name does not touch the residual of a language model.

    Args:
        name: Its name in the file.
        stored: What is stored; None where the file's name is another.
        config: Configuration of the model, which may have blocks beyond its own.

    Returns:
        Whether it is a head, a part that reads images or sound, or something computed.
    """
    is_beside = HEADS.match(name) or PREDICTORS.search(name) or SENSES.search(name)
    return bool(is_beside) or _is_computed(name, stored) or _is_predictor(name, config)


def idle_heads(stored: Mapping[str, Stored]) -> list[str]:
    """Stored weights of heads, which read the last residual and touch none.

    Args:
        stored: What a model's files hold.

    Returns:
        Their names.

    >>> idle_heads(dict.fromkeys(["v_head.summary.weight", "lm_head.weight"], Stored("F32", (8,))))
    ['v_head.summary.weight']
    """
    return [name for name in stored if HEADS.match(name) or PREDICTORS.search(name)]


def _is_computed(name: str, stored: Stored | None) -> bool:
    """Whether a model computes this itself."""
    if BUFFERS.search(name):
        return True
    return bool(MASKS.search(name)) and stored is not None and len(stored.shape) != 1


def _is_predictor(name: str, config: Any) -> bool:
    """Whether this belongs to the blocks after the last that predict further ahead."""
    block = re.search(r"\.layers\.(\d{1,6})\.", name)
    ahead = getattr(config, "num_nextn_predict_layers", None) or 0
    last = getattr(config, "num_hidden_layers", None) or 0
    return block is not None and last <= int(block[1]) < last + ahead


def _fix(name: str) -> str:
    """What to do about a weight without a place."""
    for prefix, fix in PREFIXES.items():
        if name.startswith(prefix):
            return f"Its name begins with '{prefix}': {fix}."
    if INSIDE.search(name):
        return (
            "It is an adapter's: save the model after merge_and_unload(), or the adapter in a "
            "folder of its own."
        )
    if name.endswith(".bias"):
        return (
            "The configuration says that this layer has no bias (attention_bias, mlp_bias and the "
            "like); save the configuration of the model that was trained."
        )
    return "Save the model and its configuration together again."


def _natural(name: str) -> list[tuple[int, str]]:
    """Order in which block 2 stands before block 10."""
    return [
        (int(part[:9]), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
