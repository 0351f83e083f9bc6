"""What does a ``.pt`` file of another tool hold? Read without executing anything in it."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from persona_interp.errors import ModelError

Rows = npt.NDArray[np.float32]


def load_tensors(path: Path) -> Any:
    """Content of a ``.pt`` file.

    Args:
        path: The file.

    Returns:
        Tensors, numbers, texts, and lists and dicts of them.

    Raises:
        ModelError: The file is missing or broken, or needs code to be run, which is never done.
    """
    try:
        with warnings.catch_warnings():
            # said of old pickles, which fail below where they matter
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken or hostile file raises
        raise ModelError(
            f"{path} cannot be read as tensors, numbers and texts; nothing else is loaded, because "
            f"a pickle can run any code: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Reason why torch did not load a file, without its advice to lift the restriction."""
    text = str(error)
    if code := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {code[1].rstrip('.')}"
    if "weights_only" in text:
        return type(error).__name__
    return text.split("\n")[0] or type(error).__name__


def read_rows(path: Path, name: str, value: Any) -> Rows:
    """Rows of numbers of a tensor that a file holds.

    Args:
        path: The file, for messages.
        name: What the tensor is called there.
        value: What should be a tensor [layers, d_model].

    Returns:
        Its rows, float32.

    Raises:
        ModelError: It is no dense tensor of floats of that shape, or has numbers that are not
            finite.
    """
    is_tensor = isinstance(value, torch.Tensor)
    if not is_tensor or value.layout != torch.strided or not value.is_floating_point():
        raise ModelError(
            f"{path}: '{name}' must be a dense tensor of floats; found {describe(value)}."
        )
    if value.ndim != 2 or not value.numel():
        raise ModelError(
            f"{path}: '{name}' must be [layers, d_model]; found the shape {tuple(value.shape)}."
        )
    rows = value.detach().float().numpy()
    bad_rows = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
    if bad_rows:
        raise ModelError(
            f"{path}: '{name}' has numbers that are not finite in rows {bad_rows[:8]}; it was not "
            "computed well."
        )
    return rows


def describe(value: Any) -> str:
    """Description of a value in a few words.

    Args:
        value: What a file holds.

    Returns:
        Its type, and its shape or keys.

    >>> describe(torch.zeros(2, 3))
    'a tensor (2, 3) of float32'
    """
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        keys = [f"{key} ({type(item).__name__})" for key, item in list(value.items())[:8]]
        return f"a dict of {', '.join(keys) or 'nothing'}"
    return f"{type(value).__name__} {str(value)[:40]!r}"
