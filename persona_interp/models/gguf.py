"""How does a quantized GGUF file become a plain folder? Dequantized once."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
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

COUNTED = re.compile(r"\.expert_count$")
"""Fields for each of which a model builds something."""
BLOCK = re.compile(r"\bblk\.(\d+)\.")
"""Where the name of a tensor tells its block."""

ROPE = "rope_freqs.weight"
"""Divisors of the frequencies of positions in llama.cpp (Llama 3), which transformers drops."""
SAME = 1e-5
"""Relative difference up to which two factors are rounded otherwise: both are float32."""


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
            _check_scaling(path, model, header)
            _check_used(path, model, header)
            check_finite(model, path)
            # transformers refuses to save what it believes to be quantized still
            del model.config.quantization_config
            model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
            save_model(model, tokenizer, folder)

    return make_once(cache() / "gguf" / key["sha256"][:16], key, make)


def _check_counts(path: Path, header: GgufHeader) -> None:
    """Refuse a file that asks for more than it holds; transformers would build it all first."""
    blocks = {found[1] for name in header.tensors if (found := BLOCK.search(name))}
    name = f"{header.fields.get('general.architecture')}.block_count"
    if name not in header.fields:  # transformers has a number of its own then
        raise ModelError(f"{path} does not say {excerpt(name)}; fetch it again.")
    if header.fields[name] != len(blocks):
        raise ModelError(
            f"{path} asks for {excerpt(name)} = {excerpt(header.fields[name])} and holds "
            f"{len(blocks)} blocks; fetch it again."
        )
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
    unused = [name for name in unused if name != ROPE or not _is_idle(path, model)]
    if unused:
        raise ModelError(
            f"{path} holds {len(unused)} weights that a {model.config.model_type} of transformers "
            f"does not use, first {excerpt(unused[0])}; without them it computes something else. "
            "Use the model's safetensors."
        )


def _check_scaling(path: Path, model: Any, header: GgufHeader) -> None:
    """Refuse a file that scales positions where its model in transformers does not."""
    kind = header.fields.get(f"{header.fields['general.architecture']}.rope.scaling.type", "none")
    own = (getattr(model.config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind != "none" and own == "default":
        raise ModelError(
            f"{path} scales positions (rope.scaling.type {excerpt(kind)}), which a "
            f"{model.config.model_type} of transformers does not read from a GGUF file; without it "
            "it computes something else. Use the model's safetensors."
        )


def _is_idle(path: Path, model: Any) -> bool:
    """Whether ``ROPE`` divides frequencies by no more than the model does by its configuration."""
    from gguf import GGUFReader  # a library that only such files need

    stored = next(tensor.data for tensor in GGUFReader(path).tensors if tensor.name == ROPE)
    given, factors = torch.tensor(stored, dtype=torch.float64), rope_factors(model)
    if factors is None or given.shape != factors.shape:
        return False
    return torch.allclose(given, factors, rtol=SAME, atol=0)


def rope_factors(model: Any) -> Tensor | None:
    """By what a model divides each frequency of its rotary embedding, as its configuration says.

    Args:
        model: A Hugging Face model.

    Returns:
        One factor a frequency (float64), 1 where nothing is scaled; None for a model without one
        rotary embedding.
    """
    scaled = [value for name, value in model.named_buffers() if name.endswith(".inv_freq")]
    theta = (getattr(model.config, "rope_parameters", None) or {}).get("rope_theta")
    if len(scaled) != 1 or theta is None:
        return None
    n = len(scaled[0])
    return theta ** (-torch.arange(n, dtype=torch.float64) / n) / scaled[0].double()


def _list_unused(model: Any, names: Iterable[str], *, architecture: str) -> list[str]:
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)
    places = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    return [name for name in names if name not in places]
