"""How do saved weights get into memory? From a folder, with every missing piece named.

Nothing here asks a hub.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from persona_interp.errors import ModelError
from persona_interp.models.cache import hash_files
from persona_interp.models.checkpoint import Checkpoint

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    AttributeError,
    ImportError,
    SafetensorError,
)


class LoadedModel(NamedTuple):
    """A model and its tokenizer.

    Attributes:
        model: Plain Hugging Face model, evaluation mode, float32.
        tokenizer: Its fast tokenizer.
    """

    model: Any
    tokenizer: Any


def load(checkpoint: Checkpoint, *, attention: str | None = None) -> LoadedModel:
    """Load the model of a checkpoint, in float32, and its tokenizer.

    Args:
        checkpoint: Where the weights are.
        attention: Attention implementation, "sdpa" or "eager"; by default "sdpa" where the family
            has it.

    Returns:
        The plain Hugging Face model in evaluation mode and float32, and its tokenizer.

    Raises:
        ModelError: A file or weight is missing or cannot be read, the tokenizer has more tokens
            than the model, or the model needs code of its own that was not trusted by name.
    """
    check_folder(checkpoint)
    with quiet():
        try:
            answer: Any = AutoModelForCausalLM.from_pretrained(
                checkpoint.path,
                dtype=torch.float32,
                attn_implementation=attention,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=checkpoint.trusted,
            )
        except UNREADABLE as error:
            raise ModelError(
                f"{checkpoint.path} is not a loadable causal language model: {_first_line(error)}"
            ) from error
    model, info = answer
    # transformers only warns about these, and draws them at random
    absent = sorted(info["missing_keys"]) + sorted(key[0] for key in info["mismatched_keys"])
    if absent:
        raise ModelError(
            f"{checkpoint.path} is incomplete: {len(absent)} weights of a "
            f"{model.config.model_type} are missing or of another shape, first {absent[0]}; "
            "transformers would draw them at random. Save the whole causal language model (not a "
            "headless one, not one with adapters inside)."
        )
    loaded = LoadedModel(model.eval(), load_tokenizer(checkpoint))
    _check_rows(loaded, checkpoint)
    return loaded


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer of a checkpoint.

    Args:
        checkpoint: Where the weights are; they are not loaded.

    Returns:
        Its fast tokenizer.

    Raises:
        ModelError: A file is missing or cannot be read, or the tokenizer is not a fast one.
    """
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
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=checkpoint.trusted
            )
        except UNREADABLE as error:
            raise ModelError(f"{folder} has no loadable tokenizer: {_first_line(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of {folder} ({type(tokenizer).__name__}) is a slow one, which cannot "
            "say where in the text its tokens are; save a fast one (tokenizer.json) there."
        )
    return tokenizer


def hash_weights(checkpoint: Checkpoint) -> str:
    """Hash of a checkpoint's weights, bit for bit.

    Args:
        checkpoint: Where the weights are.

    Returns:
        sha256 over the safetensors files (hex).

    Raises:
        ModelError: There are none.
    """
    check_folder(checkpoint)
    return hash_files(sorted(checkpoint.path.glob("*.safetensors")))


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


def check_folder(checkpoint: Checkpoint) -> None:
    """Refuse a folder that does not hold a whole model and its tokenizer.

    Args:
        checkpoint: Where the weights should be.

    Raises:
        ModelError: Something is missing; the message says what and how to save it.
    """
    folder = checkpoint.path
    fix = "save it there with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}; {fix}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} lacks config.json, so it is no model folder; {fix}")
    if not holds_tokenizer(folder):
        raise ModelError(f"{folder} lacks its tokenizer (tokenizer.json); {fix}")
    if not holds_weights(folder) and any(folder.glob("*.bin")):
        raise ModelError(
            f"{folder} holds its weights as pickled .bin files, which could run code when opened; "
            "convert them once: AutoModelForCausalLM.from_pretrained(folder)"
            ".save_pretrained(new_folder), the tokenizer likewise."
        )
    if not holds_weights(folder):
        raise ModelError(f"{folder} lacks its weights (model.safetensors); {fix}")
    _check_index(folder, fix)
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{folder} holds a whole model and an adapter ({ADAPTER_CONFIG}), so it is unclear "
            "which is meant; move the adapter's files into a folder of their own, and give that "
            "one with base= this model, or this one."
        )
    if not checkpoint.trusted:
        _check_code(folder)


def holds_weights(folder: Path) -> bool:
    """Whether a folder holds weights of a whole model, not only of an adapter.

    Args:
        folder: Any folder.

    Returns:
        Whether there are safetensors beside those of an adapter.
    """
    return any(file.name != ADAPTER_WEIGHTS for file in folder.glob("*.safetensors"))


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer.

    Args:
        folder: Any folder.

    Returns:
        Whether one of a tokenizer's files is there.
    """
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def _check_index(folder: Path, fix: str) -> None:
    """Refuse a folder that lacks a shard its index names."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is corrupt ({error}); {fix}") from error
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        raise ModelError(
            f"{folder} lacks {len(absent)} of its {len(shards)} shards of weights, first "
            f"{absent[0]}; {fix}"
        )


def _check_code(folder: Path) -> None:
    """Refuse a model whose class is code in its folder; a known class never needs that code."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{folder / 'config.json'} is corrupt ({error}); save the model again."
        ) from error
    kind = config.get("model_type", "")
    if "auto_map" in config and kind not in CONFIG_MAPPING:
        raise ModelError(
            f"{folder} wants to run code of its own (model_type '{kind}', auto_map in "
            "config.json), which this package does not do unasked. If you read that code and "
            'trust it, allow this one model by name: trust=("org/name@<40-digit commit>",) for a '
            'hub id, trust=("the/folder",) for a folder.'
        )


def _check_rows(loaded: LoadedModel, checkpoint: Checkpoint) -> None:
    """Refuse a tokenizer that has tokens without an embedding row; more rows are padding."""
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    token, last = max(loaded.tokenizer.get_vocab().items(), key=lambda item: item[1])
    if last >= rows:
        raise ModelError(
            f"{checkpoint.path} has {rows} embedding rows, but its tokenizer has token {last} "
            f"({token!r}); the tokenizer belongs to another model, or "
            "model.resize_token_embeddings was forgotten."
        )


def _first_line(error: BaseException) -> str:
    """First line of an error's message; the error's kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
