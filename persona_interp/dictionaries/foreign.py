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

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from persona_interp.dictionaries.settings import check_k, check_kinds, check_size, read_settings
from persona_interp.dictionaries.weight_files import check_shapes, read_weights
from persona_interp.errors import ModelError, excerpt, unknown
from persona_interp.models.sites import is_place

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


TRAINER = {
    "dict_class": (str,),
    "submodule_name": (str,),
    "layer": (int, str),
    "lm_name": (str,),
    "k": (int,),
    "activation_dim": (int,),
    "dict_size": (int,),
}
"""Fields of a trainer of dictionary_learning that are read."""
COUNTS = ("k", "group_sizes", "active_groups")
"""Whole numbers among its weights."""
WITHOUT_EFFECT = {
    "AutoEncoderTopK": {"k", "threshold"},
    "BatchTopKSAE": {"k"},
    "MatryoshkaBatchTopKSAE": {"k", "group_sizes", "group_weights", "active_groups"},
}
"""Entries of its state dict that change no answer after training, by class."""
SPARSIFY_NAMES = {
    "encoder.weight": "W_enc",
    "encoder.bias": "b_enc",
    "W_dec": "W_dec",
    "b_dec": "b_dec",
}
"""Name of each weight in SAELens, by its name in sparsify."""
SPARSIFY = {"k": (int,), "d_in": (int,), "num_latents": (int,), "activation": (str,)} | {
    key: (bool,) for key in ("transcode", "skip_connection", "signed", "normalize_decoder")
}
"""Fields of sparsify's settings that are read."""


class Converted(NamedTuple):
    """An SAE as SAELens takes it.

    Attributes:
        config: Configuration of the SAELens class, ``architecture`` included.
        weights: Its state dict, float32.
        place: Where its folder says it reads, in the folder's own words; "" where it does not say.
        facts: What the folder said that SAELens has no place for.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    place: str
    facts: dict[str, Any]


def from_dictionary_learning(folder: Path) -> Converted:
    """Convert the SAE in a folder of dictionary_learning.

    Args:
        folder: It holds ``ae.pt`` and ``config.json``.

    Returns:
        The SAE, features of an ``AutoEncoder`` with decoder rows of norm 1, as its own library
        loads it.

    Raises:
        ModelError: A class that is not known, weights missing or left over, a threshold that was
            never trained, or a file that holds more than tensors.
    """
    path = folder / "config.json"
    settings = read_settings(path, {"trainer": (dict,), "buffer": (dict,)})
    trainer = settings.get("trainer") or {}
    check_kinds(path, trainer, TRAINER)
    kind = trainer.get("dict_class") or ""
    if kind not in ARCHITECTURES:
        raise ModelError(f"{path}: {unknown('dict_class', kind, ARCHITECTURES)}")
    file = folder / "ae.pt"
    old, stored = read_weights(file, counts=COUNTS)
    weights = _rename_weights(file, kind, old)
    d_in, d_sae = check_shapes(file, weights)
    check_size(path, trainer, "activation_dim", d_in)
    check_size(path, trainer, "dict_size", d_sae)
    if kind in ("AutoEncoder", "AutoEncoderNew"):
        weights |= _unit_decoder(weights)
    config = _config(ARCHITECTURES[kind], d_in, d_sae, raw=kind in RAW_INPUT)
    facts: dict[str, Any] = {"layout": f"dictionary_learning {kind}", "stored": stored}
    k = _stated_k(path, trainer, old)
    if ARCHITECTURES[kind] == "topk":
        config["k"] = check_k(path, k, d_sae)
    if k is not None:
        facts |= {"k": k, "l0": float(k)}
    facts["model_name"] = trainer.get("lm_name") or ""
    if isinstance(trainer.get("layer"), int):
        facts["layer"] = trainer["layer"]
    return Converted(config, weights, _place(path, trainer, settings.get("buffer") or {}), facts)


def _stated_k(path: Path, trainer: Mapping[str, Any], weights: Mapping[str, Tensor]) -> int | None:
    """Features a token by the weights or the settings; None where neither says."""
    stated = trainer.get("k")
    if "k" not in weights:
        return stated
    k = weights["k"]
    if k.numel() != 1 or k.is_complex() or not float(k).is_integer():
        raise ModelError(f"{path.with_name('ae.pt')}: 'k' must be one whole number.")
    check_size(path, trainer, "k", int(k))
    return int(k)


def _place(path: Path, trainer: Mapping[str, Any], buffer: Mapping[str, Any]) -> str:
    """Where the SAE reads, in the words of its settings."""
    name, layer = trainer.get("submodule_name") or "", trainer.get("layer")
    place = name or ("" if layer is None else str(layer))
    side = buffer.get("io", "out")
    if side == "in" and place:
        return f"{place}.input"
    if side not in ("in", "out"):
        raise ModelError(
            f"{path}: an SAE of io={excerpt(side)} does not rebuild what it reads; expected 'out'."
        )
    return place


def _rename_weights(path: Path, kind: str, old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of SAELens from one of dictionary_learning."""
    rest, new = dict(old), {}
    names = _names(kind, linear="encoder.weight" in old)
    for name, old_name in names.items():
        if old_name not in rest:
            has = ", ".join(sorted(old)) or "nothing"
            raise ModelError(f"{path} lacks '{old_name}' of an {kind}; it has {has[:200]}.")
        new[name] = rest.pop(old_name)
        if old_name in ("encoder.weight", "decoder.weight"):  # torch.nn.Linear: (out, in)
            new[name] = new[name].t()
    if "threshold" in new and new["threshold"].numel() == 1:
        new["threshold"] = _one_threshold(path, float(new["threshold"]), like=new["b_enc"])
    left_over = sorted(set(rest) - WITHOUT_EFFECT.get(kind, set()))
    if left_over:
        raise ModelError(
            f"{path} holds {excerpt(left_over[0])}, which no {kind} has: it would be left out in "
            f"silence. It has {', '.join(names.values())}."
        )
    return new


