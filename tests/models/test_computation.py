"""A model that loads computes what a causal language model does, or is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from persona_interp.errors import ModelError
from persona_interp.models import load, resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return resolve("tiny", words=["i", "like", "."], out=tmp_path / "tiny").path


def restate(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_model_that_reads_ahead_is_refused(folder: Path) -> None:
    restate(folder, is_causal=False)
    with pytest.raises(ModelError, match="reads ahead"):
        load(folder)


def test_two_ends_that_are_said_to_be_one_are_refused(folder: Path) -> None:
    restate(folder, tie_word_embeddings=True)
    with pytest.raises(ModelError, match="holds two matrices that differ"):
        load(folder)


def test_two_ends_that_are_equal_are_one(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    restate(folder, tie_word_embeddings=True)
    model = load(folder).model
    assert torch.equal(model.lm_head.weight, weights["lm_head.weight"])


def test_weights_of_8_bits_without_their_scales_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "proj" in name:
            weights[name] = weights[name].to(torch.float8_e4m3fn)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    method = {"quant_method": "fp8", "weight_block_size": [32, 32], "activation_scheme": "dynamic"}
    restate(folder, quantization_config=method)
    with pytest.raises(ModelError, match="quantized"):
        load(folder)


def test_a_model_without_a_name_is_refused(monkeypatch: Any, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert resolve(".").path.resolve() == tmp_path.resolve()
    with pytest.raises(ModelError, match="is a variable not set"):
        resolve("")
