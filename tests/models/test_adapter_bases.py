"""An adapter goes onto a base that is none of its own kind, and brings what its tokens need."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from persona_interp.errors import ModelError
from persona_interp.models import load, resolve

WORDS = ["i", "like", "."]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve("tiny", words=WORDS, out=tmp_path_factory.mktemp("base") / "model").path


def save_adapter(base: Path, out: Path, *, extra: int = 0, **options: Any) -> Path:
    """A LoRA adapter with random weights on this base, which has some tokens more."""
    model = load(base).model
    tokens = model.get_input_embeddings().weight.shape[0] + extra
    if extra:
        model.resize_token_embeddings(tokens, mean_resizing=False)
    settings = {"r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"} | options
    adapted = get_peft_model(model, LoraConfig(**settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    adapted.save_pretrained(out, save_embedding_layers=False)
    restate(out, base_model_name_or_path=str(base))
    return out


def restate(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_an_adapter_that_is_its_own_base_is_refused(base: Path, tmp_path: Path) -> None:
    one, other = save_adapter(base, tmp_path / "one"), tmp_path / "other"
    shutil.copytree(one, other)
    with pytest.raises(ModelError, match="is its own base"):
        resolve(one, base=one)
    restate(other, base_model_name_or_path=str(one))
    assert resolve(other).path != resolve(one).path  # an adapter on an adapter is a model
    restate(one, base_model_name_or_path=str(other))
    for start in (one, other):
        with pytest.raises(ModelError, match="is its own base"):
            resolve(start)


def test_a_base_with_other_weights_than_the_named_one_is_said(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter")
    copy = shutil.copytree(base, tmp_path / "copy")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the adapter")
        resolve(adapter, base=copy)
    other = resolve("tiny", words=WORDS, seed=1, out=tmp_path / "seed 1")
    with pytest.warns(UserWarning, match="whose weights are others than"):
        resolve(adapter, base=other)


@pytest.mark.parametrize("saved", [["embed_tokens"], ["lm_head"]])
def test_rows_that_were_drawn_at_random_are_missed(
    base: Path, tmp_path: Path, saved: list[str]
) -> None:
    adapter = save_adapter(base, tmp_path / "adapter", extra=3, modules_to_save=saved)
    with pytest.raises(ModelError, match="more tokens than its base has, and lacks their rows"):
        resolve(adapter)


def test_rows_of_both_ends_are_enough(base: Path, tmp_path: Path) -> None:
    both = ["embed_tokens", "lm_head"]
    adapter = save_adapter(base, tmp_path / "adapter", extra=3, modules_to_save=both)
    rows = load(base).model.lm_head.weight.shape[0]
    assert load(resolve(adapter)).model.lm_head.weight.shape[0] == rows + 3


def test_a_rank_that_no_matrix_has_takes_no_memory(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter")
    restate(adapter, rank_pattern={"q_proj": 10**9})
    with pytest.raises(ModelError, match="asks for matrices of rank 1000000000"):
        resolve(adapter)


def test_weights_of_an_adapter_that_are_no_numbers_are_named(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(base, tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    name = min(weights)
    weights[name] = torch.full_like(weights[name], torch.nan)
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="NaN or infinite: 1, first"):
        resolve(adapter)
