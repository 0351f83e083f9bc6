"""How do saved weights get into memory? From a folder, with every missing piece named.

Nothing here asks a hub.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer as RawTokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from persona_interp.errors import ModelError, excerpt
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.computation import check_computes, check_finite, check_tied
from persona_interp.models.configuration import GENERATION, check_configuration
from persona_interp.models.device import resolve_device
from persona_interp.models.dtype import FULL, HALF, resolve_dtype
from persona_interp.models.folder import check_folder
from persona_interp.models.guard import guard
from persona_interp.models.inputs import as_checkpoint
from persona_interp.models.passes import is_exhausted
from persona_interp.models.unused import PREFIXES, check_unused, is_idle
from persona_interp.models.weight_files import (
    check_floats,
    hash_weight_files,
    stored_weights,
    weight_files,
)

SPLIT = ("Once upon a time, 12 cats", "don't  do\n\nthat: 3.14")
"""Texts that tell apart how tokenizers split words, numbers and spaces."""
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


class LoadedModel(NamedTuple):
    """A model and its tokenizer.

    Attributes:
        model: Plain Hugging Face model, evaluation mode.
        tokenizer: Its fast tokenizer.
    """

    model: Any
    tokenizer: Any


def load(
    checkpoint: Checkpoint | str | Path,
    *,
    attention: str | None = None,
    device: object = None,
    dtype: str = FULL,
) -> LoadedModel:
    """Load the model of a checkpoint and its tokenizer.

    Args:
        checkpoint: Where the weights are, or a name that ``resolve`` takes.
        attention: Attention implementation, "sdpa" or "eager"; by default "sdpa" where the family
            has it.
        device: Where to, "cpu", "cuda" or "cuda:1"; by default "cuda" where there is one.
        dtype: "float32", "bfloat16", or "auto" for whichever is faster here.

    Returns:
        The plain Hugging Face model in evaluation mode, and its tokenizer.

    Raises:
        ModelError: A file or weight is missing, cannot be read, is not finite or is not used by the
            architecture, the tokenizer has more tokens than the model, the model needs code of its
            own that was not trusted by name, or there is no such device or dtype.
    """
    checkpoint = as_checkpoint(checkpoint)
    device = resolve_device(device)
    dtype = resolve_dtype(dtype, device)
    check_folder(checkpoint)
    folder = checkpoint.path
    stored = stored_weights(weight_files(folder))
    check_floats(folder, {name: one for name, one in stored.items() if not is_idle(name, one)})
    check_configuration(folder, stored)
    with quiet(), guard(f"{folder} is not a loadable causal language model"):
        answer: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=checkpoint.trusted,
        )
        model, info = answer
        _restore_generation(model, folder)
    check_complete(folder, model, info)
    check_unused(folder, model, stored, info)
    check_finite(model, folder)
    check_tied(model, folder)
    with quiet(), guard(f"{folder} cannot compute"):
        check_computes(model.eval(), folder)
    loaded = LoadedModel(model, load_tokenizer(checkpoint))
    check_rows(loaded, folder)
    return loaded._replace(model=move(model, device))


def move(model: Any, device: str) -> Any:
    """The model on a device.

    Args:
        model: A Hugging Face model.
        device: Where to.

    Returns:
        The same model, moved.

    Raises:
        ModelError: It does not fit there.
    """
    try:
        return model.to(device)
    except RuntimeError as error:
        if not is_exhausted(error):
            raise
        size = sum(weight.nbytes for weight in model.parameters()) / 2**30
        raise ModelError(
            f"a model of {size:.1f} GiB does not fit into the memory of {device}; give "
            f"device='cpu' or dtype='{HALF}'."
        ) from error


def load_tokenizer(checkpoint: Checkpoint | str | Path) -> Any:
    """Load the tokenizer of a checkpoint.

    Args:
        checkpoint: Where the weights are; they are not loaded.

    Returns:
        Its fast tokenizer.

    Raises:
        ModelError: A file is missing or cannot be read, or the tokenizer is not a fast one.
    """
    checkpoint = as_checkpoint(checkpoint)
    check_folder(checkpoint)
    return read_tokenizer(checkpoint.path, trusted=checkpoint.trusted)


def read_tokenizer(folder: Path, *, trusted: bool = False) -> Any:
    """Load the tokenizer that is saved in a folder, whatever else is there.

    Args:
        folder: A folder with tokenizer files.
        trusted: Whether code in it may run.

    Returns:
        The fast tokenizer.

    Raises:
        ModelError: It cannot be read, or is not a fast one.
    """
    checkpoint = Checkpoint(folder, trusted=trusted)
    with quiet(), guard(f"{folder} has no loadable tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=checkpoint.trusted
        )
        if not tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of {folder} ({type(tokenizer).__name__}) is a slow one, which "
                "cannot say where in the text its tokens are; save a fast one (tokenizer.json) "
                "there."
            )
        tokenizer = _restore(tokenizer, folder)
        _check_tokenizer(tokenizer, folder)
    return tokenizer


def _restore_generation(model: Any, folder: Path) -> None:
    """Set the generation settings that the folder holds, or fail as their file does."""
    # transformers takes a file that it cannot read for one that is not there, and makes others up
    if (folder / GENERATION).is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)


def _restore(tokenizer: Any, folder: Path) -> Any:
    """The tokenizer that tokenizer.json holds, which transformers may rebuild as another one."""
    # It goes by the family of the model beside it (model_type), whatever class the tokenizer was
    # saved as, and the splitting of that family takes the place of the file's.
    file = folder / "tokenizer.json"
    if not file.is_file():
        return tokenizer
    saved = RawTokenizer.from_file(str(file))
    rebuilt = tokenizer.backend_tokenizer
    for text in SPLIT:
        one, other = (raw.encode(text, add_special_tokens=False).ids for raw in (saved, rebuilt))
        if one != other:
            break
    else:
        return tokenizer
    warnings.warn(
        f"{folder}: transformers takes its tokenizer for a {type(tokenizer).__name__}, which "
        f"splits {text!r} otherwise ({len(other)} tokens) than its tokenizer.json ({len(one)}); "
        "the file is used.",
        stacklevel=4,
    )
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def hash_weights(checkpoint: Checkpoint | str | Path) -> str:
    """Hash of a checkpoint's weights, bit for bit.

    Args:
        checkpoint: Where the weights are.

    Returns:
        sha256 over its safetensors files (hex).

    Raises:
        ModelError: There are none.
    """
    checkpoint = as_checkpoint(checkpoint)
    check_folder(checkpoint)
    return hash_weight_files(checkpoint.path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own progress bars and load reports inside this block."""
    shows_bars = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shows_bars:
            transformers_logging.enable_progress_bar()


