"""What does a model's config.json say, and can it be about the weights beside it?

A configuration that asks for more than its files hold is refused before a model is built from it.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from persona_interp.errors import ModelError, excerpt
from persona_interp.files import read_object
from persona_interp.models.guard import guard
from persona_interp.models.statements import check_statements, check_tokens
from persona_interp.models.weight_files import Stored

CONFIG, GENERATION = "config.json", "generation_config.json"
BLOCK_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
"""What configurations call the number of blocks."""
PARTS = re.compile(r"layer|block|expert|depth|label")
"""Names of numbers for each of which a configuration builds something."""
FREE_PARTS = 1000
FREE_WEIGHTS = 2**24
"""Weights that a model may have beside those of its files."""
FREE_VALUES = 2**28
"""Values that it may compute (masks, rotations)."""
MOST_GROWTH = 4
"""Times more values that a model may have than its files, which may be packed."""


def read_configuration(folder: Path) -> dict[str, Any]:
    """Configuration of a model.

    Args:
        folder: A model folder.

    Returns:
        The entries of its config.json.

    Raises:
        ModelError: It cannot be read, or its model_type is no text.
    """
    config = read_object(folder / CONFIG, error=ModelError)
    kind = config.get("model_type", "")
    if not isinstance(kind, str):
        raise ModelError(
            f"{folder / CONFIG}: model_type is a text such as 'llama'; got {excerpt(kind)}. Save "
            "the model again."
        )
    return config


def check_configuration(folder: Path, weights: Mapping[str, Stored]) -> None:
    """Refuse a configuration that cannot be of these weights.

    Args:
        folder: A model folder.
        weights: What its files hold.

    Raises:
        ModelError: It asks for more blocks, experts or values than the files hold, or for another
            file.
    """
    config = read_configuration(folder)
    file = config.get("transformers_weights")
    if file is not None:
        raise ModelError(
            f"{folder / CONFIG} names another file of weights (transformers_weights: "
            f"{excerpt(file)}); remove that entry, or save the model again."
        )
    check_statements(folder / CONFIG, config)
    if (folder / GENERATION).is_file():
        # transformers would do without
        check_tokens(folder / GENERATION, read_object(folder / GENERATION, error=ModelError))
    for key, number in _numbers(config):
        most = len(weights) if key in BLOCK_KEYS else max(len(weights), FREE_PARTS)
        if PARTS.search(key) and number > most:
            raise ModelError(
                f"{folder / CONFIG} asks for {key} = {number}, and its files hold "
                f"{len(weights)} weights; save model and configuration together again."
            )
    if config.get("model_type") in CONFIG_MAPPING:
        n_stored = sum(stored.size for stored in weights.values())
        with guard(f"{folder} is not a loadable causal language model"):
            built = AutoConfig.from_pretrained(folder, local_files_only=True)
            model = check_size(folder, built, n_stored=n_stored)
        _check_shapes(folder, model, weights)


def _check_shapes(folder: Path, model: Any, weights: Mapping[str, Stored]) -> None:
    """Refuse sizes of a configuration that are not those of the weights."""
    for name, own in model.state_dict().items():
        stored = weights.get(name)
        if stored is not None and stored.size and stored.shape != tuple(own.shape):
            raise ModelError(
                f"{folder / CONFIG} does not fit its files: {excerpt(name)} would be of shape "
                f"{tuple(own.shape)} and is of {stored.shape}. Save model and configuration "
                "together again."
            )


def check_size(source: Path, config: Any, *, n_stored: int) -> Any:
    """Refuse a model of many times the values that are stored, before it takes memory.

    Args:
        source: What a message calls it.
        config: Configuration of transformers.
        n_stored: Values in its files.

    Returns:
        The model, of shapes without values.

    Raises:
        ModelError: It is much larger.
    """
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    n_weights = sum(weight.numel() for weight in model.parameters())
    n_computed = sum(buffer.numel() for buffer in model.buffers())
    most = MOST_GROWTH * n_stored
    if n_weights > most + FREE_WEIGHTS or n_computed > most + FREE_VALUES:
        raise ModelError(
            f"the configuration of {source} describes a model of {n_weights:.3g} weights, and its "
            f"files hold {n_stored:.3g}; save model and configuration together again."
        )
    return model


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers of a configuration and of its parts, by name."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield key, value
