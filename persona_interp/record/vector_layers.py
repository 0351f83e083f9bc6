"""Which vectors does a file of another tool hold, and of which layers?"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from persona_interp.errors import ModelError, excerpt, unknown
from persona_interp.models.pt_files import Rows, describe, read_rows

MOST_LAYERS = 1000
"""Numbers of layers below which a key may be one."""
MOST_VECTORS = 50_000
"""Most vectors of a file: 500 names at 100 layers."""


class Layers(NamedTuple):
    """One direction of a file.

    Attributes:
        rows: Vectors, dims (layer, d_model), float32.
        layers: Number of the layer of each, as the file counts, ascending.
    """

    rows: Rows
    layers: tuple[int, ...]


def select_directions(
    path: Path, content: Any, *, name: str | None, label: str
) -> dict[str, Layers]:
    """Directions that a file of any layout holds.

    Args:
        path: The file, for messages.
        content: What ``load_tensors`` returned.
        name: Where there are several by name, which one; None for all. Else what to call it.
        label: What to call a direction without a name.

    Returns:
        By name, directions of one shape and the same layers.

    Raises:
        ModelError: There is none, something else is among them, or a name or layer is there twice.
    """
    parts = _named_parts(path, content, name, name or label)
    n_vectors = sum(
        len(part) for part in parts.values() if isinstance(part, list | tuple | Mapping)
    )
    if n_vectors > MOST_VECTORS:
        raise ModelError(f"{path} holds {n_vectors:,} vectors; at most {MOST_VECTORS:,} are read.")
    directions = {key: _layers(path, key, value) for key, value in parts.items()}
    if len({(part.rows.shape, part.layers) for part in directions.values()}) > 1:
        shapes = ", ".join(f"{key} {part.rows.shape}" for key, part in directions.items())
        raise ModelError(
            f"{path}: all directions of a file have one shape and the same layers; got "
            f"{shapes[:200]}."
        )
    return directions


def _named_parts(path: Path, content: Any, name: str | None, own_name: str) -> dict[str, Any]:
    """Directions by name, in whatever form."""
    if isinstance(content, torch.Tensor | list | tuple):
        return {own_name: content}
    if not isinstance(content, Mapping) or not content:
        raise ModelError(
            f"{path}: expected a tensor [layers, d_model], a list of vectors, or a dict of them; "
            f"found {describe(content)}."
        )
    if "vector" in content:
        return {name or str(content.get("role") or own_name): _one_vector(path, content)}
    if all(layer_number(key) is not None for key in content):
        return {own_name: content}
    parts = {}
    for key, value in content.items():
        if str(key) in parts:
            raise ModelError(f"{path}: the name {excerpt(str(key))} is there twice; keep one.")
        parts[str(key)] = value
    if "axis" in parts:  # numbers and texts say something of it
        parts = {key: part for key, part in parts.items() if key == "axis" or _is_array(part)}
    if not all(isinstance(part, torch.Tensor | list | tuple | Mapping) for part in parts.values()):
        raise ModelError(
            f"{path}: expected axis, vector, or directions by name or layer; found "
            f"{describe(content)}."
        )
    if name is None:
        return parts
    if name not in parts:
        raise ModelError(f"{path}: {unknown('direction', name, parts)}")
    return {name: parts[name]}


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


def _one_vector(path: Path, content: Mapping[Any, Any]) -> Any:
    """The direction of a file that holds one, under "vector", beside what is said of it."""
    others = [str(key) for key in content if isinstance(content[key], torch.Tensor)]
    if len(others) > 1:
        raise ModelError(
            f"{path}: expected one direction, 'vector'; found {describe(content)}. Save each of "
            "them by its name."
        )
    metadata = content.get("metadata")
    facts = {**(metadata if isinstance(metadata, Mapping) else {}), **content}
    vector, layer = content["vector"], facts.get("layer", facts.get("layers"))
    if isinstance(vector, torch.Tensor) and vector.ndim == 1 and layer_number(layer) is not None:
        return {layer_number(layer): vector}
    if not isinstance(layer, list | tuple):
        return vector
    if isinstance(vector, torch.Tensor) and vector.ndim == 1:
        vector = vector[None]
    n_rows = len(vector) if isinstance(vector, list | tuple) or _is_array(vector) else 0
    numbers = [layer_number(number) for number in layer]
    if None in numbers or len(set(numbers)) < len(numbers) or len(numbers) != n_rows:
        raise ModelError(
            f"{path}: its layers {excerpt(layer)} must be {n_rows} different numbers, one for each "
            "vector."
        )
    return dict(zip(numbers, vector, strict=True))


def _layers(path: Path, name: str, value: Any) -> Layers:
    """Vectors of one direction: of a tensor, a list, or a dict by layer."""
    if isinstance(value, Mapping):
        by_layer = _by_layer(path, name, value)
    elif isinstance(value, list | tuple):
        if len(value) > MOST_LAYERS:
            raise ModelError(
                f"{path}: {excerpt(name)} is a list of {len(value):,} layers; at most "
                f"{MOST_LAYERS:,} are read."
            )
        by_layer = {layer: vector for layer, vector in enumerate(value) if vector is not None}
    else:
        rows = read_rows(path, name, value)
        return Layers(rows, tuple(range(len(rows))))
    if not by_layer:
        raise ModelError(f"{path}: {excerpt(name)} is empty; there is no direction in it.")
    rows = []
    for layer, vector in sorted(by_layer.items()):
        if isinstance(vector, torch.Tensor) and vector.ndim == 1:
            vector = vector[None]
        rows.append(read_rows(path, f"{name}, layer {layer}", vector))
    if any(row.shape != rows[0].shape or len(row) != 1 for row in rows):
        shapes = {row.shape for row in rows}
        raise ModelError(
            f"{path}: {excerpt(name)} must be one vector a layer, all of one width; found "
            f"{excerpt(shapes)}."
        )
    return Layers(np.concatenate(rows), tuple(sorted(by_layer)))


def _by_layer(path: Path, name: str, value: Mapping[Any, Any]) -> dict[int, Any]:
    """Entries by the number of their layer, however it is written."""
    by_layer: dict[int, Any] = {}
    for key, vector in value.items():
        layer = layer_number(key)
        if layer is None:
            raise ModelError(
                f"{path}: {excerpt(name)} must hold vectors by layer, 0 to {MOST_LAYERS - 1}; "
                f"found {describe(value)}."
            )
        if layer in by_layer:
            raise ModelError(
                f"{path}: {excerpt(name)} holds layer {layer} twice, once as {excerpt(key)}; keep "
                "one."
            )
        by_layer[layer] = vector
    return by_layer


def layer_number(key: Any) -> int | None:
    """Number of a layer that a key of a file means.

    Args:
        key: A number, or a text such as "5" or "layer_5".

    Returns:
        The number; None where it is no layer of a model.

    >>> layer_number(5), layer_number("05"), layer_number("layer_5"), layer_number("evil")
    (5, 5, 5, None)
    """
    match = re.fullmatch(r"(?:layers?[_.]?)?([0-9]{1,4})", str(key))
    if isinstance(key, bool) or match is None or int(match[1]) >= MOST_LAYERS:
        return None
    return int(match[1])