def check_rows(loaded: LoadedModel, source: Path) -> None:
    """Refuse a tokenizer that has tokens without an embedding row; more rows are padding.

    Args:
        loaded: A model and its tokenizer.
        source: What a message calls them.

    Raises:
        ModelError: A token has no row; the last is named.
    """
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    token, last = max(loaded.tokenizer.get_vocab().items(), key=lambda item: item[1])
    if last >= rows:
        raise ModelError(
            f"{source} has {rows} embedding rows, but its tokenizer has token {last} "
            f"({excerpt(token)}); the tokenizer belongs to another model, or "
            "model.resize_token_embeddings was forgotten."
        )


def check_complete(folder: Path, model: Any, info: dict[str, Any]) -> None:
    """Refuse a model that lacks weights; transformers only warns, and draws them at random.

    Args:
        folder: Where it was loaded from.
        model: The model.
        info: What transformers says about the loading.

    Raises:
        ModelError: A weight is missing or of another shape; the first is named.
    """
    absent = sorted(info["missing_keys"]) + sorted(key[0] for key in info["mismatched_keys"])
    if not absent:
        return
    fix = "Save the whole causal language model (not a headless one, not one with adapters inside)."
    unexpected = sorted(info["unexpected_keys"])
    for prefix, cause in PREFIXES.items():
        if unexpected and unexpected[0].startswith(prefix):
            fix = f"Its names begin with '{prefix}' ({excerpt(unexpected[0])}): {cause}."
            break
    raise ModelError(
        f"{folder} is incomplete: {len(absent)} weights of a {model.config.model_type} are missing "
        f"or of another shape, first {absent[0]}; transformers would draw them at random. {fix}"
    )


def _check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer whose parts are of other types than text and ids."""
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, dict) else [template or ""]
    texts = [*texts, *(getattr(tokenizer, name) or "" for name in SPECIAL)]
    wrong = [text for text in texts if not isinstance(text, str)]
    if wrong or not tokenizer.get_vocab():
        raise ModelError(
            f"{folder} has no usable tokenizer: its special tokens and chat template are texts, "
            f"and it has tokens; got {excerpt(wrong[0] if wrong else {})}. Save the tokenizer "
            "again."
        )
    unk = tokenizer.unk_token
    if unk is not None and unk not in tokenizer.get_vocab():
        raise ModelError(
            f"{folder} has no usable tokenizer: its unk_token {excerpt(unk)}, which stands for "
            "whatever it does not know, is none of its own tokens. Name one of them as unk_token "
            "in tokenizer_config.json, or none (null)."
        )
    # whatever is asked of a tokenizer later fails here, where it is guarded
    tokenizer("a", return_offsets_mapping=True)
    _ = tokenizer.all_special_ids, [getattr(tokenizer, f"{name}_id") for name in SPECIAL]
