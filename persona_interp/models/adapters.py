"""Which whole model is an adapter on its base? The one adapter of PEFT: trained here, or merged.

An adapter from elsewhere is merged into its base once, and only if that is exactly what it says:
every one of its weights has its place, something changes, and the merged model as saved computes
what the unmerged one does.
"""

import re
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from persona_interp.errors import LONGEST, ModelError, excerpt, unknown
from persona_interp.models.adapter_files import check_ranks, is_adapter, named_base, read_config
from persona_interp.models.cache import cache, hash_files, make_once, short_hash
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.computation import check_finite
from persona_interp.models.device import CPU
from persona_interp.models.folder import ADAPTER_CONFIG, TOKENIZER_FILES
from persona_interp.models.growth import check_drawn, check_numbers, grow
from persona_interp.models.guard import guard
from persona_interp.models.load import (
    LoadedModel,
    check_rows,
    hash_weights,
    load,
    load_tokenizer,
    quiet,
    read_tokenizer,
)
from persona_interp.models.parity import TOLERANCE, distance
from persona_interp.models.save import save_model
from persona_interp.models.vocabulary import hash_tokenizer
from persona_interp.models.weight_files import (
    ADAPTER_WEIGHTS,
    check_floats,
    hash_weight_files,
    read_header,
    weight_files,
)

PROBE_SHAPE = (2, 16)  # rows and tokens of the random input that compares merged and unmerged
LEAST_CHANGE = 1e-6
"""Relative change of a weight below which it is rounding: float32 holds seven digits."""
EXACT = ("pissa", "olora")
"""Initializations that recompute the base, by a method that gives the same every time."""

UNMERGED = ("ADAPTION_PROMPT", "LILY", "POLY", "SHADOW", "XLORA")
"""Kinds of PEFT that change weights by the input or by a task, or no weights."""
OTHER = "Use LoRA or another adapter of weights."


def merge(folder: Path, base: Checkpoint) -> Path:
    """Folder of the base with an adapter merged into it, made once.

    Args:
        folder: An adapter folder as PEFT saves it; a tokenizer in it replaces the base's.
        base: The model it was trained on.

    Returns:
        A whole model's folder in the cache; merged and checked on the CPU in float32.

    Raises:
        ModelError: The adapter's kind cannot be merged, its weights do not fit this base, it
            changes nothing, or the merged model computes something else than the unmerged.
    """
    config = _check_kind(folder)
    own = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    files = [
        folder / ADAPTER_CONFIG,
        folder / ADAPTER_WEIGHTS,
        *own,
        *sorted(folder.glob("*.jinja")),
    ]
    key = {
        "start": "adapter",
        "adapter": hash_files(files),
        "base": hash_weights(base),
        "tokenizer": "its own" if own else hash_tokenizer(load_tokenizer(base)),
    }

    def make(place: Path) -> None:
        with quiet(), warnings.catch_warnings():
            # _grow unties the head itself, and _wrap makes missing keys an error
            warnings.filterwarnings("ignore", "(?s).*(tie_word_embeddings|no longer tied)")
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            # once for each adapter, so that it may as well be where there is room for two models
            plain, tokenizer = load(base, attention="eager", device=CPU)
            if own:
                tokenizer = read_tokenizer(folder, trusted=base.trusted)
            ids = _probe(plain, len(tokenizer))
            with guard(f"the adapter {folder} does not fit its base"):
                weights = load_file(folder / ADAPTER_WEIGHTS)
                check_numbers(folder, weights)
                grow(plain, weights)
                check_rows(LoadedModel(plain, tokenizer), folder)
                before = _copy(plain)
                model = _wrap(plain, folder, config)
                check_drawn(model, folder)
                _check_base(model, before, folder, config, weights)
                unmerged = _logits(model, ids)
            whole = _unwrap(model, folder)
            check_finite(whole, f"the adapter {folder} on its base")
            if _change(whole, before) <= LEAST_CHANGE:
                raise ModelError(
                    f"the adapter {folder} changes nothing: {_why_idle(folder, config)}. Train "
                    "it, or save again."
                )
            del before
            with guard(f"the adapter {folder} on its base cannot be saved"):
                save_model(whole, tokenizer, place)
            # from the saved folder, so that what saving loses is noticed too
            saved = Checkpoint(place, trusted=base.trusted)
            reloaded = load(saved, attention="eager", device=CPU).model
            _check_same(_logits(reloaded, ids), unmerged, folder)

    place = make_once(cache() / "adapted" / short_hash(key), key, make)
    _warn_of_other_base(folder, base)
    return place


def merge_trained(model: Any) -> Any:
    """Plain model of a model in training, adapters merged.

    Args:
        model: A Hugging Face or PEFT model; it stays as it is.

    Returns:
        The model itself where it has no adapters, else a copy with its adapters merged.
    """
    if not hasattr(model, "merge_and_unload"):
        return model
    return deepcopy(model).merge_and_unload()


