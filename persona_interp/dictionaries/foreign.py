"""How do SAEs that other libraries wrote become SAELens modules?

Two layouts are converted, from their documented state dicts and without their code:
dictionary_learning (``ae.pt`` and ``config.json``) and sparsify (``sae.safetensors`` and
``cfg.json``). The conventions that silently differ are these.

| class | subtracts its decoder bias before encoding | active where |
|---|---|---|
| AutoEncoder | yes (``bias``) | pre > 0 |
| AutoEncoderNew | no | pre > 0 |
| GatedAutoEncoder | yes (``decoder_bias``) | gate > 0, magnitude from its own bias |
| JumpReluAutoEncoder | no | pre > threshold, one a feature |
| AutoEncoderTopK, sparsify | yes | among the k largest, and > 0 |
| BatchTopKSAE, MatryoshkaBatchTopKSAE | yes | pre > one threshold |

A ``torch.nn.Linear`` stores its weight as (out, in): encoder and decoder weights of that kind are
transposed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from persona_interp.dictionaries.hooks import MODULE, hook_name
from persona_interp.errors import ModelError, unknown

ARCHITECTURES = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
}
"""Architecture of SAELens by class of dictionary_learning."""
DECODER_BIAS = {
    "AutoEncoder": "bias",
    "AutoEncoderNew": "decoder.bias",
    "GatedAutoEncoder": "decoder_bias",
}
"""Name of the decoder bias by class of dictionary_learning; "b_dec" of all others."""
RAW_INPUT = ("AutoEncoderNew", "JumpReluAutoEncoder")
"""Classes that encode without subtracting the decoder bias."""
PLAIN_SPARSIFY = {
    "transcode": False,
    "skip_connection": False,
    "signed": False,
    "activation": "topk",
}
"""Settings of sparsify under which its SAE is an autoencoder of one residual."""


class Converted(NamedTuple):
    """An SAE as SAELens takes it.

    Attributes:
        config: Configuration of the SAELens inference class, ``architecture`` included.
        weights: Its state dict, float32.
        hook: Where its folder says it reads; "" where it does not say.
        facts: What the folder said that SAELens has no place for.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    hook: str
    facts: dict[str, Any]


def from_dictionary_learning(folder: Path) -> Converted:
    """Convert the SAE in a folder of dictionary_learning.

    Args:
        folder: It holds ``ae.pt`` and ``config.json``.

    Returns:
        The SAE, features of an ``AutoEncoder`` with decoder rows of norm 1, as its own library
        loads it.

    Raises:
        ModelError: A class that is not known, weights missing, or a file that holds more than
            tensors.
    """
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    kind = trainer.get("dict_class", "")
    if kind not in ARCHITECTURES:
        raise ModelError(f"{folder}: {unknown('dict_class', kind, ARCHITECTURES)}")
    state = _load_pt(folder / "ae.pt")
    old = {key: value.float() for key, value in state.items()}
    try:
        weights = _rename_weights(kind, old)
    except KeyError as error:
        raise ModelError(
            f"{folder / 'ae.pt'} lacks {error} of an {kind}; it has {', '.join(sorted(old))}."
        ) from error
    if kind in ("AutoEncoder", "AutoEncoderNew"):
        weights |= _unit_decoder(weights)
    config = _config(ARCHITECTURES[kind], weights, raw=kind in RAW_INPUT)
    if ARCHITECTURES[kind] == "topk":
        config["k"] = int(old["k"] if "k" in old else trainer["k"])
    facts: dict[str, Any] = {"layout": f"dictionary_learning {kind}", "stored": _dtypes(state)}
    if "k" in trainer:
        facts["l0"] = float(trainer["k"])
    facts["model_name"] = str(trainer.get("lm_name", ""))
    place = trainer.get("submodule_name") or trainer.get("layer")
    hook = ""
    if place is not None and str(place):
        hook = hook_name(place)
    return Converted(config, weights, hook, facts)


def _rename_weights(kind: str, old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of SAELens from one of dictionary_learning; KeyError for a weight it lacks."""
    architecture = ARCHITECTURES[kind]
    if "encoder.weight" in old:  # torch.nn.Linear: (out, in)
        encoder, decoder = old["encoder.weight"].T, old["decoder.weight"].T
    else:
        encoder, decoder = old["W_enc"], old["W_dec"]
    new = {"W_enc": encoder, "W_dec": decoder, "b_dec": old[DECODER_BIAS.get(kind, "b_dec")]}
    if architecture == "gated":
        return new | {"b_gate": old["gate_bias"], "b_mag": old["mag_bias"], "r_mag": old["r_mag"]}
    new["b_enc"] = old["encoder.bias" if "encoder.weight" in old else "b_enc"]
    if architecture == "jumprelu":
        new["threshold"] = old["threshold"].expand_as(new["b_enc"]).clone()
    return new


def _unit_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with decoder rows of norm 1 that answer the same: activations grow by the norms."""
    norms = weights["W_dec"].norm(dim=1)
    return {
        "W_dec": weights["W_dec"] / norms[:, None],
        "W_enc": weights["W_enc"] * norms,
        "b_enc": weights["b_enc"] * norms,
    }


def from_sparsify(folder: Path) -> Converted:
    """Convert the SAE in a folder of sparsify.

    Args:
        folder: It holds ``sae.safetensors`` and ``cfg.json``; its own name is the module,
            ``layers.3``.

    Returns:
        The SAE.

    Raises:
        ModelError: It is a transcoder, ranks by groups or sign, or lacks weights.
    """
    config = json.loads((folder / "cfg.json").read_text())
    for key, plain in PLAIN_SPARSIFY.items():
        if config.get(key, plain) != plain:
            raise ModelError(
                f"{folder}: {key}={config[key]} is no autoencoder of one residual; expected "
                f"{key}={plain}."
            )
    old = load_file(folder / "sae.safetensors")
    try:
        weights = {
            "W_enc": old["encoder.weight"].float().T,
            "W_dec": old["W_dec"].float(),
            "b_enc": old["encoder.bias"].float(),
            "b_dec": old["b_dec"].float(),
        }
    except KeyError as error:
        raise ModelError(
            f"{folder / 'sae.safetensors'} lacks {error}; it has {', '.join(sorted(old))}."
        ) from error
    facts = {"layout": "sparsify", "stored": _dtypes(old), "l0": float(config["k"])}
    hook = ""
    if MODULE.fullmatch(folder.name) or folder.name.endswith("embed_tokens"):
        hook = hook_name(folder.name)
    topk = _config("topk", weights, raw=False) | {"k": int(config["k"])}
    return Converted(topk, weights, hook, facts)


def _config(architecture: str, weights: Mapping[str, Tensor], *, raw: bool) -> dict[str, Any]:
    d_in, d_sae = weights["W_enc"].shape
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": not raw,
    }


def _load_pt(path: Path) -> dict[str, Tensor]:
    """Load tensors only: a pickle that would run code is refused."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} holds more than tensors or is damaged, and nothing in it was run "
            f"({str(error).splitlines()[0]}). Save it again as a plain state dict."
        ) from error
    is_mapping = isinstance(state, Mapping)
    if not is_mapping or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(
            f"{path} is no state dict of tensors; save it again as torch.save(ae.state_dict(), "
            "path)."
        )
    return dict(state)


def _dtypes(weights: Mapping[str, Tensor]) -> str:
    """Dtype that the weight matrices are stored in."""
    matrices = (weight for weight in weights.values() if weight.ndim == 2)
    return "/".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in matrices}))
