"""Which dictionary did somebody else train? SAEs of three libraries, opened as one type.

The libraries are SAELens, dictionary_learning and sparsify. What their folders say is kept in
``provenance``, never trusted: ``diagnose`` measures whether the SAE fits.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open

from persona_interp.dictionaries.dictionary import (
    CARD,
    Dictionary,
    SparseDictionary,
    hash_dictionary,
    open_dictionary,
)
from persona_interp.dictionaries.foreign import (
    Converted,
    from_dictionary_learning,
    from_sparsify,
)
from persona_interp.dictionaries.harvest import harvest
from persona_interp.dictionaries.hooks import hook_name
from persona_interp.dictionaries.saelens import build, fetch, load_sae
from persona_interp.errors import ModelError
from persona_interp.models import Checkpoint

SAELENS = "sae_weights.safetensors"
SPARSIFY = "sae.safetensors"
LEARNING = "ae.pt"
SCALER = "activation_scaler.json"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names of dtypes by those of safetensors."""


def open_any(source: str | Path, *, hook: str | int | None = None) -> SparseDictionary:
    """Open the dictionary that this name means, ours or a foreign one.

    Args:
        source: A folder that ``save_dictionary`` wrote (checked strictly), or whatever
            ``load_pretrained`` opens.
        hook: Where a foreign SAE reads, for a folder that does not say.

    Returns:
        The dictionary.

    Raises:
        ModelError: There is none, or its weights are not those that its card names.
    """
    if hook is None and (Path(source).expanduser() / CARD).is_file():
        return open_dictionary(Path(source).expanduser())
    return load_pretrained(source, hook=hook)