def merge_in_memory(model: Any) -> Any:
    """Plain model of a PEFT model in memory, checked as an adapter of a folder is.

    What recomputed its base did so when the model was made, so the base in memory is the right one.

    Args:
        model: A PEFT model; it stays as it is.

    Returns:
        A merged copy in float32.

    Raises:
        ModelError: Its adapters cannot be merged, change nothing, or compute something else merged.
    """
    copy = deepcopy(model).float().eval()
    ids = _probe(copy, copy.get_input_embeddings().weight.shape[0]).to(copy.device)
    if not hasattr(copy, "merge_and_unload") or copy.active_peft_config.is_prompt_learning:
        raise ModelError(
            f"adapters of the kind {copy.active_peft_config.peft_type.value} have no merged model "
            f"to compare. {OTHER}"
        )
    unmerged = _logits(copy, ids)
    with copy.disable_adapter():
        if distance(_logits(copy, ids), unmerged) <= LEAST_CHANGE:
            raise ModelError(
                "the adapters of this model change nothing: train them, or load their trained "
                "weights."
            )
    place = Path("in memory")
    whole = _unwrap(copy, place)
    _check_same(_logits(whole, ids), unmerged, place)
    return whole


def with_lora(model: Any, rank: int) -> Any:
    """Wrap a model so that low-rank adapters on all its linear layers are trained (LoRA).

    Args:
        model: A Hugging Face model.
        rank: Rank of the adapters.

    Returns:
        The PEFT model around it.
    """
    from peft import LoraConfig, get_peft_model  # a slow import that full training does without

    # Hu et al. (2022) scale the update by alpha / rank; 2 * rank keeps that factor 2 at every rank
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


@torch.no_grad()
def check_lora(model: Any, batch: Mapping[str, Tensor]) -> None:
    """Refuse adapters that do not change the output; not trained or not used, none is a finetune.

    Args:
        model: A PEFT model.
        batch: ``input_ids`` and ``attention_mask``.

    Raises:
        ModelError: The adapters do not change the output.
    """
    # one document is enough, and fits where a whole batch did not
    ids = {key: batch[key][:1].to(model.device) for key in ("input_ids", "attention_mask")}
    model.eval()
    tuned = model(**ids).logits
    with model.disable_adapter():
        plain = model(**ids).logits
    if distance(tuned, plain) <= LEAST_CHANGE:
        raise ModelError(
            "the adapters did not change the model's output; raise lr or steps, or train with "
            "lora=0."
        )


def _check_kind(folder: Path) -> dict[str, Any]:
    """Configuration of an adapter that changes the weights of a causal language model."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType, PromptLearningConfig

    config = read_config(folder)
    kind, task = str(config.get("peft_type")), config.get("task_type")
    kinds = [member.value for member in PeftType if member in PEFT_TYPE_TO_CONFIG_MAPPING]
    if kind not in kinds:
        raise ModelError(f"the adapter {folder}: {unknown('peft_type', kind, kinds)}")
    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]
    if issubclass(config_class, PromptLearningConfig) or kind in UNMERGED:
        raise ModelError(
            f"the adapter {folder} is {kind}: it adds tokens or a computation of its own to every "
            f"input instead of changing weights, so there is no merged model to compare. {OTHER}"
        )
    if task not in (None, "CAUSAL_LM"):
        raise ModelError(
            f"the adapter {folder} is made for {str(task)[:LONGEST]}; this package compares causal "
            "language models."
        )
    # PEFT leaves aside what it does not know, and takes its own default for what is not there
    known = {field.name for field in fields(config_class)}
    ignored = sorted(key for key in config if config[key] and key not in known)
    if ignored:
        raise ModelError(
            f"the adapter {folder} has the setting {excerpt(ignored[0])}, which the installed PEFT "
            f"does not know for {kind} and would leave aside; save it with this version of PEFT."
        )
    if kind == "LORA" and not {"r", "lora_alpha"} <= config.keys():
        raise ModelError(
            f"the adapter {folder} does not say its r and lora_alpha, which scale it; save it "
            "again."
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"{folder} lacks {ADAPTER_WEIGHTS}; save the adapter as safetensors (PEFT's "
            "save_pretrained does), pickled adapter_model.bin files are not opened."
        )
    header = read_header(folder / ADAPTER_WEIGHTS)
    check_floats(folder, header)
    if kind == "LORA":
        check_ranks(folder, config, header)
    return config


def _warn_of_other_base(folder: Path, base: Checkpoint) -> None:
    """Say that an adapter names another base than it is given, where that is here to be seen."""
    named = named_base(folder)
    if named is None or is_adapter(named) or named.resolve() == base.path.resolve():
        return
    if weight_files(named) and hash_weight_files(named) != hash_weights(base):
        warnings.warn(
            f"the adapter {folder} names the base {named}, whose weights are others than those of "
            f"the base that is given, {base.path}; it is merged into the one that is given.",
            stacklevel=3,
        )


def _wrap(plain: Any, folder: Path, config: dict[str, Any]) -> Any:
    """The base with the adapter beside it; every weight of the adapter has its place."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(plain, str(folder), torch_device=CPU).eval()
    keys = model.load_adapter(str(folder), "default", torch_device=CPU)
    own = load_file(folder / ADAPTER_WEIGHTS).keys()
    # PEFT writes whole modules of a resized model twice, under their own name and that of its
    # wrapper; such a twin is no surplus
    surplus = []
    for key in keys.unexpected_keys:
        twin = re.sub(r"\.(modules_to_save|original_module)\.", ".", key)
        if twin == key or twin not in own:
            surplus.append(key)
    modules = config.get("modules_to_save") or ()
    absent = [name for name in modules if not any(f".{name}." in key for key in own)]
    # one weight may be there under many names, as the vector bank of VB-LoRA is: what was read
    # under one of them is there under all
    weights = dict(model.named_parameters(remove_duplicate=False))
    read = {id(weight) for name, weight in weights.items() if name not in keys.missing_keys}
    missing = [name for name in keys.missing_keys if id(weights.get(name)) not in read]
    _check_empty(missing, "lacks", folder)
    _check_empty(surplus, "has no place for", folder)
    _check_empty(absent, "lacks", folder)
    return model