def _names(kind: str, *, linear: bool) -> dict[str, str]:
    """Name of each weight in dictionary_learning, by its name in SAELens."""
    names = {"W_enc": "W_enc", "W_dec": "W_dec", "b_dec": DECODER_BIAS.get(kind, "b_dec")}
    if linear:
        names |= {"W_enc": "encoder.weight", "W_dec": "decoder.weight"}
    if ARCHITECTURES[kind] == "gated":
        return names | {"b_gate": "gate_bias", "b_mag": "mag_bias", "r_mag": "r_mag"}
    names["b_enc"] = "encoder.bias" if linear else "b_enc"
    if ARCHITECTURES[kind] == "jumprelu":
        names["threshold"] = "threshold"
    return names


def _one_threshold(path: Path, threshold: float, *, like: Tensor) -> Tensor:
    """One threshold for all features."""
    if threshold < 0:
        raise ModelError(
            f"{path}: the threshold is {threshold:g}, its value before training: every feature "
            "above 0 would count, not k of them. Take a later checkpoint of the training."
        )
    return like.new_full((like.numel(),), threshold)


def _unit_decoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with decoder rows of norm 1 that answer the same: activations grow by the norms."""
    norms = weights["W_dec"].norm(dim=1)
    norms[norms == 0] = 1.0  # a row of zeros says nothing at any length
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
    path, file = folder / "cfg.json", folder / "sae.safetensors"
    settings = read_settings(path, SPARSIFY)
    for key, plain in PLAIN_SPARSIFY.items():
        if settings.get(key, plain) not in (plain, None):
            raise ModelError(
                f"{folder}: {key}={excerpt(settings[key])} is no autoencoder of one residual; "
                f"expected {key}={plain}."
            )
    old, stored = read_weights(file)
    if old.keys() != set(SPARSIFY_NAMES):
        raise ModelError(
            f"{file}: an SAE of sparsify has exactly {', '.join(SPARSIFY_NAMES)}; found "
            f"{', '.join(sorted(old))[:200]}."
        )
    weights = {name: old[key] for key, name in SPARSIFY_NAMES.items()}
    weights["W_enc"] = weights["W_enc"].t()  # torch.nn.Linear: (out, in)
    d_in, d_sae = check_shapes(file, weights)
    check_size(path, settings, "d_in", d_in)
    if settings.get("num_latents"):  # 0: a multiple of d_in
        check_size(path, settings, "num_latents", d_sae)
    k = check_k(path, settings.get("k"), d_sae)
    config = _config("topk", d_in, d_sae, raw=False) | {"k": k}
    facts = {"layout": "sparsify", "stored": stored, "k": k, "l0": float(k)}
    name = folder.resolve().name
    return Converted(config, weights, name if is_place(name) else "", facts)


def _config(architecture: str, d_in: int, d_sae: int, *, raw: bool) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": not raw,
    }
