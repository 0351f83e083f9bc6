"""Which weights does an adapter bring for tokens that its base lacks? All, or it is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from persona_interp.errors import ModelError, excerpt


def check_numbers(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse an adapter whose own weights are no numbers.

    Args:
        folder: The adapter's.
        weights: Its weights, by name.

    Raises:
        ModelError: A weight is NaN or infinite; the first is named.
    """
    broken = [name for name, weight in weights.items() if not torch.isfinite(weight).all()]
    if broken:
        raise ModelError(
            f"the adapter {folder} has weights that are NaN or infinite: {len(broken)}, first "
            f"{excerpt(broken[0])}. Use an earlier checkpoint, or train again with a smaller lr."
        )


def grow(plain: Any, weights: Mapping[str, Tensor]) -> None:
    """Give the base the adapter's embedding rows, and an untied head where it touches one.

    Args:
        plain: The base; it is changed. Rows that it lacks are NaN.
        weights: The adapter's, by name.
    """
    embedding, head = plain.get_input_embeddings(), plain.get_output_embeddings()
    names = {id(module): name.rpartition(".")[2] for name, module in plain.named_modules()}
    ends = [names[id(module)] for module in (embedding, head) if module is not None]
    touched = [key for key in weights if any(f".{end}." in key for end in ends)]
    # a whole matrix has a row a token; of a low-rank one, only embedding_A (rank, token) has them
    sizes = set()
    for key in touched:
        if key.endswith(".weight") and "lora_" not in key:
            sizes.add(weights[key].shape[0])
        if "lora_embedding_A" in key:
            sizes.add(weights[key].shape[1])
    rows = embedding.weight.shape[0]
    if sizes and max(sizes) != rows:
        plain.resize_token_embeddings(max(sizes), mean_resizing=False)
        head = plain.get_output_embeddings()
        # drawn at random; what the adapter does not fill is found by check_drawn
        for end in (plain.get_input_embeddings(), head):
            if end is not None:
                end.weight.data[rows:] = torch.nan
    if touched and head is not None and head.weight is plain.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())


def check_drawn(model: Any, folder: Path) -> None:
    """Refuse an adapter for more tokens than its base has, without all of their weights.

    Args:
        model: The base with the adapter beside it, after ``grow``.
        folder: The adapter's.

    Raises:
        ModelError: A row for a token that the base lacks is in no file.
    """
    for name, weight in model.get_base_model().named_parameters():
        # what stands in for a module leaves the module's own weights beside it, unused
        if "original_module" not in name and weight.isnan().any():
            raise ModelError(
                f"the adapter {folder} is for more tokens than its base has, and lacks their rows "
                f"of {name}: they were drawn at random where it was trained. Save it again with "
                "model.save_pretrained(folder, save_embedding_layers=True)."
            )