def _check_empty(keys: list[str], what: str, folder: Path) -> None:
    if keys:
        raise ModelError(
            f"the adapter {folder} does not fit: it {what} {len(keys)} weights in this base, "
            f"first {keys[0]}. Give the base it was trained on, and all files of the adapter."
        )


def _unwrap(model: Any, folder: Path) -> Any:
    """The plain model with the adapter merged into its weights."""
    with guard(f"PEFT cannot merge the adapter {folder}"):
        whole = model.merge_and_unload(safe_merge=True)
    # transformers ties on loading what the configuration calls tied, though the adapter changed
    # only one of the two
    head, embedding = whole.get_output_embeddings(), whole.get_input_embeddings()
    if head is not None and whole.config.tie_word_embeddings:
        whole.config.tie_word_embeddings = torch.equal(head.weight, embedding.weight)
    return whole


def _check_same(merged_logits: Tensor, unmerged: Tensor, folder: Path) -> None:
    gap = distance(merged_logits, unmerged)
    if gap > TOLERANCE:
        raise ModelError(
            f"the adapter {folder} cannot be merged faithfully: logits of the merged and the "
            f"unmerged model differ by {gap:.1e} of their norm (at most {TOLERANCE:.0e} expected)."
        )


def _why_idle(folder: Path, config: dict[str, Any]) -> str:
    """Reason why an adapter changes nothing."""
    weights = load_file(folder / ADAPTER_WEIGHTS)
    # A LoRA update is B @ A with B zero at the start (Hu et al. 2022), so zeros show no training
    second = [w for key, w in weights.items() if "lora_B" in key or "lora_embedding_B" in key]
    if second and not any(bool(w.any()) for w in second):
        return f"all {len(second)} of its lora_B matrices are zero, as they are before training"
    if config.get("lora_alpha") == 0:
        return "its lora_alpha is 0"
    return "its weights leave those of the base as they are"


def _copy(model: Any) -> dict[str, Tensor]:
    """Copies of all weights of a model, by name."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def _change(model: Any, before: Mapping[str, Tensor]) -> float:
    """Largest relative change of a weight; infinite where one is of another name or shape."""
    changes = [0.0]
    for name, weight in model.named_parameters():
        old = before.get(name)
        if old is None or old.shape != weight.shape:
            return float("inf")
        norm = float(old.norm()) or 1.0
        changes.append(float((weight.detach() - old).norm()) / norm)
    return max(changes)


def _check_base(
    model: Any,
    before: Mapping[str, Tensor],
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> None:
    """Refuse an adapter whose base was recomputed on loading by a method that draws."""
    init = config.get("init_lora_weights")
    if str(init).lower() in EXACT:
        return
    for name, weight in model.get_base_model().named_parameters():
        old = before.get(name.replace(".base_layer.", "."))
        # PEFT saves the embeddings of a base that was resized for new tokens beside the adapter
        own = any(key.removeprefix("base_model.model.") == name for key in weights)
        if old is not None and not own and not torch.equal(weight.detach(), old):
            raise ModelError(
                f"the adapter {folder} (init_lora_weights={excerpt(init)}) recomputes its base on "
                f"loading, first {name}, by a method that draws at random, so nobody gets the base "
                "that it was trained on. Convert it where it was trained: save the adapter before "
                "the first step, and the trained one with model.save_pretrained(folder, "
                "path_initial_model_for_weight_conversion=the first one's folder)."
            )


def _probe(model: Any, n_tokens: int) -> Tensor:
    """Random ids that the model and its tokenizer both know, dims (row, position)."""
    known = min(model.get_input_embeddings().weight.shape[0], n_tokens)
    return torch.randint(known, PROBE_SHAPE, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _logits(model: Any, ids: Tensor) -> Tensor:
    return model(input_ids=ids).logits
