"""Which whole model is an adapter on its base? The one adapter of PEFT: trained here, or merged from elsewhere.

An adapter made elsewhere is merged into its base once, and only if that is exactly what it says:
every one of its weights finds its place, something changes, and the merged model as saved computes
what the unmerged one does.
"""

import json
import re
import warnings
import zlib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from persona_interp.errors import ModelError
from persona_interp.models.cache import cache, hash_files, made_once, short_hash
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.load import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    TOKENIZER_FILES,
    UNREADABLE,
    hash_weights,
    holds_weights,
    load,
    load_tokenizer,
    quiet,
    read_tokenizer,
)
from persona_interp.models.vocabulary import hash_tokenizer

TOLERANCE = 1e-5  # relative, merged against unmerged, float32
PROBE = (2, 16)  # rows and tokens of the random input that compares them


def is_adapter(folder: Path) -> bool:
    """Does this folder hold an adapter without its model?

    Args:
        folder: Any folder.

    Returns:
        Whether there is an adapter's configuration and no model.
    """
    return (folder / ADAPTER_CONFIG).is_file() and not holds_weights(folder)


def base_name(folder: Path) -> str:
    """Which base does this adapter name in its configuration?

    Args:
        folder: An adapter folder.

    Returns:
        A folder (relative ones are looked for from here, then from the adapter and from the folders
        it is in, one of which its training may have been started in) or a hub id with its revision.

    Raises:
        ModelError: It names none, or a folder that is not here.
    """
    config = _config(folder)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    fix = "give the base it was trained on: base= in Python, --base on the command line."
    if not name:
        raise ModelError(f"the adapter {folder} does not name its base; {fix}")
    for place in (Path(name).expanduser(), folder / name):
        if place.exists():
            return str(place)
    for above in folder.resolve().parents:
        if (above / name / "config.json").is_file():
            return str(above / name)
    if name[0] in "/~." or "\\" in name or name.count("/") > 1:
        raise ModelError(
            f"the adapter {folder} names its base '{name}', a folder that is not here; {fix}"
        )
    return f"{name}@{revision}" if revision and "@" not in name else name


def merge(folder: Path, base: Checkpoint) -> Path:
    """Where is the base with this adapter merged into it, made once?

    Args:
        folder: An adapter folder as PEFT saves it; a tokenizer in it replaces the base's.
        base: The model it was trained on.

    Returns:
        A whole model's folder in the cache.

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
    read = "its own" if own else hash_tokenizer(load_tokenizer(base))
    key = {
        "start": "adapter",
        "adapter": hash_files(files),
        "base": hash_weights(base),
        "tokenizer": read,
    }

    def make(made: Path) -> None:
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "(?s).*(tie_word_embeddings|no longer tied)"
            )  # untied by _grow
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error of _wrapped
            plain, tokenizer = load(base, attention="eager")
            tokenizer = read_tokenizer(folder, trusted=base.trusted) if own else tokenizer
            ids = _probe(plain, len(tokenizer))
            _grow(plain, load_file(folder / ADAPTER_WEIGHTS))
            before = _checksums(plain)
            model = _wrapped(plain, folder, config)
            want = _logits(model, ids)
            whole = _unwrapped(model, folder)
            if _checksums(whole) == before:
                raise ModelError(
                    f"the adapter {folder} changes nothing: {_idle(folder, config)}. Train it, or "
                    "save again."
                )
            whole.save_pretrained(made)
            tokenizer.save_pretrained(made)
            _check_same(
                _logits(load(Checkpoint(made, trusted=base.trusted), attention="eager").model, ids),
                want,
                folder,
            )

    return made_once(cache() / "adapted" / short_hash(key), key, make)


def merged(model: Any) -> Any:
    """Which plain model is this one, adapters merged?

    Args:
        model: A Hugging Face or PEFT model; it stays as it is.

    Returns:
        The model itself where it has no adapters, else a copy with its adapters merged.
    """
    return deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model


def merge_held(model: Any) -> Any:
    """Which plain model is this PEFT model of the memory, checked as an adapter of a folder is?

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
            f"adapters of the kind {copy.active_peft_config.peft_type} have no merged model to "
            "compare."
        )
    want = _logits(copy, ids)
    with copy.disable_adapter():
        if torch.equal(_logits(copy, ids), want):
            raise ModelError(
                "the adapters of this model change nothing: train them, or load their trained "
                "weights."
            )
    whole = _unwrapped(copy, Path("in memory"))
    _check_same(_logits(whole, ids), want, Path("in memory"))
    return whole


def with_lora(model: Any, rank: int) -> Any:
    """How is a model trained by low-rank adapters on all its linear layers?

    Args:
        model: A Hugging Face model.
        rank: Rank of the adapters.

    Returns:
        The PEFT model around it.
    """
    from peft import LoraConfig, get_peft_model  # a slow import that full training does without

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


@torch.no_grad()
def check_lora(model: Any, batch: Mapping[str, Tensor]) -> None:
    """Did training change what the model says? An adapter not trained, or not used, must not pass for a finetune.

    Args:
        model: A PEFT model.
        batch: ``input_ids`` and ``attention_mask``.

    Raises:
        ModelError: The adapters do not change the output.
    """
    ids = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
    model.eval()
    tuned = model(**ids).logits
    with model.disable_adapter():
        plain = model(**ids).logits
    if torch.equal(tuned, plain):
        raise ModelError(
            "the adapters did not change the model's output; raise lr or steps, or train with "
            "lora=0."
        )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{folder / ADAPTER_CONFIG} is corrupt ({error}); save the adapter again."
        ) from error
    if not isinstance(found, dict):
        raise ModelError(
            f"{folder / ADAPTER_CONFIG} holds no configuration; save the adapter again."
        )
    return found


