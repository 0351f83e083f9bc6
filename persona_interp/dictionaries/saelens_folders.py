"""What does a folder of SAELens hold? Its settings and weights, checked before SAELens sees them.

SAELens assumes a value where a setting is missing or has a name it does not know (k = 100, ReLU),
and leaves out what it has no place for. What would change an answer so is refused here by name.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from persona_interp.dictionaries.foreign import Converted
from persona_interp.dictionaries.settings import check_k, check_kinds, check_size, read_settings
from persona_interp.dictionaries.weight_files import check_shapes, read_weights
from persona_interp.errors import ModelError, excerpt

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
SCALER = "activation_scaler.json"
METADATA = {
    **dict.fromkeys(("hook_name", "hook_point", "hook_name_out"), (str,)),
    **dict.fromkeys(("model_name", "neuronpedia_id", "dtype", "sae_lens_version"), (str,)),
    **dict.fromkeys(("hook_layer", "hook_point_layer"), (int,)),
    **dict.fromkeys(("hook_head_index", "hook_point_head_index"), (int,)),
    "prepend_bos": (bool,),
    "model_from_pretrained_kwargs": (dict,),
    "l0": (float,),
}
"""Fields of the metadata that are read; older folders have them among the settings."""
SETTINGS = METADATA | {
    **dict.fromkeys(("architecture", "activation_fn", "activation_fn_str"), (str,)),
    **dict.fromkeys(("d_in", "d_sae"), (int,)),
    **dict.fromkeys(("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"), (bool,)),
    "normalize_activations": (str, bool),
    "reshape_activations": (str,),
    "k": (float,),
    "activation_fn_kwargs": (dict,),
    "decoder_init_norm": (float,),
    "finetuning_scaling_factor": (bool,),
    "metadata": (dict,),
}
"""Fields of the settings that decide what is answered."""
ACTIVATIONS = ("relu", "topk", None)
"""Activations that SAELens knows of older folders; it takes any other for ReLU."""


def from_saelens(folder: Path) -> Converted:
    """Read an SAE in a folder of SAELens, of a finished SAE or of one still in training.

    Args:
        folder: It holds ``cfg.json`` and ``sae_weights.safetensors``.

    Returns:
        The SAE, its configuration as the folder states it.

    Raises:
        ModelError: A file cannot be read, is of another SAE, or holds what would change the answers
            and be left out.
    """
    path, file = folder / CONFIG, folder / WEIGHTS
    settings = read_settings(path, SETTINGS)
    metadata = settings.get("metadata") or {}
    check_kinds(path, metadata, METADATA)
    # older folders have the keys of the metadata among the settings
    flat = {**settings, **{key: value for key, value in metadata.items() if value is not None}}
    architecture = settings.get("architecture") or "standard"
    refuse_transcoder(architecture, folder)
    weights, stored = read_weights(file)
    _check_settings(path, flat, architecture, file, weights)
    scale = weights.pop("scaling_factor", None)
    if scale is not None and not bool((scale == 1).all()):
        raise ModelError(
            f"{file} holds scaling_factor, factors of a finetuning that SAELens has given up: they "
            "would be left out in silence. Fold them into W_dec and remove them."
        )
    config = {**settings, "dtype": "float32", "device": "cpu", "finetuning_scaling_factor": False}
    facts = {
        "layout": f"SAELens {architecture}",
        "stored": stored,
        "declared": str(settings.get("dtype") or "float32").removeprefix("torch."),
        **_facts(flat, metadata),
        **_scaler(folder / SCALER),
    }
    return Converted(config, weights, _place(flat), facts)


def refuse_transcoder(architecture: str, source: object) -> None:
    """Refuse what rebuilds another residual than it reads.

    Args:
        architecture: Of SAELens.
        source: For the message.

    Raises:
        ModelError: It is a transcoder, or sees a whole text at once.
    """
    if "transcoder" in architecture or architecture == "temporal":
        raise ModelError(
            f"{source} is a {excerpt(architecture)[1:-1]} SAE: it does not rebuild the residual it "
            "reads. Use an SAE."
        )


def _check_settings(
    path: Path,
    flat: Mapping[str, Any],
    architecture: str,
    file: Path,
    weights: Mapping[str, Tensor],
) -> None:
    """Refuse settings that the weights do not have, or that would be left out."""
    d_in, d_sae = check_shapes(file, weights)
    check_size(path, flat, "d_in", d_in)
    check_size(path, flat, "d_sae", d_sae)
    activation = flat.get("activation_fn") or flat.get("activation_fn_str")
    if activation not in ACTIVATIONS:
        raise ModelError(f"{path}: activation {excerpt(activation)} is unknown; use relu or topk.")
    if architecture in ("topk", "abstopk") or activation == "topk":
        kwargs = flat.get("activation_fn_kwargs") or {}
        check_k(path, kwargs.get("k") if flat.get("k") is None else flat["k"], d_sae)
    refuse_one_head(flat, path)
    if {"threshold", "log_threshold"} <= weights.keys():
        raise ModelError(f"{file} holds both threshold and log_threshold; keep one.")
    if "topk_threshold" in weights and float(weights["topk_threshold"]) <= 0:
        raise ModelError(
            f"{file}: topk_threshold is {float(weights['topk_threshold']):g}, its value before "
            "training: every feature above 0 would count. Take a later checkpoint."
        )


def refuse_one_head(flat: Mapping[str, Any], source: object) -> None:
    """Refuse an SAE that reads one attention head alone.

    Args:
        flat: Its settings and metadata.
        source: For the message.

    Raises:
        ModelError: It names a head.
    """
    for key in ("hook_head_index", "hook_point_head_index"):
        if flat.get(key) is not None:
            raise ModelError(
                f"{source} is an SAE of head {excerpt(flat[key])} alone ({key}), which cannot be "
                "read here. Use one of all heads of a layer (attn.hook_z), or of hook_resid_post, "
                "hook_attn_out or hook_mlp_out."
            )


def _place(flat: Mapping[str, Any]) -> str:
    """Where the SAE reads; "" where its settings name two blocks, between which they cannot say."""
    place = flat.get("hook_name") or flat.get("hook_point") or ""
    layer = flat.get("hook_layer", flat.get("hook_point_layer"))
    if layer is None:
        return place
    # older folders leave a place for the number of the layer
    place = place.replace("{layer}", str(layer))
    named = re.match(r"blocks\.(\d{1,6})\.", place)
    return "" if named is not None and int(named[1]) != layer else place


def _facts(flat: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder says: only what is written there, nothing that SAELens would assume."""
    facts: dict[str, Any] = {}
    loading = metadata.get("model_from_pretrained_kwargs") or {}
    dtype = metadata.get("dtype") or loading.get("dtype") or loading.get("torch_dtype")
    if dtype:
        facts["metadata"] = str(dtype).removeprefix("torch.")
    for key in ("l0", "prepend_bos", "normalize_activations", "neuronpedia_id", "model_name", "k"):
        if flat.get(key) is not None:
            facts[key] = flat[key]
    if "k" in facts:
        facts.setdefault("l0", float(facts["k"]))
    return facts


def _scaler(path: Path) -> dict[str, Any]:
    """Factor of the training's residuals, where its file is there."""
    if not path.is_file():
        return {}
    factor = read_settings(path, {"scaling_factor": (float,)}).get("scaling_factor")
    if factor is not None and not factor > 0:
        raise ModelError(f"{path}: 'scaling_factor' must be a number above 0; got {factor}.")
    return {"scaling_factor": factor}
