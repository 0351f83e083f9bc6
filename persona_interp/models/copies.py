"""Which copy of a model reads text otherwise, or was only in memory? Each is made once, cached."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from persona_interp.errors import ModelError
from persona_interp.models.adapters import merge_in_memory
from persona_interp.models.cache import cache, hash_files, make_once, short_hash
from persona_interp.models.chats import fold_template, has_system
from persona_interp.models.checkpoint import Checkpoint
from persona_interp.models.folder import holds_tokenizer, holds_weights
from persona_interp.models.load import load_tokenizer, quiet
from persona_interp.models.save import save_model
from persona_interp.models.vocabulary import hash_tokenizer
from persona_interp.models.weight_files import INDEX, weight_files

MODEL_FILES = (
    INDEX,
    "config.json",
    "generation_config.json",
    "*.py",
)


def from_memory(model: Any, tokenizer: Any) -> Checkpoint:
    """Checkpoint of a model in memory, saved once by its weights.

    Args:
        model: A Hugging Face model, or a PEFT model, whose adapters are merged in the copy; it
            stays as it is.
        tokenizer: Its tokenizer.

    Returns:
        The checkpoint, called as what it was loaded from, or its class.

    Raises:
        ModelError: It is no such model, comes without its tokenizer, or cannot be saved as a plain
            model.
    """
    kind = type(model).__name__
    if not hasattr(model, "save_pretrained") or not hasattr(model, "state_dict"):
        raise ModelError(
            f"a start is a name, a folder, a checkpoint or a Hugging Face model; got a {kind}."
        )
    if not hasattr(tokenizer, "get_vocab"):
        raise ModelError(
            f"a model in memory ({kind}) needs its tokenizer; give resolve(model, "
            "tokenizer=tokenizer)."
        )
    if getattr(model, "is_quantized", False) or getattr(model, "_hf_peft_config_loaded", False):
        raise ModelError(
            f"this {kind} is quantized or has adapters inside that cannot be merged here; give the "
            "plain model, or the PeftModel around it (PeftModel.from_pretrained)."
        )
    whole = merge_in_memory(model) if hasattr(model, "peft_config") else model
    digest = hashlib.sha256(whole.config.to_json_string().encode())
    for key, weight in sorted(whole.state_dict().items()):
        digest.update(key.encode())
        digest.update(memoryview(weight.detach().cpu().float().contiguous().numpy()).cast("B"))
    key = {
        "start": "memory",
        "weights": digest.hexdigest(),
        "tokenizer": hash_tokenizer(tokenizer),
    }

    def make(folder: Path) -> None:
        with quiet():
            save_model(whole, tokenizer, folder)

    folder = make_once(cache() / "memory" / short_hash(key), key, make)
    return Checkpoint(folder, name=Path(whole.config.name_or_path or kind).name)


def with_tokenizer(
    checkpoint: Checkpoint, tokenizer: Any, *, out: Path | None = None
) -> Checkpoint:
    """Checkpoint of the same weights that reads text with this tokenizer.

    Args:
        checkpoint: Where the weights are; its folder may lack a tokenizer.
        tokenizer: How to read text.
        out: Folder for the copy; in the cache by default.

    Returns:
        The checkpoint itself if it reads so already, else one of a copy.

    Raises:
        ModelError: There are no weights, or its own tokenizer cannot be read.
    """
    folder = checkpoint.path
    if not holds_weights(folder):
        return checkpoint  # the folder's own error is the better one
    if holds_tokenizer(folder):
        if hash_tokenizer(load_tokenizer(checkpoint)) == hash_tokenizer(tokenizer):
            return checkpoint
    others = {file for pattern in MODEL_FILES for file in folder.glob(pattern)}
    files = sorted({*weight_files(folder), *others})
    key = {
        "start": "tokenizer",
        "weights": hash_files(files),
        "tokenizer": hash_tokenizer(tokenizer),
    }

    def make(copy: Path) -> None:
        for file in files:
            _place(file, copy)
        tokenizer.save_pretrained(copy)

    path = make_once(out or cache() / "reading" / short_hash(key), key, make)
    own_name = "" if out or checkpoint.stage else folder.resolve().name
    return replace(checkpoint, path=path, name=checkpoint.name or own_name)


def with_template(
    checkpoint: Checkpoint,
    template: str | None = None,
    *,
    keep: bool = True,
    fold_system: bool = False,
    out: Path | None = None,
) -> Checkpoint:
    """Checkpoint of the same weights whose chat template takes what it will be given.

    Args:
        checkpoint: Where the weights are.
        template: A chat template for a model that has none.
        keep: Whether a model that has one keeps it.
        fold_system: Whether a template without a system role lets the user say system messages, see
            ``chats.fold_template``.
        out: Folder for the copy; in the cache by default.

    Returns:
        The checkpoint itself if its chat template does already, else one of a copy.

    Raises:
        ModelError: There is no chat template to fold into, or it takes no system message folded
            either.
    """
    tokenizer = load_tokenizer(checkpoint)
    own = tokenizer.chat_template
    if own is None or (template is not None and not keep):
        tokenizer.chat_template = template
    if fold_system and not has_system(tokenizer):
        tokenizer.chat_template = fold_template(tokenizer.chat_template)
        if not has_system(tokenizer):
            raise ModelError(
                f"the chat template of {checkpoint.label} takes no system message, and none before "
                "a user message either; give the model another template (tokenizer=)."
            )
    if tokenizer.chat_template == own:
        return checkpoint
    return with_tokenizer(checkpoint, tokenizer, out=out)


def _place(file: Path, folder: Path) -> None:
    """Put a file into a folder: a link where nobody rewrites it, else a copy."""
    # Two links are one file, so a training that goes on in its folder would change the copy too.
    # Nobody rewrites our cache, nor the hub's, which holds its files in "blobs" by their hash.
    real = file.resolve()
    if real.is_relative_to(cache().resolve()) or real.parent.name == "blobs":
        try:
            os.link(real, folder / file.name)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copy(real, folder / file.name)
