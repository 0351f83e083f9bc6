"""How does a quantized GGUF file become a plain folder? Dequantized once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from persona_interp.errors import ModelError, excerpt
from persona_interp.models.cache import cache, hash_file, make_once
from persona_interp.models.computation import check_finite
from persona_interp.models.configuration import check_size
from persona_interp.models.gguf_header import GgufHeader, read_gguf_header
from persona_interp.models.guard import guard
from persona_interp.models.load import check_complete, quiet
from persona_interp.models.save import save_model

COUNTED = re.compile(r"\.(block_count|expert_count)$")
"""Fields for each of which a model builds something."""


def from_gguf(path: Path) -> Path:
    """Folder of a GGUF file's model in plain float32, made once.

    Args:
        path: A ``.gguf`` file.

    Returns:
        The folder in the cache.

    Raises:
        ModelError: There is no such file, it is damaged, transformers cannot read it, or its
            architecture in transformers lacks or does not use some of its weights.
    """
    if "\0" in str(path) or not path.is_file():
        raise ModelError(
            f"there is no file {path}; `make model` fetches a GGUF model and prints where it is."
        )
    header = read_gguf_header(path)
    _check_counts(path, header)
    key = {"start": "gguf", "sha256": hash_file(path).hex()}

    def make(folder: Path) -> None:
        refusal = f"{path} is not a GGUF language model that transformers can read"
        place: Any = {"gguf_file": path.name, "local_files_only": True}
        with quiet(), guard(refusal):
            config = AutoConfig.from_pretrained(path.parent, **place)
            check_size(path, config, n_stored=header.n_values)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **place)
            answer: Any = AutoModelForCausalLM.from_pretrained(
                path.parent, dtype=torch.float32, output_loading_info=True, **place
            )
            model, info = answer
            check_complete(path, model, info)
            _check_used(path, model, header)
            check_finite(model, path)
            # transformers refuses to save what it believes to be quantized still
            del model.config.quantization_config
            model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
            save_model(model, tokenizer, folder)

    return make_once(cache() / "gguf" / key["sha256"][:16], key, make)


def _check_counts(path: Path, header: GgufHeader) -> None:
    """Refuse a file that asks for more blocks than it holds weights."""
    for name, count in header.fields.items():
        if COUNTED.search(name) and isinstance(count, int) and count > len(header.tensors):
            raise ModelError(
                f"{path} asks for {name} = {count} and holds {len(header.tensors)} weights; fetch "
                "it again."
            )


def _check_used(path: Path, model: Any, header: GgufHeader) -> None:
    """Refuse a file with weights that transformers leaves aside without a word."""
    n_weights = sum(weight.numel() for weight in model.parameters())
    # experts are stored under names of their own, and nothing is lost where all values are used
    if n_weights == header.n_values:
        return
    unused = _list_unused(model, header.tensors, architecture=header.fields["general.architecture"])
    if unused:
        raise ModelError(
            f"{path} holds {len(unused)} weights that a {model.config.model_type} of transformers "
            f"does not use, first {excerpt(unused[0])}; without them it computes something else. "
            "Use the model's safetensors."
        )


def _list_unused(model: Any, names: Iterable[str], *, architecture: str) -> list[str]:
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)
    places = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    return [name for name in names if name not in places]
