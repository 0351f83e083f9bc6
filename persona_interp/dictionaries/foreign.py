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

from persona_interp.dictionaries.places import MODULE, hook_name
from persona_interp.errors import ModelError, unknown

LEARNED = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
}
RAW_INPUT = ("AutoEncoderNew", "JumpReluAutoEncoder")  # encode without subtracting the decoder bias


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
    """What is the SAE in this folder of dictionary_learning?

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
    if kind not in LEARNED:
        raise ModelError(f"{folder}: {unknown('dict_class', kind, LEARNED)}")
    weights = _load_pt(folder / "ae.pt")
    facts: dict[str, Any] = {"layout": f"dictionary_learning {kind}", "stored": _dtypes(weights)}
    old = {key: value.float() for key, value in weights.items()}
    linear = "encoder.weight" in old
    names = {
        "b_dec": "bias" if kind == "AutoEncoder" else "b_dec",
        "b_enc": "encoder.bias" if linear else "b_enc",
    }
    names |= {
        "AutoEncoderNew": {"b_dec": "decoder.bias"},
        "GatedAutoEncoder": {"b_dec": "decoder_bias"},
    }.get(kind, {})
    try:
        new = {
            "W_enc": old["encoder.weight"].T if linear else old["W_enc"],
            "W_dec": old["decoder.weight"].T if linear else old["W_dec"],
            "b_dec": old[names["b_dec"]],
        }
        if LEARNED[kind] == "gated":
            new |= {"b_gate": old["gate_bias"], "b_mag": old["mag_bias"], "r_mag": old["r_mag"]}
        else:
            new["b_enc"] = old[names["b_enc"]]
        if LEARNED[kind] == "jumprelu":
            new["threshold"] = old["threshold"].expand_as(new["b_enc"]).clone()
    except KeyError as error:
        raise ModelError(
            f"{folder / 'ae.pt'} lacks {error} of an {kind}; it has {', '.join(sorted(old))}."
        ) from error
    if kind in ("AutoEncoder", "AutoEncoderNew"):
        norms = new["W_dec"].norm(dim=1)
        new |= {
            "W_dec": new["W_dec"] / norms[:, None],
            "W_enc": new["W_enc"] * norms,
            "b_enc": new["b_enc"] * norms,
        }
    config = _config(LEARNED[kind], new, raw=kind in RAW_INPUT)
    if LEARNED[kind] == "topk":
        config["k"] = int(old["k"]) if "k" in old else int(trainer["k"])
    if "k" in trainer:
        facts["l0"] = float(trainer["k"])
    place = trainer.get("submodule_name") or trainer.get("layer")
    facts["model_name"] = str(trainer.get("lm_name", ""))
    return Converted(
        config, new, hook_name(place) if place is not None and str(place) else "", facts
    )


def from_sparsify(folder: Path) -> Converted:
    """What is the SAE in this folder of sparsify?

    Args:
        folder: It holds ``sae.safetensors`` and ``cfg.json``; its own name is the module,
            ``layers.3``.

    Returns:
        The SAE.

    Raises:
        ModelError: It is a transcoder, ranks by groups or sign, or lacks weights.
    """
    stated = json.loads((folder / "cfg.json").read_text())
    for key, plain in (
        ("transcode", False),
        ("skip_connection", False),
        ("signed", False),
        ("activation", "topk"),
    ):
        if stated.get(key, plain) != plain:
            raise ModelError(
                f"{folder}: {key}={stated[key]} is no autoencoder of one residual; expected "
                f"{key}={plain}."
            )
    old = load_file(folder / "sae.safetensors")
    facts = {"layout": "sparsify", "stored": _dtypes(old), "l0": float(stated["k"])}
    try:
        new = {
            "W_enc": old["encoder.weight"].float().T,
            "W_dec": old["W_dec"].float(),
            "b_enc": old["encoder.bias"].float(),
            "b_dec": old["b_dec"].float(),
        }
    except KeyError as error:
        raise ModelError(
            f"{folder / 'sae.safetensors'} lacks {error}; it has {', '.join(sorted(old))}."
        ) from error
    config = _config("topk", new, raw=False) | {"k": int(stated["k"])}
    readable = MODULE.fullmatch(folder.name) or folder.name.endswith("embed_tokens")
    return Converted(config, new, hook_name(folder.name) if readable else "", facts)


def _config(architecture: str, weights: Mapping[str, Tensor], *, raw: bool) -> dict[str, Any]:
    d_in, d_sae = weights["W_enc"].shape
    return {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": not raw,
    }


def _load_pt(path: Path) -> dict[str, Tensor]:
    """Tensors only: a pickle that would run code is refused."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} holds more than tensors or is damaged, and nothing in it was run "
            f"({str(error).splitlines()[0]}). "
            "Save it again as a plain state dict."
        ) from error
    if not isinstance(found, Mapping) or not all(
        isinstance(value, Tensor) for value in found.values()
    ):
        raise ModelError(
            f"{path} is no state dict of tensors; save it again as torch.save(ae.state_dict(), "
            "path)."
        )
    return dict(found)


def _dtypes(weights: Mapping[str, Tensor]) -> str:
    """Of the weight matrices, the dtype they are stored in."""
    return "/".join(
        sorted({str(w.dtype).removeprefix("torch.") for w in weights.values() if w.ndim == 2})
    )
