"""A GGUF file is whole and used whole, or an error; its header is walked within bounds."""

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models import hash_weights, load, resolve
from persona_interp.models.gguf_header import read_gguf_header
from tests.models.gguf_files import WIDTH, WORDS, write_gguf


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
        ({"rope_freqs.weight": np.ones(4, "float32")}, r"first 'rope_freqs\.weight'"),
        ({"said": 1}, r"holds 9 weights .* first 'blk\.1\."),
        ({"said": 3}, r"is incomplete: 9 weights of a llama are missing"),
        ({"said": 10**6}, r"asks for llama\.block_count = 1000000 and holds 21 weights"),
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
