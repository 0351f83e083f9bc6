"""Which weights does an SAE's file hold? Finite floats of the right shapes, or an error that says.

The one way from files of others to weights, whatever wrote them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from persona_interp.errors import N_CHOICES, ModelError, excerpt
from persona_interp.files import plain_file
from persona_interp.models.guard import guard
from persona_interp.models.pt_files import describe, load_tensors
from persona_interp.models.weight_files import read_header

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHAPES = {
    "W_dec": ("d_sae", "d_in"),
    "W_enc": ("d_in", "d_sae"),
    "b_dec": ("d_in",),
    **dict.fromkeys(("b_enc", "b_gate", "b_mag", "r_mag"), ("d_sae",)),
    **dict.fromkeys(("threshold", "log_threshold"), ("d_sae",)),
    "topk_threshold": (),
}
"""Dims of the weights of an SAE, by their name in SAELens."""


class Weights(NamedTuple):
    """Weights of a file.

    Attributes:
        tensors: By name, float32.
        stored: Dtypes in which the file holds them, "float16" or "bfloat16/float32".
    """

    tensors: dict[str, Tensor]
    stored: str


def read_weights(path: Path, *, counts: Collection[str] = ()) -> Weights:
    """Weights of a file.

    Args:
        path: A ``.safetensors`` or ``.pt`` file.
        counts: Names that hold whole numbers, which are no weights.

    Returns:
        The weights, and of ``counts`` what is there.

    Raises:
        ModelError: The file cannot be read, holds more than tensors, or one of them is no vector or
            matrix of finite floats.
    """
    path = plain_file(path, error=ModelError)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pt(path)
    weights = {}
    for name, tensor in tensors.items():
        if name not in counts:
            _check_floats(path, name, tensor)
            tensor = tensor.detach().float()
        weights[name] = tensor
    check_finite(path, {name: weights[name] for name in weights.keys() - set(counts)})
    dtypes = {str(tensor.dtype) for name, tensor in tensors.items() if name not in counts}
    return Weights(weights, "/".join(sorted(d.removeprefix("torch.") for d in dtypes)))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with guard(f"{path} cannot be read as weights"):
        read_header(path)
        return load_file(path)


def _read_pt(path: Path) -> dict[str, Tensor]:
    content = load_tensors(path)
    is_mapping = isinstance(content, Mapping)
    if not is_mapping or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(
            f"{path} is no state dict of tensors but {describe(content)}; save it again as "
            "torch.save(ae.state_dict(), path)."
        )
    if not all(isinstance(name, str) for name in content):
        raise ModelError(f"{path}: names of weights must be texts; got {describe(content)}.")
    return dict(content)


def _check_floats(path: Path, name: str, tensor: Tensor) -> None:
    if tensor.dtype not in FLOATS or tensor.ndim > 2:
        raise ModelError(
            f"{path}: {excerpt(name)} must be a vector or matrix of float32, float16, bfloat16 or "
            f"float64; found {describe(tensor)}."
        )


def check_finite(source: object, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not all finite.

    Args:
        source: Where they come from, for the message.
        weights: By name.

    Raises:
        ModelError: One holds an infinite number or NaN.
    """
    for name, weight in weights.items():
        if n_bad := int((~weight.isfinite()).sum()):
            raise ModelError(
                f"{source}: {excerpt(name)} holds {n_bad} of {weight.numel()} numbers that are not "
                "finite: its training diverged, or a cast to float16 overflowed. It describes "
                "nothing."
            )


def check_shapes(path: Path, weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """Sizes of an SAE whose weights fit together.

    Args:
        path: The file, for messages.
        weights: By name in SAELens.

    Returns:
        Width of the residual and number of features.

    Raises:
        ModelError: There is no decoder, or a weight has another shape.
    """
    decoder = weights.get("W_dec")
    if decoder is None or decoder.ndim != 2 or not decoder.numel():
        names = ", ".join(sorted(weights)[:N_CHOICES])
        raise ModelError(f"{path} lacks a decoder 'W_dec', dims (d_sae, d_in); it has {names}.")
    sizes = dict(zip(SHAPES["W_dec"], decoder.shape, strict=True))
    for name, dims in SHAPES.items():
        shape = tuple(sizes[dim] for dim in dims)
        if name in weights and tuple(weights[name].shape) != shape:
            raise ModelError(
                f"{path}: {name} has the shape {tuple(weights[name].shape)}; beside a decoder of "
                f"{tuple(decoder.shape)} it must be {shape}. Is one of them transposed?"
            )
    return sizes["d_in"], sizes["d_sae"]
