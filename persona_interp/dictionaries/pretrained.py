"""Which dictionary did somebody else train? SAEs of three libraries, opened as one type.

The libraries are SAELens, dictionary_learning and sparsify. What their folders say is kept in
``provenance``, never trusted: ``diagnose`` measures whether the SAE fits.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from persona_interp.dictionaries.dictionary import (
    CARD,
    Dictionary,
    SparseDictionary,
    alteration,
    cast,
    open_dictionary,
    read_card,
)
from persona_interp.dictionaries.foreign import (
    Converted,
    from_dictionary_learning,
    from_sparsify,
)
from persona_interp.dictionaries.harvest import harvest
from persona_interp.dictionaries.saelens import build, copy_sae, fetch, is_sae, releases
from persona_interp.dictionaries.saelens_folders import (
    CONFIG,
    METADATA,
    WEIGHTS,
    from_saelens,
    refuse_transcoder,
)
from persona_interp.dictionaries.settings import check_kinds
from persona_interp.errors import LONGEST, ModelError, excerpt, quote_path
from persona_interp.models import Checkpoint
from persona_interp.models.device import CPU, Batch
from persona_interp.models.dtype import AUTO, FULL
from persona_interp.models.sites import HOOK, hook_name

SPARSIFY = "sae.safetensors"
LEARNING = "ae.pt"

Source = str | Path | tuple[str, str]
"""A folder, ``"release/sae_id"``, or ``(release, sae_id)``."""


def open_any(
    source: Source,
    *,
    hook: str | int | None = None,
    device: object = CPU,
    dtype: str = FULL,
) -> SparseDictionary:
    """Open the dictionary that this name means, ours or a foreign one.

    Args:
        source: A folder that ``save_dictionary`` wrote (checked strictly), or whatever
            ``load_pretrained`` opens.
        hook: Where a foreign SAE reads, for a folder that does not say.
        device: Where its weights are until it is given activations elsewhere.
        dtype: Of its weights, in which it computes: "float32", "bfloat16" or "auto".

    Returns:
        The dictionary.

    Raises:
        ModelError: There is none, or its weights are not those that its card names.
    """
    folder = _folder(source)
    if hook is None and folder is not None and (folder / CARD).is_file():
        return open_dictionary(folder, device=device, dtype=dtype)
    return load_pretrained(source, hook=hook, device=device, dtype=dtype)


def load_pretrained(
    source: Source,
    sae_id: str | None = None,
    *,
    hook: str | int | None = None,
    scale: float | None = None,
    device: object = CPU,
    dtype: str = FULL,
) -> SparseDictionary:
    """Load a dictionary that somebody published.

    Args:
        source: A folder of SAELens, of dictionary_learning or of sparsify (of one hook), one that
            ``save_dictionary`` wrote, or a release of SAELens' list, which asks the hub: a text
            ``"release/sae_id"``, a pair, or the release alone with ``sae_id``.
        sae_id: Which SAE of the release, as SAELens takes it.
        hook: Where it reads: a hook, a module (``"model.layers.3"``) or a block; what the folder
            says by default.
        scale: Factor by which residuals are multiplied before encoding, folded into the weights.
            Give it when ``diagnose`` found the normalization of the training unfolded; nothing is
            folded on its own.
        device: Where its weights are until it is given activations elsewhere.
        dtype: Of its weights, in which it computes: "float32", "bfloat16" or "auto".

    Returns:
        The dictionary. A foreign SAE does not say which residuals it saw: ``mean`` is
        its decoder bias, what it answers when nothing fires, ``variance`` NaN;
        ``measure_residuals`` replaces both. ``provenance`` keeps what the folder said: ``layout``,
        ``stored``, ``declared`` and ``metadata`` dtype, ``l0``, ``prepend_bos``,
        ``normalize_activations``, ``scaling_factor``, ``neuronpedia_id``, each where it is stated.

    Raises:
        ModelError: No SAE is there, it is no autoencoder of one hook, or nothing says where it
            reads.
    """
    if sae_id is not None:
        source = (str(source), sae_id)
    folder = _folder(source)
    if folder is None:
        release, sae_id = _split_name(source)
        sae, place, facts = _from_hub(release, sae_id)
        name = f"{release}/{sae_id}"
    else:
        sae, place, facts = _from_folder(folder)
        name = facts.pop("name", "") or "/".join(filter(None, (folder.parent.name, folder.name)))
    hook = _hook(name, place if hook is None else hook, facts if hook is None else {})
    if scale is not None:
        sae.fold_activation_norm_scaling_factor(scale)
        facts["folded"] = scale
    return cast(_attach(sae, name, hook, facts), device=device, dtype=dtype)


def from_sae(sae: Any, *, hook: str | int | None = None) -> SparseDictionary:
    """Take an SAE of SAELens that is in memory as a dictionary.

    Args:
        sae: An ``SAE``, or a ``TrainingSAE``, attached to a model or not; it stays as it is.
        hook: Where it reads; what its metadata says by default.

    Returns:
        The dictionary in float32, as ``load_pretrained`` gives it.

    Raises:
        ModelError: It is no autoencoder of one residual, or nothing says where it reads.
    """
    inference = copy_sae(sae)
    facts = _module_facts(sae)
    check_kinds(Path("this SAE"), facts, METADATA)
    place = sae.cfg.metadata.hook_name or ""
    name = "/".join(filter(None, (facts.get("model_name", "SAE"), str(place))))
    return _attach(inference, name, _hook(name, place if hook is None else hook, {}), facts)


def _folder(source: Source) -> Path | None:
    """Folder that a source names; None where it names a release, or nothing on this machine."""
    if isinstance(source, tuple):
        return None
    try:
        folder = Path(source).expanduser()
        return folder if folder.is_dir() else None
    # TypeError: no path; ValueError: a NUL in it; RuntimeError: a home folder of nobody
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(
            "expected the folder of an SAE, 'release/sae_id' or (release, sae_id); got "
            f"{excerpt(source)}."
        ) from error


def _split_name(source: Source) -> tuple[str, str]:
    """Release and SAE that a source names."""
    if isinstance(source, tuple):
        if len(source) != 2 or not all(isinstance(part, str) and part for part in source):
            raise ModelError(f"a published SAE is (release, sae_id); got {excerpt(source)}.")
        return source
    name = str(source)
    if isinstance(source, Path) or "/" not in name.strip("/") or name[0] in "./~":
        raise ModelError(
            f"there is no folder {name[:LONGEST]}, and a published SAE is named 'release/sae_id'."
        )
    release, _, sae_id = name.partition("/")
    if release not in releases():
        repository, _, sae_id = sae_id.partition("/")
        release = f"{release}/{repository}"
    if not sae_id:
        raise ModelError(
            f"there is no folder {name[:LONGEST]}, and SAELens' list has no such release; a "
            "published SAE is named 'release/sae_id'."
        )
    return release, sae_id


def _hook(name: str, place: str | int, facts: dict[str, Any]) -> str:
    """Canonical name of the hook that was given, or that its folder states."""
    if place == "":
        raise ModelError(
            f"{quote_path(name)} does not say where it reads; give "
            'hook="blocks.12.hook_out" or the block, hook=12.'
        )
    hook, layer = hook_name(place), facts.get("layer")
    block = HOOK.fullmatch(hook)
    if layer is not None and block is not None and int(block[1]) != layer:
        raise ModelError(
            f"{quote_path(name)} says both {excerpt(place)} and layer {layer}; give hook= where it "
            "reads."
        )
    return hook


def _attach(sae: Any, name: str, hook: str, facts: dict[str, Any]) -> SparseDictionary:
    """Dictionary whose mean is what its folder says, or its decoder bias."""
    variance = facts.pop("variance", float("nan"))
    if "mean" in facts:
        mean = torch.tensor(facts["mean"], dtype=torch.float32)
        facts["mean"] = "of the training residuals"
    else:
        mean = sae.b_dec.detach().clone().float()
        facts["mean"] = "unknown: decoder bias"
    if mean.shape != sae.b_dec.shape:
        raise ModelError(
            f"{name}: its mean has {len(mean)} numbers, its decoder bias {len(sae.b_dec)}."
        )
    return SparseDictionary(sae, name, hook, mean, variance, facts)


def measure_residuals(
    dictionary: SparseDictionary | Any,
    checkpoint: Checkpoint,
    corpus: pd.DataFrame,
    *,
    n_tokens: int = 20_000,
    device: object = None,
    dtype: str = FULL,
    batch: Batch = AUTO,
) -> SparseDictionary:
    """Measure the mean and variance of the residuals that a dictionary reads.

    Args:
        dictionary: A foreign dictionary, whose training residuals are unknown, or an ``SAE`` of
            SAELens.
        checkpoint: The model it was made for.
        corpus: A corpus table.
        n_tokens: Tokens to measure on.
        device: Where the model computes; by default "cuda" where there is one.
        dtype: Of the model, "float32", "bfloat16", or "auto" for whichever is faster here.
        batch: Tokens a forward pass; "auto": what fits into memory.

    Returns:
        The dictionary with ``mean`` and ``variance`` of these residuals.

    Raises:
        ModelError: The hook does not exist or has another width.
    """
    if is_sae(dictionary):
        dictionary = from_sae(dictionary)
    acts = harvest(
        [checkpoint],
        corpus,
        hook=dictionary.hook,
        n_tokens=n_tokens,
        seed=0,
        device=device,
        dtype=dtype,
        batch=batch,
    ).acts
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


def _from_folder(folder: Path) -> tuple[Any, str, dict[str, Any]]:
    """SAE, the place it names, and what else its folder says."""
    if (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file():
        return _from_saelens(folder)
    if (folder / SPARSIFY).is_file() and (folder / CONFIG).is_file():
        return _build(from_sparsify(folder), folder)
    if (folder / LEARNING).is_file() and (folder / "config.json").is_file():
        return _build(from_dictionary_learning(folder), folder)
    advice = ""
    inside = sorted(str(path.parent.relative_to(folder)) for path in folder.glob(f"*/{SPARSIFY}"))
    if inside:
        advice = f" It holds SAEs of several hooks: name one of {', '.join(inside)[:200]}."
    raise ModelError(
        f"{folder} holds no SAE: expected {CONFIG} with {WEIGHTS} (SAELens) or {SPARSIFY} "
        f"(sparsify), or config.json with {LEARNING} (dictionary_learning).{advice}"
    )


def _build(sae: Converted, folder: Path) -> tuple[Any, str, dict[str, Any]]:
    return build(sae.config, sae.weights, source=folder), sae.place, sae.facts


def _from_saelens(folder: Path) -> tuple[Any, str, dict[str, Any]]:
    sae, place, facts = _build(from_saelens(folder), folder)
    if (folder / CARD).is_file():  # one of ours
        card = read_card(folder)
        place = card["hook"]
        facts |= card["provenance"] | {key: card[key] for key in ("name", "mean", "variance")}
        dictionary = SparseDictionary(sae, "", place, torch.tensor(card["mean"]), 0.0)
        if fault := alteration(dictionary, card):
            facts["altered"] = fault
    return sae, place, facts


def _from_hub(release: str, sae_id: str) -> tuple[Any, str, dict[str, Any]]:
    sae = fetch(release, sae_id)
    architecture = sae.cfg.architecture()
    refuse_transcoder(architecture, f"{release}/{sae_id}")
    return copy_sae(sae), sae.cfg.metadata.hook_name or "", _module_facts(sae)


def _module_facts(sae: Any) -> dict[str, Any]:
    """What an SAE of SAELens in memory says of itself."""
    metadata = sae.cfg.metadata
    facts = {
        "layout": f"SAELens {sae.cfg.architecture()}",
        "declared": str(sae.cfg.dtype).removeprefix("torch."),
        "normalize_activations": sae.cfg.normalize_activations,
    }
    if hasattr(sae.cfg, "k"):
        facts["k"] = sae.cfg.k
    for key in ("l0", "prepend_bos", "neuronpedia_id", "model_name"):
        if metadata[key] is not None:
            facts[key] = metadata[key]
    return facts