def load_pretrained(
    source: str | Path, *, hook: str | int | None = None, scale: float | None = None
) -> SparseDictionary:
    """Load a dictionary that somebody published.

    Args:
        source: A folder of SAELens, of dictionary_learning or of sparsify (of one hook), one that
            ``save_dictionary`` wrote, or ``"release/sae_id"`` of SAELens' list, which asks the hub.
        hook: Where it reads: a hook, a module (``"model.layers.3"``) or a block; what the folder
            says by default.
        scale: Factor by which residuals are multiplied before encoding, folded into the weights.
            Give it when ``diagnose`` found the normalization of the training unfolded; nothing is
            folded on its own.

    Returns:
        The dictionary in float32. A foreign SAE does not say which residuals it saw: ``mean`` is
        its decoder bias, what it answers when nothing fires, ``variance`` NaN;
        ``measure_residuals`` replaces both. ``provenance`` keeps what the folder said: ``layout``,
        ``stored``, ``declared`` and ``metadata`` dtype, ``l0``, ``prepend_bos``,
        ``normalize_activations``, ``scaling_factor``, ``neuronpedia_id``, each where it is stated.

    Raises:
        ModelError: No SAE is there, it is no autoencoder of one hook, or nothing says where it
            reads.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        sae, place, facts = _from_folder(folder)
        name = facts.pop("name", "") or "/".join(filter(None, (folder.parent.name, folder.name)))
    else:
        sae, place, facts = _from_hub(str(source))
        name = str(source)
    if hook is not None:
        place = hook
    if place in (None, ""):
        raise ModelError(
            f'{source} does not say where it reads; give hook="blocks.12.hook_out" or the block, '
            "hook=12."
        )
    if scale is not None:
        sae.fold_activation_norm_scaling_factor(scale)
        facts["folded"] = scale
    sae = sae.eval().requires_grad_(requires_grad=False)
    variance = facts.pop("variance", float("nan"))
    if "mean" in facts:
        mean = torch.tensor(facts["mean"])
        facts["mean"] = "of the training residuals"
    else:
        mean = sae.b_dec.detach().clone().float()
        facts["mean"] = "unknown: decoder bias"
    return SparseDictionary(sae, name, hook_name(place), mean, variance, facts)


def measure_residuals(
    dictionary: SparseDictionary,
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    n_tokens: int = 20_000,
) -> SparseDictionary:
    """Measure the mean and variance of the residuals that a dictionary reads.

    Args:
        dictionary: A foreign dictionary, whose training residuals are unknown.
        checkpoint: The model it was made for.
        corpus: A corpus table.
        n_tokens: Tokens to measure on.

    Returns:
        The dictionary with ``mean`` and ``variance`` of these residuals.

    Raises:
        ModelError: The hook does not exist or has another width.
    """
    acts = harvest([checkpoint], corpus, hook=dictionary.hook, n_tokens=n_tokens, seed=0).acts
    if acts.shape[1] != dictionary.d_in:
        raise ModelError(
            f"{dictionary.name} reads width {dictionary.d_in}; {dictionary.hook} has "
            f"{acts.shape[1]}."
        )
    mean = acts.mean(0)
    variance = float((acts - mean).double().pow(2).sum(-1).mean())
    facts = {**dictionary.provenance, "mean": f"of {len(acts)} tokens of {checkpoint.label}"}
    return dataclasses.replace(dictionary, mean=mean, variance=variance, provenance=facts)


def hint(dictionary: Dictionary, feature: int) -> str:
    """Address where Neuronpedia may show a feature.

    Args:
        dictionary: A dictionary whose metadata names its place there.
        feature: Index of the feature.

    Returns:
        An address, never opened here and not verified: whether it shows the same weights nobody has
        checked. "" where the metadata names none.

    >>> from types import SimpleNamespace
    >>> hint(SimpleNamespace(provenance={"neuronpedia_id": "gemma-2-2b/12-res-16k"}), 7)
    'https://www.neuronpedia.org/gemma-2-2b/12-res-16k/7'
    """
    place = getattr(dictionary, "provenance", {}).get("neuronpedia_id")
    if not place:
        return ""
    return f"https://www.neuronpedia.org/{place}/{feature}"


def _from_folder(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """SAE, the place it names, and what else its folder says."""
    if (folder / SAELENS).is_file() and (folder / "cfg.json").is_file():
        return _from_saelens(folder)
    if (folder / SPARSIFY).is_file() and (folder / "cfg.json").is_file():
        return _build(from_sparsify(folder))
    if (folder / LEARNING).is_file() and (folder / "config.json").is_file():
        return _build(from_dictionary_learning(folder))
    advice = ""
    inside = sorted(str(path.parent.relative_to(folder)) for path in folder.glob(f"*/{SPARSIFY}"))
    if inside:
        advice = f" It holds SAEs of several hooks: name one of {', '.join(inside)}."
    raise ModelError(
        f"{folder} holds no SAE: expected cfg.json with {SAELENS} (SAELens) or {SPARSIFY} "
        f"(sparsify), or config.json with {LEARNING} (dictionary_learning).{advice}"
    )


def _build(sae: Converted) -> tuple[Any, str, dict[str, Any]]:
    return build(sae.config, sae.weights), sae.hook, sae.facts


def _from_saelens(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    sae, facts = load_sae(folder), _facts(folder)
    hook = facts.pop("hook")
    if (folder / CARD).is_file():  # one of ours
        card = json.loads((folder / CARD).read_text())
        hook = card["hook"]
        facts |= card["provenance"] | {key: card[key] for key in ("name", "mean", "variance")}
        dictionary = SparseDictionary(sae, "", hook, torch.tensor(card["mean"]), 0.0)
        if hash_dictionary(dictionary) != card["hash"]:
            facts["altered"] = f"weights, hook or mean are not those its {CARD} names"
    return sae, hook, facts


def _facts(folder: Path) -> dict[str, Any]:
    """What a SAELens folder says: only what is written there, nothing that SAELens would assume."""
    config = json.loads((folder / "cfg.json").read_text())
    metadata = config.get("metadata") or {}
    # older folders have the keys of the metadata at the top of the configuration
    flat = {**config, **metadata}
    with safe_open(folder / SAELENS, framework="pt") as weights:
        dtypes = {str(weights.get_slice(name).get_dtype()) for name in weights.keys()}
    facts: dict[str, Any] = {
        "layout": f"SAELens {config.get('architecture', 'standard')}",
        "hook": flat.get("hook_name") or flat.get("hook_point"),
        "stored": "/".join(sorted(DTYPES.get(dtype, dtype) for dtype in dtypes)),
        "declared": str(config.get("dtype", "float32")).removeprefix("torch."),
    }
    loading = metadata.get("model_from_pretrained_kwargs") or {}
    dtype = metadata.get("dtype") or loading.get("dtype") or loading.get("torch_dtype")
    if dtype:
        facts["metadata"] = str(dtype).removeprefix("torch.")
    for key in ("l0", "prepend_bos", "normalize_activations", "neuronpedia_id", "model_name", "k"):
        if flat.get(key) is not None:
            facts[key] = flat[key]
    if "k" in facts:
        facts.setdefault("l0", float(facts["k"]))
    if (folder / SCALER).is_file():
        facts["scaling_factor"] = json.loads((folder / SCALER).read_text()).get("scaling_factor")
    return facts


def _from_hub(source: str) -> tuple[Any, Any, dict[str, Any]]:
    if "/" not in source:
        raise ModelError(
            f"there is no folder {source}, and a published SAE is named 'release/sae_id'."
        )
    sae = fetch(source)
    metadata = sae.cfg.metadata
    facts = {
        "layout": f"SAELens {sae.cfg.architecture()}",
        "declared": str(sae.cfg.dtype),
        "normalize_activations": sae.cfg.normalize_activations,
    }
    for key in ("l0", "prepend_bos", "neuronpedia_id", "model_name"):
        if metadata[key] is not None:
            facts[key] = metadata[key]
    return sae, metadata.hook_name, facts
