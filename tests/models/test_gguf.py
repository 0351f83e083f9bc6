"""A GGUF file is whole and used whole, or an error; its header is walked within bounds."""

import math
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models import gguf, hash_weights, load, resolve
from persona_interp.models.gguf_header import read_gguf_header
from tests.models.gguf_files import WIDTH, WORDS, write_gguf

ROPE = "rope_freqs.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf")


def test_a_whole_file_is_a_model(whole: Path) -> None:
    header = read_gguf_header(whole)
    assert header.fields["general.architecture"] == "llama" and len(header.tensors) == 21
    assert header.fields["tokenizer.ggml.tokens"] == WORDS
    model = load(resolve(whole)).model
    assert header.n_values == sum(weight.numel() for weight in model.parameters())
    assert model(torch.tensor([[1, 5, 9]])).logits.isfinite().all()
    assert resolve(whole).path == resolve(whole).path and hash_weights(resolve(whole))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"blk.0.attn_q.bias": np.ones(WIDTH, "float32")},
            r"holds 1 weights that a llama .* does not use, first 'blk\.0\.attn_q\.bias'",
        ),
        ({ROPE: np.array([1, 1, 1, 8], "float32")}, r"first 'rope_freqs\.weight'"),
        ({ROPE: np.ones(3, "float32")}, r"first 'rope_freqs\.weight'"),
        ({ROPE: np.full(4, np.nan, "float32")}, r"first 'rope_freqs\.weight'"),
        ({"scaling": "linear"}, r"scales positions \(rope\.scaling\.type 'linear'\)"),
        ({"said": 1}, r"asks for 'llama\.block_count' = 1 and holds 2 blocks"),
        ({"said": 3}, r"asks for 'llama\.block_count' = 3 and holds 2 blocks"),
        ({"said": 10**6}, r"asks for 'llama\.block_count' = 1000000 and holds 2 blocks"),
        ({"output_norm.weight": np.full(WIDTH, np.nan, "float32")}, "NaN or infinite"),
        ({"blk.1.ffn_up.weight": None}, r"is incomplete: 1 weights of a llama are missing"),
    ],
)
def test_what_is_not_used_or_not_there_is_named(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = write_gguf(tmp_path / "x.gguf", **options)
    with pytest.raises(ModelError, match=message):
        resolve(path)


def test_a_width_that_is_not_said_is_not_made_up(whole: Path, tmp_path: Path) -> None:
    """Transformers has 4,096 of its own: half a gigabyte before it looks at the weights."""
    path = tmp_path / "x.gguf"
    lost = whole.read_bytes().replace(b"llama.embedding_length", b"llama.em\0edding_length")
    path.write_bytes(lost)
    with pytest.raises(ModelError, match=r"describes a model of 1\..*e\+08 weights, and its files"):
        resolve(path)


def test_a_number_of_blocks_that_is_not_said_is_not_made_up(whole: Path, tmp_path: Path) -> None:
    path, start = tmp_path / "x.gguf", time.process_time()
    path.write_bytes(whole.read_bytes().replace(b"llama.block_count", b"llama.bl\0ck_count"))
    with pytest.raises(ModelError, match=r"does not say 'llama\.block_count'"):
        resolve(path)
    assert time.process_time() - start < 1


def test_factors_of_one_change_nothing(whole: Path, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", scaling="none", **{ROPE: np.ones(4, "float32")})
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        logits = [load(resolve(one)).model(ids).logits for one in (whole, path)]
    assert torch.equal(*logits)


def llama3_factors(
    n: int, theta: float, *, factor: float, low: float, high: float, old: int
) -> Any:
    """As llama.cpp's converter writes them (conversion of Llama 3.1)."""
    factors = []
    for i in range(n):
        wavelength = 2 * math.pi * theta ** (i / n)
        if wavelength < old / high:
            factors.append(1.0)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, "float32")


def test_factors_that_the_configuration_computes_are_idle(tmp_path: Path) -> None:
    numbers = {"factor": 8.0, "low": 1.0, "high": 4.0, "old": 8192}
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    heads: dict[str, Any] = {"hidden_size": 128, "num_attention_heads": 1, "num_hidden_layers": 1}
    config = LlamaConfig(**heads, vocab_size=9, intermediate_size=8, rope_parameters=rope)
    factors = llama3_factors(64, 5e5, **numbers)  # type: ignore[arg-type]
    assert 1 < len(set(factors)) and factors.max() == 8
    assert gguf.rope_factors(LlamaForCausalLM(config)) == pytest.approx(factors, rel=1e-6)
    path = write_gguf(tmp_path / "x.gguf", **{ROPE: factors})
    assert gguf._is_idle(path, LlamaForCausalLM(config))
    config.rope_parameters = {**rope, "factor": 32.0}
    assert not gguf._is_idle(path, LlamaForCausalLM(config))


def test_a_file_cut_anywhere_is_refused(whole: Path, tmp_path: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / "cut.gguf"
    start = time.monotonic()
    for end in [*range(0, 64), *range(64, len(data), len(data) // 60), len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"cut\.gguf"):
            resolve(path)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(60),
        b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62),
        # an array of 10^18 numbers, texts, arrays
        *(
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, kind, 10**18)
            for kind in (4, 8, 9, 77)
        ),
    ],
)
def test_a_header_that_asks_for_more_than_there_is(tmp_path: Path, data: bytes) -> None:
    path, start = tmp_path / "x.gguf", time.monotonic()
    path.write_bytes(data)
    with pytest.raises(ModelError, match="is not a GGUF language model, or is cut or damaged"):
        read_gguf_header(path)
    assert time.monotonic() - start < 1