def _check_kind(folder: Path) -> dict[str, Any]:
    """The configuration of an adapter that can be a change of the weights of a causal language model."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType

    config = _config(folder)
    kind, task = str(config.get("peft_type")), config.get("task_type")
    if kind not in list(PEFT_TYPE_TO_CONFIG_MAPPING):
        raise ModelError(
            f"the adapter {folder} is of the kind {kind}, which the installed PEFT does not know."
        )
    if PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)]().is_prompt_learning:
        raise ModelError(
            f"the adapter {folder} is {kind}: it adds virtual tokens to every input instead of "
            "changing weights, so "
            "there is no merged model to compare. Use LoRA or another adapter of weights."
        )
    if task not in (None, "CAUSAL_LM"):
        raise ModelError(
            f"the adapter {folder} is made for {task}; this package compares causal language "
            "models."
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"{folder} lacks {ADAPTER_WEIGHTS}; save the adapter as safetensors (PEFT's "
            "save_pretrained does), pickled "
            "adapter_model.bin files are not opened."
        )
    return config


def _wrapped(plain: Any, folder: Path, config: dict[str, Any]) -> Any:
    """The base with the adapter beside it, after every weight of the adapter found its place."""
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(plain, str(folder)).eval()
        found = model.load_adapter(str(folder), "default")
    except UNREADABLE as error:
        raise ModelError(
            f"the adapter {folder} does not fit its base: {str(error).strip()[:300]}"
        ) from error
    own = load_file(folder / ADAPTER_WEIGHTS).keys()
    # PEFT writes whole modules of a resized model twice, under their own name and that of its
    # wrapper
    twins = {
        key: re.sub(r"\.(modules_to_save|original_module)\.", ".", key)
        for key in found.unexpected_keys
    }
    spare = [key for key, twin in twins.items() if twin == key or twin not in own]
    whole = [
        name
        for name in config.get("modules_to_save") or ()
        if not any(f".{name}." in key for key in own)
    ]
    for keys, what in (
        (found.missing_keys, "lacks"),
        (spare, "has no place for"),
        (whole, "lacks"),
    ):
        if keys:
            raise ModelError(
                f"the adapter {folder} does not fit: it {what} {len(keys)} weights in this base, "
                f"first {keys[0]}. Give "
                "the base it was trained on, and all files of the adapter."
            )
    return model


def _unwrapped(model: Any, folder: Path) -> Any:
    if not hasattr(model, "merge_and_unload"):
        raise ModelError(
            f"the adapter {folder} is of the kind {model.active_peft_config.peft_type}: PEFT "
            "cannot merge it."
        )
    try:
        whole = model.merge_and_unload(safe_merge=True)
    except (*UNREADABLE, NotImplementedError, TypeError) as error:
        raise ModelError(f"PEFT cannot merge the adapter {folder}: {error}") from error
    head, rows = whole.get_output_embeddings(), whole.get_input_embeddings()
    if head is not None and whole.config.tie_word_embeddings:
        whole.config.tie_word_embeddings = torch.equal(head.weight, rows.weight)
    return whole


def _check_same(got: Tensor, want: Tensor, folder: Path) -> None:
    off = float((got - want).norm() / want.norm())
    if not off <= TOLERANCE:
        raise ModelError(
            f"the adapter {folder} cannot be merged faithfully: logits of the merged and the "
            "unmerged model differ by "
            f"{off:.1e} of their norm (at most {TOLERANCE:.0e} expected)."
        )


def _grow(plain: Any, weights: Mapping[str, Tensor]) -> None:
    """Gives the base as many rows as the adapter's embeddings, and an untied head where the adapter touches one."""
    names = {id(module): name.rpartition(".")[2] for name, module in plain.named_modules()}
    ends = [
        names[id(part)]
        for part in (plain.get_input_embeddings(), plain.get_output_embeddings())
        if part is not None
    ]
    touched = [key for key in weights if any(f".{end}." in key for end in ends)]
    shapes = {
        weights[key].shape[0] for key in touched if key.endswith(".weight") and "lora_" not in key
    }
    shapes |= {weights[key].shape[1] for key in touched if "lora_embedding_A" in key}
    if rows := max(shapes, default=0) - plain.get_input_embeddings().weight.shape[0]:
        if shapes:
            plain.resize_token_embeddings(
                plain.get_input_embeddings().weight.shape[0] + rows, mean_resizing=False
            )
    head = plain.get_output_embeddings()
    if touched and head is not None and head.weight is plain.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())


def _idle(folder: Path, config: dict[str, Any]) -> str:
    """Why an adapter changes nothing."""
    second = [
        w
        for key, w in load_file(folder / ADAPTER_WEIGHTS).items()
        if "lora_B" in key or "lora_embedding_B" in key
    ]
    if second and not any(bool(w.any()) for w in second):
        return f"all {len(second)} of its lora_B matrices are zero, as they are before training"
    if config.get("lora_alpha") == 0:
        return "its lora_alpha is 0"
    return "its weights leave those of the base as they are"


def _checksums(model: Any) -> dict[str, int]:
    """A number for every weight that changes with any bit of it."""
    return {
        name: zlib.crc32(weight.detach().contiguous().view(torch.uint8).numpy())
        for name, weight in model.named_parameters()
    }


def _probe(model: Any, n_tokens: int) -> Tensor:
    rows = min(model.get_input_embeddings().weight.shape[0], n_tokens)
    return torch.randint(rows, PROBE, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def _logits(model: Any, ids: Tensor) -> Tensor:
    return model(input_ids=ids).logits
