"""How does a quantized GGUF file become a plain folder? Dequantized once."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_interp.errors import ModelError
from persona_interp.models.cache import cache, hash_file, make_once
from persona_interp.models.load import UNREADABLE, quiet


def from_gguf(path: Path) -> Path:
    """Folder of a GGUF file's model in plain float32, made once.

    Args:
        path: A ``.gguf`` file.

    Returns:
        The folder in the cache.

    Raises:
        ModelError: There is no such file, or transformers cannot read it.
    """
    if not path.is_file():
        raise ModelError(
            f"there is no file {path}; `make model` fetches a GGUF model and prints where it is."
        )
    key = {"start": "gguf", "sha256": hash_file(path).hex()}

    def make(folder: Path) -> None:
        with quiet():
            try:
                tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    path.parent, gguf_file=path.name, dtype=torch.float32
                )
            except UNREADABLE as error:
                raise ModelError(
                    f"{path} is not a GGUF language model that transformers can read: {error}"
                ) from error
            # transformers refuses to save what it believes to be quantized still
            del model.config.quantization_config
            model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    return make_once(cache() / "gguf" / key["sha256"][:16], key, make)
